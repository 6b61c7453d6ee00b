"""A person who judges on a page of the console instead of at a terminal: what is asked is in a file, and so is the answer.

    evaluations/NAME-question.json   what is asked now, with the picture; replaced as a whole, twice a second while it is live
    evaluations/NAME-answer.json     what was answered, by the console; believed only when it names the question's number

The process that drives the robot asks and waits; the page may come and go. Numbers are drawn at random, so that an answer to an
earlier question, or to an earlier process, is no answer to this one. When the evaluation ends, the question is removed.
"""

from __future__ import annotations

import base64
import io
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from soar.errors import SoarError
from soar.files import refresh_json
from soar.terminal import Terminal
from soar.types import Image
from soar.untrusted import parse_json

QUESTION, ANSWER = "-question.json", "-answer.json"
SCHEMA = 1
LONGEST_REMARK = 500
_POLL_S, _LIVE_S = 0.1, 0.5
_LINES = 8


class PageDialogue(Terminal):
    """Asks on a page.

    Args:
        out: The evaluation's file, which the dialogue's files are called after.
    """

    def __init__(self, out: Path) -> None:
        super().__init__()
        self.question, self.answer = (out.with_name(f"{out.stem}{ending}") for ending in (QUESTION, ANSWER))
        self._lines: deque[str] = deque(maxlen=_LINES)

    def say(self, text: str) -> None:
        """Show a line above the next question."""
        self._lines.append(text)

    def check(self) -> None:
        """Raise when nothing can be asked.

        Raises:
            SoarError: The folder cannot be written.
        """
        self._show({"number": "", "text": "", "choices": [], "picture": ""})

    def close(self) -> None:
        """Ask nothing any more."""
        for path in (self.question, self.answer):
            path.unlink(missing_ok=True)

    def _ask(
        self,
        image_HWC: Image | None,
        question: str,
        choices: Sequence[str],
        *,
        remarks: bool,
        meanwhile: Callable[[], object] | None,
    ) -> tuple[str, str]:
        asked: dict[str, Any] = {"number": secrets.token_hex(8), "text": question, "choices": list(choices), "remarks": remarks}
        self._show(asked | {"picture": _picture(image_HWC)})
        live_s = time.monotonic() + _LIVE_S
        while (said := self._answered(asked)) is None:
            time.sleep(_POLL_S)
            if meanwhile is not None and time.monotonic() >= live_s:
                seen, live_s = meanwhile(), time.monotonic() + _LIVE_S
                self._show(asked | {"picture": _picture(seen if isinstance(seen, np.ndarray) else image_HWC)})
        self.answer.unlink(missing_ok=True)
        self._lines.clear()
        self._show({"number": "", "text": "", "choices": [], "picture": ""})
        return said if remarks else (said[0], "")

    def _show(self, asked: dict[str, Any]) -> None:
        try:
            refresh_json(self.question, {"schema": SCHEMA, "time_s": time.time(), "lines": list(self._lines)} | asked)
        except OSError as error:
            raise SoarError(f"{self.question}: a page cannot be asked ({error.strerror}). Name another --out") from error

    def _answered(self, asked: dict[str, Any]) -> tuple[str, str] | None:
        try:
            said = parse_json(self.answer.read_text(encoding="utf-8"))
            if said["number"] == asked["number"] and said["said"] in asked["choices"]:
                return str(said["said"]), str(said["remark"])[:LONGEST_REMARK].strip()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None


def _picture(image_HWC: Image | None) -> str:
    if image_HWC is None:
        return ""
    buffer = io.BytesIO()
    Pillow.fromarray(image_HWC).save(buffer, "JPEG", quality=90)
    return base64.b64encode(buffer.getvalue()).decode()
