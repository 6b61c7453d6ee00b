"""What the policies of a run did while they practised: all that is known of them when nobody evaluates."""

from __future__ import annotations

from collections.abc import Sequence

from soar.episodes import EpisodeRecord, EpisodeStore
from soar.evaluation.promotion import Practice
from soar.evaluation.statistics import Rate
from soar.improve.run_folder import RunFolder
from soar.policies.named import id_in


def practice(folder: RunFolder, number: int) -> Practice:
    """Return what policy `number` of a run did while it practised in it."""
    policy = id_in(folder.policy(number))
    records = EpisodeStore(folder.episodes).episodes() if folder.episodes.exists() else []
    mine = [record for record in records if record.provenance.policy == policy]
    judges = dict.fromkeys(record.provenance.vlm for record in mine if record.provenance.vlm)
    return Practice(policy=policy, judged=judged(mine), judge=", ".join(judges) or "nobody", true=true(mine))


def judged(records: Sequence[EpisodeRecord]) -> Rate:
    """Return how many episodes were judged successes; what could not be judged was none."""
    return Rate(successes=sum(record.success is True for record in records), trials=len(records))


def true(records: Sequence[EpisodeRecord]) -> Rate | None:
    """Return how many episodes truly were successes, of those of which that is known; None when it is known of none."""
    known = [record.simulator_success for record in records if record.simulator_success is not None]
    return Rate(successes=sum(known), trials=len(known)) if known else None
