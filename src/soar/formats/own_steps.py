"""What of an attempt was its policy's own doing, for learners that cannot leave out single steps.

    step     0 ········ 11 12 ····· 19 20 ········· 38 39 40
             the policy    a reflex    the policy      lets go
                                       └── own steps ──┘

Whoever learns in chunks, or from videos, takes an episode as it is: with a reflex (`soar.collect.reflex`) in it, and with the
hand that opens at an early end. Of the stretches between these one is kept. Which of them a verdict is about nobody wrote
down: the last one, unless the robot only stood about in it, since what was to be done was done. So it is the last one in which
the hand went at least half as far as in any other.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from soar.episodes.encoded import EncodedEpisode
from soar.episodes.schema import SCORE, SIMULATOR, EpisodeRecord
from soar.episodes.scores import Score
from soar.formats.splitting import stretch

_log = logging.getLogger(__name__)
_SHARE = 0.5


def own_steps(encoded: EncodedEpisode) -> range:
    """Return the steps that are kept: a stretch without a reflex; all T where no step is the policy's."""
    length, others = len(encoded.actions_TD), set(encoded.reflex_steps)
    stretches = list[range]()
    for step in range(length):
        if step in others:
            continue
        if stretches and stretches[-1].stop == step:
            stretches[-1] = range(stretches[-1].start, step + 1)
        else:
            stretches.append(range(step, step + 1))
    if not stretches:
        return range(length)
    far = [_way_m(encoded.states_TD[steps.start : steps.stop + 1, :3]) for steps in stretches]
    return [steps for steps, way_m in zip(stretches, far, strict=True) if way_m >= _SHARE * max(far)][-1]


def cut_episode(encoded: EncodedEpisode, steps: range) -> EncodedEpisode:
    """Return some steps of an episode, under an id and a run of their own; itself where that is all of it.

    It is nobody's attempt in the run, so that it counts there no second time when it comes back into the store. Verdicts stay;
    what they say of single frames, and scores, are about other frames.
    """
    if len(steps) == len(encoded.actions_TD):
        return encoded
    part = stretch(encoded, steps.start, steps.stop)
    labels = [label for label in encoded.labels if not label.source.startswith(SCORE)]
    provenance = encoded.provenance
    return replace(
        part,
        id=f"{encoded.id}-own-{steps.start}-{steps.stop}",
        labels=tuple(label if label.source == SIMULATOR else replace(label, answer="") for label in labels),
        provenance=replace(provenance, run=f"{provenance.run}-own" if provenance.run else ""),
        origin={**part.origin, "part": {"of": encoded.id, "first_step": steps.start}},
    )


def with_own_steps(
    whole: EncodedEpisode, record: EpisodeRecord, scores: dict[str, Score]
) -> tuple[EncodedEpisode, EpisodeRecord]:
    """Return an episode with its own steps only, and what is known of it then, under the id by which the store knows it.

    Its score's curve begins at the first of them, too.
    """
    steps = own_steps(whole)
    if whole.id in scores:
        score = scores[whole.id]
        scores[whole.id] = replace(score, frames=tuple(frame - steps.start for frame in score.frames))
    return cut_episode(whole, steps), replace(record, length=len(steps), reflex_steps=())


def say_what_was_cut(records: Sequence[EpisodeRecord], written: Sequence[EpisodeRecord]) -> None:
    """Say how much of some episodes is not in a dataset, if that is anything."""
    cut = [(whole.length, part.length) for whole, part in zip(records, written, strict=True) if part.length < whole.length]
    if cut:
        before, after = (sum(lengths) for lengths in zip(*cut, strict=True))
        _log.info("%d of %d episodes had reflexes: %d of their %d steps are written", len(cut), len(records), after, before)


def _way_m(positions_ND: NDArray[np.float32]) -> float:
    """Return the length of a way through positions (N, 3) [m]."""
    return float(np.linalg.norm(np.diff(positions_ND.astype(np.float64), axis=0), axis=1).sum())
