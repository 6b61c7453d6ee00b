"""Which words a model knows. Whoever can say it has `unknown_words`, beside the methods of its protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Literate(Protocol):
    """A model that says which words it does not know, of instructions or of questions."""

    def unknown_words(self, text: str) -> Sequence[str] | None:
        """Return the words of a text that nothing taught it, in the text's order; None when it cannot say."""
        ...


def unknown_to(model: object, text: str) -> Sequence[str] | None:
    """Return the words of a text that a model does not know; None when it cannot say."""
    return model.unknown_words(text) if isinstance(model, Literate) else None
