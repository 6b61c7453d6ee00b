"""A person at a real pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Person:
    """Types lines into a terminal, one each time that a question mark or bracket asks for it, and remembers what it saw."""

    def __init__(self) -> None:
        self.far, self.near = pty.openpty()
        tty.setraw(self.near)
        self.path = Path(os.ttyname(self.near))
        self.seen = b""
        self._answering: threading.Thread | None = None

    def types(self, *lines: str) -> threading.Thread:
        def run() -> None:
            for line in lines:
                while not self.seen.endswith(b"] "):
                    self.seen += os.read(self.far, 65536)
                self.seen += b"|"
                os.write(self.far, line.encode())

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def answers(self, answer: Callable[[str], str]) -> None:
        """Answer each question by a function of its last line, as long as there is a terminal."""

        def run() -> None:
            asked = ""
            try:
                while True:
                    new = os.read(self.far, 65536)
                    self.seen += new
                    asked += new.decode(errors="replace")
                    if asked.endswith("] "):
                        os.write(self.far, f"{answer(words(asked).splitlines()[-1])}\n".encode())
                        asked = ""
            except OSError:
                return

        self._answering = threading.Thread(target=run, daemon=True)
        self._answering.start()

    def leave(self) -> None:
        """Close the terminal once all that was written is read."""
        os.close(self.near)
        if self._answering is not None:
            self._answering.join()
        os.close(self.far)

    @property
    def read(self) -> str:
        """What was written, without pictures."""
        return words(self.seen.decode(errors="replace"))


def words(text: str) -> str:
    """Return a terminal's text without what draws pictures."""
    return re.sub("\x1b\\[[0-9;]*m|\u2580", "", text)


@contextmanager
def at_a_terminal() -> Iterator[Person]:
    person = Person()
    try:
        yield person
    finally:
        person.leave()
