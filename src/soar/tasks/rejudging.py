"""Judge stored episodes again, by another model or more frames. Old labels are kept, and a person's outranks every model's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from soar.episodes import EpisodeStore
from soar.episodes.schema import PERSON
from soar.errors import ConfigError
from soar.instruction_grammar import task_from_instruction
from soar.tasks.detection import SuccessDetector
from soar.tasks.stored_films import films_of
from soar.types import Task

Report = Callable[[int, int], None]
"""Is told how many of how many episodes are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relabelled:
    """What a rejudging did.

    Attributes:
        judged: Episodes that got a label.
        changed: Those of them whose resolved verdict is another one now.
        present: Episodes that the model had judged before.
        unknown: Instructions for which there is no question.
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
        for record, label in zip(part, labels, strict=True):
            store.add_label(record.id, label)
            judged += 1
            outranked = any(other.source.startswith(PERSON) for other in record.labels)
            changed += not outranked and label.success is not record.success
            if report:
                report(judged, len(known))
    return Relabelled(judged=judged, changed=changed, present=len(selected) - len(records), unknown=tuple(unknown))
