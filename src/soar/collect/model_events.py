"""What the models did in an episode: answers that nobody gave, and what the calls cost. Written down however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from soar.collect.listeners import Listeners
from soar.event_log import Journal
from soar.remote import fallbacks
from soar.vlm import spending


@contextmanager
def journaled_models(journal: Journal, robot: str, index: int, listeners: Listeners) -> Iterator[None]:
    """Write into the journal what models did within: `fallback` for one that was away, `spent` for calls that cost tokens.

    Args:
        journal: Where.
        robot: Whose episode it is.
        index: Of the episode.
        listeners: Told of `spent`, too.
    """
    with fallbacks.heard() as heard, spending.counted() as spent:
        try:
            yield
        finally:
            first = {(fallback.model, fallback.instead): fallback.detail for fallback in reversed(heard)}
            for (model, instead), detail in first.items():
                times = sum((fallback.model, fallback.instead) == (model, instead) for fallback in heard)
                journal.append("fallback", robot=robot, index=index, model=model, instead=instead, times=times, detail=detail)
            if spent.calls:
                about = {"calls": spent.calls, "tokens": spent.tokens, "untold": spent.untold}
                journal.append("spent", robot=robot, index=index, **about)
                listeners.tell("spent", index=index, **about)
