"""A person at the terminal: questions with pictures drawn in characters.

The terminal itself is opened, not standard input: a worker process has none, and a command may be part of a pipe.
"""

from __future__ import annotations

import fcntl
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from soar.errors import ConfigError
from soar.types import Image
from soar.untrusted import printable

TERMINAL = Path("/dev/tty")
_MEANWHILE_S = 0.5


def draw(image_HWC: Image, columns: int = 64) -> str:
    """Return an image as lines of coloured half blocks: two pixels a character."""
    rows = max(2, round(columns * image_HWC.shape[0] / image_HWC.shape[1]) // 2 * 2)
    small = cv2.resize(image_HWC, (columns, rows), interpolation=cv2.INTER_AREA)
    lines = []
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        cells = [_cell(top, bottom) for top, bottom in zip(upper, lower, strict=True)]
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines) + "\n"


def _cell(top: NDArray[np.uint8], bottom: NDArray[np.uint8]) -> str:
    return "\x1b[38;2;{};{};{}m\x1b[48;2;{};{};{}m\u2580".format(*top, *bottom)


class Terminal:
    """Shows pictures and asks questions.

    Args:
        path: The terminal's device; that of this process by default.
        otherwise: What one can do without a terminal, for the error.
    """

    def __init__(self, path: Path | None = None, *, otherwise: str = "name another model") -> None:
        self._path = path or TERMINAL
        self._otherwise = otherwise

    def ask(self, image_HWC: Image | None, question: str, choices: Sequence[str]) -> str:
        """Show an image, ask, and return one of the choices; asks again until it is one. End of input counts as the last.

        Raises:
            ConfigError: There is no terminal.
        """
        return self._ask(image_HWC, question, choices, remarks=False, meanwhile=None)[0]

    def ask_and_hear(
        self, image_HWC: Image | None, question: str, choices: Sequence[str], meanwhile: Callable[[], object] | None = None
    ) -> tuple[str, str]:
        """Ask as `ask` does, and return one of the choices and what was remarked after it, such as `y, but only just`.

        Args:
            image_HWC: Drawn above the question.
            question: The question.
            choices: Of which one is returned.
            meanwhile: Called twice a second as long as nobody answers.

        Raises:
            ConfigError: There is no terminal.
        """
        return self._ask(image_HWC, question, choices, remarks=True, meanwhile=meanwhile)

    def say(self, text: str) -> None:
        """Write a line.

        Raises:
            ConfigError: There is no terminal.
        """
        with self._open() as (_, writer):
            writer.write(printable(text) + "\n")

    def check(self) -> None:
        """Raise when there is no terminal.

        Raises:
            ConfigError: There is none.
        """
        with self._open():
            pass

    def _ask(
        self,
        image_HWC: Image | None,
        question: str,
        choices: Sequence[str],
        *,
        remarks: bool,
        meanwhile: Callable[[], object] | None,
    ) -> tuple[str, str]:
        with self._open() as (reader, writer):
            if image_HWC is not None:
                writer.write(draw(image_HWC))
            while True:
                writer.write(f"{printable(question)} [{'/'.join(choices)}] ")
                writer.flush()
                while meanwhile is not None and not select.select([reader], [], [], _MEANWHILE_S)[0]:
                    meanwhile()
                line = reader.readline()
                if not line:
                    return choices[-1], ""
                said, _, remark = line.strip().partition(" ")
                said, remark = said.lower().rstrip(",.;:"), remark.strip()
                if said in choices and (remarks or not remark):
                    return said, remark
                writer.write(f"Please type one of {', '.join(choices)}.\n")

    @contextmanager
    def _open(self) -> Iterator[tuple[TextIO, TextIO]]:
        try:
            # What the terminal cannot show is escaped: a question may be in any language.
            encoding = sys.stderr.encoding or "utf-8"
            with (
                self._path.open(encoding=encoding, errors="backslashreplace") as reader,
                self._path.open("w", encoding=encoding, errors="backslashreplace") as writer,
            ):
                fcntl.flock(writer, fcntl.LOCK_EX)  # one process asks at a time
                yield reader, writer
        except OSError as error:
            raise ConfigError(
                f"nobody can be asked: there is no terminal ({error.strerror}). Run the command in one, or {self._otherwise}."
            ) from error
