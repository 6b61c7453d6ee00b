"""The protocols of frozen models: yes/no questions about images, and free text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from soar.types import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A model's answer to one question.

    Attributes:
        text: The words, without what the model thought aloud before; empty when nobody answered.
        p_yes: Probability of yes; None when the model gives none.
        decoded: What another model made of words that nobody else could read; None when none did, or it could not either.
        unreadable: Why the words are no answer, whatever they seem to say: cut off, an unfinished thought, no picture was seen.
            Empty when they may be read.
        no_probability: Why the probabilities that were sent were not used; empty when they were, or none were sent.
    """

    text: str
    p_yes: float | None = None
    decoded: bool | None = None
    unreadable: str = ""
    no_probability: str = ""


@runtime_checkable
class VisionLanguageModel(Protocol):
    """A frozen model that answers questions about images; `id` is what provenance records."""

    @property
    def id(self) -> str:
        """Name and version of the model."""
        ...

    def check(self) -> None:
        """Raise what is wrong, before any robot moves: a server that does not answer, a budget that is spent."""
        ...

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Answer question i about image i; both sequences have the same length."""
        ...


@runtime_checkable
class FilmModel(VisionLanguageModel, Protocol):
    """A vision-language model that looks at several pictures in one question; whoever takes one has no such method."""

    def answer_films(
        self, films: Sequence[Sequence[Image]], questions: Sequence[str], *, true_false: bool = False
    ) -> list[Answer]:
        """Answer question i about the pictures of film i, in their order.

        Args:
            films: At least one picture each; any numbers of them.
            questions: As many. With `true_false` they are statements, and what counts as yes is True.
            true_false: Whether the model is to say True or False instead of yes or no.
        """
        ...


@runtime_checkable
class LanguageModel(Protocol):
    """A frozen model that replies in words; most vision-language models are one too."""

    @property
    def id(self) -> str:
        """Name and version of the model."""
        ...

    def reply(self, prompts: Sequence[str], images: Sequence[Image | None] | None = None) -> list[str]:
        """Reply to prompt i about image i (None: no image); an empty text means that nobody replied."""
        ...
