"""What of an attempt was its policy's own doing, for learners that cannot leave out single steps.

    step     0 ········ 11 12 ····· 19 20 ········· 38 39 40
             the policy    a reflex    the policy      lets go
                                       └── own steps ──┘

Whoever learns in chunks, or from videos, takes an episode as it is: with a reflex (`soar.collect.reflex`) in it, and with the
hand that opens at an early end. What lies between these is what the verdict is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from soar.episodes.encoded import EncodedEpisode
from soar.episodes.schema import EpisodeRecord
from soar.episodes.scores import Score
from soar.formats.splitting import stretch


def own_steps(reflex_steps: Sequence[int], length: int) -> range:
    """Return the last steps in a row whose action was the policy's; all T of them when none was."""
    others = set(reflex_steps)
    end = next((step + 1 for step in reversed(range(length)) if step not in others), 0)
    return range(max((step + 1 for step in others if step < end), default=0), end) if end else range(length)


def cut_episode(encoded: EncodedEpisode) -> EncodedEpisode:
    """Return the own steps of an episode, which has another id then; itself where all of them are."""
    length = len(encoded.actions_TD)
    steps = own_steps(encoded.reflex_steps, length)
    if len(steps) == length:
        return encoded
    part = stretch(encoded, steps.start, steps.stop)
    origin = {**part.origin, "part": {"of": encoded.id, "first_step": steps.start}}
    return replace(part, id=f"{encoded.id}-own", origin=origin)


def cut_records(
    records: Sequence[EpisodeRecord], scores: Mapping[str, Score] | None
) -> tuple[list[EpisodeRecord], dict[str, Score] | None]:
    """Return what is known of episodes of which only the own steps are written, and their scores, whose curves are cut, too.

    Both keep the ids by which a store knows the episodes.
    """
    own = {record.id: own_steps(record.reflex_steps, record.length) for record in records}
    cut = [replace(record, length=len(own[record.id]), reflex_steps=()) for record in records]
    if scores is None:
        return cut, None
    return cut, {
        id: replace(scores[id], frames=tuple(frame - steps.start for frame in scores[id].frames)) for id, steps in own.items()
    }
