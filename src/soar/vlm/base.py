"""The protocol of vision-language models: yes/no questions about images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from soar.types import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A model's answer to one question.

    Attributes:
        text: The raw words.
        p_yes: Probability of yes; None when the model gives none.
    """

    text: str
    p_yes: float | None = None


@runtime_checkable
class VisionLanguageModel(Protocol):
    """A frozen model that answers questions about images; `id` is what provenance records."""

    @property
    def id(self) -> str:
        """Name and version of the model."""
        ...

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Answer question i about image i; both sequences have the same length."""
        ...
