"""From verdicts to what episodes are worth (`soar.episodes.scores`): the audit's labels, the judge's probability, its curve.

    weight      a person's verdict: 1 or 0; else the judge's probability of success; of a judge without, its verdict
    advantage   the weight, less the mean weight of all attempts at the same task in the same scene that are scored with it
    progress    the newest curve that a judge left (`looks:N`, `twice:N`, `rise:N`, `curve:N`), unless a person says that it
                ended wrongly

An episode without a verdict, or with an undecidable one, has no score.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from soar.episodes.schema import PERSON, EpisodeRecord, is_verdict, resolve
from soar.episodes.scores import HORIZON, Score, score_by, score_label
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError, StoreError
from soar.tasks.evidence import curve_of
from soar.types import Label

_DIGITS = 6
_DONE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What a scoring found.

    Attributes:
        scores: By episode.
        left_out: Episodes without a verdict, or with an undecidable one.
        by_people: Scores that follow from a person's verdict.
        bare: Scores that follow from a judge's verdict without a probability.
        contradicted: Curves that were not taken, since a person says that they ended wrongly.
    """

    scores: dict[str, Score]
    left_out: int
    by_people: int
    bare: int
    contradicted: int

    @property
    def curves(self) -> int:
        """Scores with a curve."""
        return sum(bool(score.frames) for score in self.scores.values())


def scores_of(records: Sequence[EpisodeRecord], *, horizon: int = HORIZON) -> Scored:
    """Return what episodes are worth; nothing is written.

    Raises:
        ConfigError: The horizon is no number of steps.
    """
    if horizon < 1:
        raise ConfigError(f"--horizon is a number of steps, at least 1; got {horizon}")
    weights: dict[str, tuple[EpisodeRecord, Label, float]] = {}
    told: Counter[str] = Counter()
    for record in records:
        verdict = resolve(record.labels)
        if verdict is None or verdict.success is None:
            continue
        person = verdict.source.startswith(PERSON)
        told["people"] += person
        told["bare"] += not person and verdict.probability is None
        sure = verdict.probability if not person and verdict.probability is not None else float(verdict.success)
        weights[record.id] = (record, verdict, sure)
    by_task: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for record, _, weight in weights.values():
        by_task[record.scene, record.instruction].append(weight)
    scores = {}
    for id, (record, verdict, weight) in weights.items():
        same = by_task[record.scene, record.instruction]
        curve, curve_by, contradicted = _curve(record, verdict)
        told["contradicted"] += contradicted
        scores[id] = Score(
            weight=round(weight, _DIGITS),
            advantage=round(weight - sum(same) / len(same), _DIGITS),
            by=verdict.source if curve_by in ("", verdict.source) else f"{verdict.source}, curve: {curve_by}",
            horizon=horizon,
            frames=tuple(frame for frame, _ in curve),
            progress=tuple(p for _, p in curve),
        )
    return Scored(
        scores=scores,
        left_out=len(records) - len(scores),
        by_people=told["people"],
        bare=told["bare"],
        contradicted=told["contradicted"],
    )


def store_scores(
    store: EpisodeStore,
    maker: str,
    *,
    where: str | None = None,
    horizon: int = HORIZON,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Scored:
    """Score the episodes of a store; a call that was interrupted goes on.

    Args:
        store: Gets the scores.
        maker: Whose they are.
        where: SQL that selects some of the episodes.
        horizon: Steps over which a curve's rise is a step's advantage.
        report: Is told how far it is.

    Raises:
        ConfigError: The maker has no name, or the horizon is no number of steps.
        StoreError: No episode has a verdict, one has another score by this maker, or the store cannot be written.
    """
    if not maker.strip() or maker != maker.strip():
        raise ConfigError(f"a score says whose it is: give it a name, got {maker!r}")
    records = store.episodes(where)
    scored = scores_of(records, horizon=horizon)
    if not scored.scores:
        raise StoreError(
            f"{store.uri}: none of {len(records)} episodes has a verdict, so that nothing can be scored. `soar data rejudge` "
            "lets a model judge them, `soar data label` you"
        )
    missing = []
    for record in records:
        there = score_by(record, maker)
        if there is None:
            missing.append(record.id)
        elif there != scored.scores.get(record.id):
            raise StoreError(
                f"{store.uri}: episode {record.id!r} has another score by {maker!r}, from other verdicts or other episodes. A "
                "score is never overwritten: choose another --name"
            )
    now = time.time()
    store.add_labels({id: [score_label(maker, scored.scores[id], now)] for id in missing if id in scored.scores}, report)
    return scored


def _curve(record: EpisodeRecord, verdict: Label) -> tuple[tuple[tuple[int, float], ...], str, bool]:
    """Return the newest curve of an episode, whose it is, and whether a person contradicts it, so that there is none."""
    for label in reversed(record.labels):
        curve = curve_of(label) if is_verdict(label) else ()
        if curve and curve[-1][0] == record.length:
            if verdict.source.startswith(PERSON) and (curve[-1][1] >= _DONE) is not verdict.success:
                return (), "", True
            return curve, label.source, False
    return (), "", False
