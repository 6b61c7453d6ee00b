"""A model that is away is replaced by something worse, and somebody must hear of it.

    client of a model ── fell_back(model, instead, detail) ──►  whoever listens: a collector, which journals it
                                                                nobody listens: the log
                                                                `forbidden()`: an evaluation, which stops

Trials in which a model was replaced measure another robot, so that an evaluation must not go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from soar.errors import ModelServerError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """Something that was done instead of asking a model.

    Attributes:
        model: Its id.
        instead: What was done.
        detail: Why.
    """

    model: str
    instead: str
    detail: str


_ears: list[Callable[[Fallback], None]] = []


def fell_back(model: str, instead: str, detail: str) -> None:
    """Tell the innermost listener that a model was replaced."""
    fallback = Fallback(model=model, instead=instead, detail=detail)
    if _ears:
        _ears[-1](fallback)
    else:
        log.warning("%s does not answer (%s); instead: %s", model, detail, instead)


@contextmanager
def heard() -> Iterator[list[Fallback]]:
    """Collect in a list what happens within; the first of each kind is logged."""
    found: list[Fallback] = []

    def hear(fallback: Fallback) -> None:
        if all((other.model, other.instead) != (fallback.model, fallback.instead) for other in found):
            log.warning("%s does not answer (%s); instead: %s", fallback.model, fallback.detail, fallback.instead)
        found.append(fallback)

    with _listening(hear):
        yield found


@contextmanager
def forbidden() -> Iterator[None]:
    """Raise `ModelServerError` instead of falling back."""

    def refuse(fallback: Fallback) -> None:
        raise ModelServerError(
            f"{fallback.model} does not answer ({fallback.detail}), and a measurement must not go on without it. What was "
            "finished is kept: mend that, then run the same command again."
        )

    with _listening(refuse):
        yield


@contextmanager
def _listening(ear: Callable[[Fallback], None]) -> Iterator[None]:
    _ears.append(ear)
    try:
        yield
    finally:
        _ears.remove(ear)
