"""What the models did in an episode: answers that nobody gave, waits, and what calls cost. Written down however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from soar.collect.listeners import Listeners
from soar.event_log import Journal
from soar.remote import fallbacks, waits
from soar.vlm import spending


@contextmanager
def journaled_models(journal: Journal, robot: str, index: int, listeners: Listeners) -> Iterator[None]:
    """Write into the journal what models did within: `fallback` for one that was away, `waited` for how long those behind
    servers took (`soar.prometheus.Histogram.plain`, by kind), `spent` for calls that cost tokens.

    Args:
        journal: Where.
        robot: Whose episode it is.
        index: Of the episode.
        listeners: Told of all that, too.
    """
    with fallbacks.heard() as heard, waits.heard() as waited, spending.counted() as spent:
        try:
            yield
        finally:
            first = {(fallback.model, fallback.instead): fallback.detail for fallback in reversed(heard)}
            for (model, instead), detail in first.items():
                times = sum((fallback.model, fallback.instead) == (model, instead) for fallback in heard)
                said = {"model": model, "instead": instead, "times": times, "detail": detail}
                journal.append("fallback", robot=robot, index=index, **said)
                listeners.tell("fallback", index=index, **said)
            if waited:
                kinds = {kind: histogram.plain() for kind, histogram in sorted(waited.items())}
                journal.append("waited", robot=robot, index=index, kinds=kinds)
                listeners.tell("waited", index=index, kinds=kinds)
            if spent.calls:
                about = {"calls": spent.calls, "tokens": spent.tokens, "untold": spent.untold}
                journal.append("spent", robot=robot, index=index, **about)
                listeners.tell("spent", index=index, **about)
