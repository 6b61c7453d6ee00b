"""Judge stored episodes again, with another model. Old labels are kept, and a person's still outranks every model's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from soar.episodes import EpisodeStore
from soar.episodes import jpeg as frames
from soar.episodes.schema import PERSON
from soar.errors import ConfigError
from soar.instruction_grammar import task_from_instruction
from soar.tasks.detection import SuccessDetector
from soar.types import Task
from soar.vlm.base import VisionLanguageModel

_BATCH = 256
"""Last frames that are read at a time, before any of their episodes is labelled."""
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
    vlm: VisionLanguageModel,
    *,
    where: str | None = None,
    threshold: float = 0.5,
    task_of: Callable[[str], Task] = task_from_instruction,
    report: Report | None = None,
) -> Relabelled:
    """Give each episode that the model has not judged yet its label, from the last frame; a repeated call goes on.

    Args:
        store: Gets the labels.
        vlm: Answers the task's question; `vlm.id` is the label's source.
        where: SQL that selects some of the episodes.
        threshold: Least probability that counts as success.
        task_of: From an instruction to its task, or a `ConfigError`; see `soar.tasks.questions.task_finder`.
        report: Is told how far it is.

    Raises:
        ConfigError: The threshold is not within (0, 1).
        StoreError: The SQL is invalid, or the store cannot be written.
    """
    detector = SuccessDetector(vlm, threshold)
    selected = store.episodes(where)
    records = [record for record in selected if all(label.source != vlm.id for label in record.labels)]
    unknown: dict[str, None] = {}
    judged = changed = 0
    for start in range(0, len(records), _BATCH):
        batch = records[start : start + _BATCH]
        table = store.table([record.first_row + record.length for record in batch], ["frame"])
        for number, (record, jpeg) in enumerate(zip(batch, table["frame"].to_pylist(), strict=True), start=start + 1):
            try:
                task = task_of(record.instruction)
            except ConfigError:
                unknown[record.instruction] = None
                continue
            label = detector.detect(frames.decode(jpeg), task)
            store.add_label(record.id, label)
            judged += 1
            outranked = any(known.source.startswith(PERSON) for known in record.labels)
            changed += not outranked and label.success is not record.success
            if report:
                report(number, len(records))
    return Relabelled(judged=judged, changed=changed, present=len(selected) - len(records), unknown=tuple(unknown))
