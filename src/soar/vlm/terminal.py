"""A person at the terminal, as a vision-language model, and pictures drawn with characters.

The terminal itself is opened, not standard input: a worker process has none, and a command may be part of a pipe.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from soar.errors import ConfigError
from soar.types import Image
from soar.vlm.answer_parsing import yes_or_no
from soar.vlm.base import Answer

TERMINAL = Path("/dev/tty")
_WORDS = {"y": "yes", "n": "no", "?": "I cannot tell"}


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
        path: The terminal's device.
        otherwise: What one can do without a terminal, for the error.
    """

    def __init__(self, path: Path = TERMINAL, *, otherwise: str = "name another model") -> None:
        self._path = path
        self._otherwise = otherwise

    def ask(self, image_HWC: Image | None, question: str, choices: Sequence[str]) -> str:
        """Show an image, ask, and return one of the choices; asks again until it is one. End of input counts as the last.

        Raises:
            ConfigError: There is no terminal.
        """
        with self._open() as (reader, writer):
            if image_HWC is not None:
                writer.write(draw(image_HWC))
            while True:
                writer.write(f"{question} [{'/'.join(choices)}] ")
                writer.flush()
                line = reader.readline()
                if not line:
                    return choices[-1]
                if (said := line.strip().lower()) in choices:
                    return said
                writer.write(f"Please type one of {', '.join(choices)}.\n")

    @contextmanager
    def _open(self) -> Iterator[tuple[TextIO, TextIO]]:
        try:
            with self._path.open() as reader, self._path.open("w") as writer:
                fcntl.flock(writer, fcntl.LOCK_EX)  # one process asks at a time
                yield reader, writer
        except OSError as error:
            raise ConfigError(
                f"nobody can be asked: there is no terminal ({error.strerror}). Run the command in one, or {self._otherwise}."
            ) from error


class HumanVLM:
    """A person who answers yes, no, or that they cannot tell (see `soar.vlm.base.VisionLanguageModel`)."""

    id = "human"

    def __init__(self, terminal: Terminal | None = None) -> None:
        self._terminal = terminal or Terminal()

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Ask the questions one after another.

        Raises:
            ConfigError: There is no terminal.
        """
        return [self._answer(image, question) for image, question in zip(images, questions, strict=True)]

    def _answer(self, image_HWC: Image, question: str) -> Answer:
        text = _WORDS[self._terminal.ask(image_HWC, question, tuple(_WORDS))]
        verdict = yes_or_no(text)
        return Answer(text=text, p_yes=None if verdict is None else float(verdict))
