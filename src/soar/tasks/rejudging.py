"""Judge stored episodes again, by another model, more frames, or curves of progress that another program computed.

Old labels are kept, and a person's outranks every model's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from soar.episodes import EpisodeStore
from soar.episodes.schema import PERSON, SIMULATOR, EpisodeRecord
from soar.errors import ConfigError
from soar.instruction_grammar import task_from_instruction
from soar.tasks.detection import SuccessDetector
from soar.tasks.evidence import Evidence, written
from soar.tasks.stored_films import films_of
from soar.types import Label, Task

Report = Callable[[int, int], None]
"""Is told how many of how many episodes are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabelled:
    """What a rejudging did.

    Attributes:
        judged: Episodes that got a label.
        changed: Those of them whose resolved verdict is another one now.
        present: Episodes that the model had judged before.
        unknown: Instructions for which there is no question; of curves, episodes that have none.
    """

    judged: int
    changed: int
    present: int
    unknown: tuple[str, ...]


def rejudge(
    store: EpisodeStore,
    detector: SuccessDetector,
    *,
    where: str | None = None,
    task_of: Callable[[str], Task] = task_from_instruction,
    report: Report | None = None,
) -> Relabelled:
    """Give each episode that the detector has not judged yet its label; a repeated call goes on.

    Args:
        store: Gets the labels.
        detector: Judges; `detector.id` is the label's source.
        where: SQL that selects some of the episodes.
        task_of: From an instruction to its task, or a `ConfigError`; see `soar.tasks.questions.task_finder`.
        report: Is told how far it is.

    Raises:
        StoreError: The SQL is invalid, or the store cannot be written.
    """
    selected = store.episodes(where)
    records = [record for record in selected if all(label.source != detector.id for label in record.labels)]
    unknown: dict[str, None] = {}
    tasks: dict[str, Task] = {}
    for record in records:
        try:
            tasks[record.id] = task_of(record.instruction)
        except ConfigError:
            unknown[record.instruction] = None
    known = [record for record in records if record.id in tasks]
    judged = changed = 0
    for part, films in films_of(store, known, detector):
        labels = detector.judge_all(films, [tasks[record.id] for record in part])
        store.add_labels({record.id: [label] for record, label in zip(part, labels, strict=True)})
        judged += len(part)
        changed += sum(map(_changes, part, labels))
        if report:
            report(judged, len(known))
    return Relabelled(judged=judged, changed=changed, present=len(selected) - len(records), unknown=tuple(unknown))


def judge_by_progress(
    store: EpisodeStore,
    curves: Mapping[str, tuple[tuple[int, float], ...]],
    *,
    source: str,
    threshold: float,
    where: str | None = None,
    report: Report | None = None,
) -> Relabelled:
    """Give each episode that has a curve a label: a success if its progress at the last frame reaches the threshold.

    Without a value at the last frame it is undecidable. A repeated call goes on; the curve stands in the label, and becomes the
    progress of its score (`soar.tasks.scoring`).

    Args:
        store: Gets the labels.
        curves: By episode: (frame, progress in 0..1), increasing.
        source: Who judges.
        threshold: Least progress of a success, over 0 and at most 1.
        where: SQL that selects some of the episodes.
        report: Is told how far it is.

    Raises:
        ConfigError: The source has no name, or is not a model's; the threshold is none.
        StoreError: The SQL is invalid, or the store cannot be written.
    """
    if not source.strip() or source.startswith(PERSON) or source == SIMULATOR:
        raise ConfigError(
            f"a judge by progress says which model it is, and is neither a person nor the simulator; got {source!r}"
        )
    if not 0 < threshold <= 1:
        raise ConfigError(f"progress is a success from a threshold on that is over 0 and at most 1, got {threshold}")
    selected = store.episodes(where)
    records = [record for record in selected if all(label.source != source for label in record.labels)]
    known = [record for record in records if record.id in curves]
    made: dict[str, Sequence[Label]] = {}
    changed = 0
    for record in known:
        curve = curves[record.id]
        end = curve[-1][1] if curve and curve[-1][0] == record.length else None
        success = None if end is None else end >= threshold
        seen = Evidence(
            judge=source,
            frames=tuple(frame for frame, _ in curve),
            probabilities=tuple(progress for _, progress in curve),
            answers=(),
            success=success,
            probability=end,
            curve=True,
        )
        label = Label(success=success, probability=end, source=source, answer=written([seen]), time_s=time.time())
        made[record.id] = [label]
        changed += _changes(record, label)
    store.add_labels(made, report)
    return Relabelled(
        judged=len(known),
        changed=changed,
        present=len(selected) - len(records),
        unknown=tuple(record.id for record in records if record.id not in curves),
    )


def _changes(record: EpisodeRecord, label: Label) -> bool:
    """Return whether a new label changes an episode's verdict."""
    outranked = any(other.source.startswith(PERSON) for other in record.labels)
    return not outranked and label.success is not record.success
