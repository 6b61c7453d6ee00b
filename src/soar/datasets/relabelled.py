"""Episodes under the instructions that somebody else gave them: what was done, and not what was asked for.

Such labels stand beside the verdicts of an episode (`soar.episodes.schema.INSTRUCTION`), with who made them and how sure they
were. An episode that got several is there once for each; one that got none, or only that nothing happened, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from soar.datasets.arrays import StepArrays
from soar.episodes.schema import INSTRUCTION, EpisodeRecord
from soar.errors import StoreError
from soar.types import Label

NOTHING = ""
"""The answer of a label that says that nothing happened."""


def instruction_labels(record: EpisodeRecord, maker: str) -> list[Label]:
    """Return what a maker said was done in an episode, the surest first."""
    own = [label for label in record.labels if label.source == f"{INSTRUCTION}{maker}"]
    return sorted(own, key=lambda label: -(1.0 if label.probability is None else label.probability))


def makers(records: Sequence[EpisodeRecord]) -> list[str]:
    """Return who said of some episodes what was done in them."""
    sources = {label.source for record in records for label in record.labels if label.source.startswith(INSTRUCTION)}
    return sorted(source.removeprefix(INSTRUCTION) for source in sources)


def relabelled(
    arrays: StepArrays, records: Sequence[EpisodeRecord], maker: str, *, top_k: int = 1, min_p: float = 0.0, where: str = ""
) -> StepArrays:
    """Return episodes under the instructions that a maker gave them.

    Args:
        arrays: The episodes.
        records: What the store knows of them, of all at least, in any order.
        maker: Who.
        top_k: At most so many instructions an episode, the surest ones.
        min_p: Least probability of an instruction.
        where: What they are from, for messages.

    Raises:
        StoreError: The maker labelled none of them, or nothing is left.
    """
    if not any(instruction_labels(record, maker) for record in records):
        known = ", ".join(makers(records)) or "nobody"
        raise StoreError(
            f"{where}: none of {len(records)} episodes has an instruction by {maker!r}; there are some by {known}. "
            "`soar data label-dial` gives some."
        )
    chosen, instructions = [], []
    by_id = {record.id: record for record in records}
    for number, id_ in enumerate(arrays.ids):
        for label in instruction_labels(by_id[id_], maker)[:top_k]:
            if label.answer != NOTHING and (label.probability is None or label.probability >= min_p):
                chosen.append(number)
                instructions.append(label.answer)
    if not chosen:
        raise StoreError(
            f"{where}: no instruction by {maker!r} is left of {len(records)} episodes with a probability of {min_p} or more; "
            "lower the probability, or choose other episodes"
        )
    return replace(arrays.take(np.array(chosen, np.int64)), instructions=tuple(instructions))
