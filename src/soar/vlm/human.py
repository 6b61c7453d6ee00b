"""A person at the terminal, as a vision-language model."""

from __future__ import annotations

from collections.abc import Sequence

from soar.terminal import Terminal
from soar.types import Image
from soar.vlm.answer_parsing import yes_or_no
from soar.vlm.base import Answer

_WORDS = {"y": "yes", "n": "no", "?": "I cannot tell"}


class HumanVLM:
    """A person who answers yes, no, or that they cannot tell (see `soar.vlm.base.VisionLanguageModel`)."""

    id = "human"

    def __init__(self, terminal: Terminal | None = None) -> None:
        self._terminal = terminal or Terminal()

    def check(self) -> None:
        """Nothing can be wrong once it is there."""

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
