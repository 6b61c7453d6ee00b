"""The two tables of a store, and how an `Episode` becomes rows of them.

```
steps     one row a step, T + 1 an episode: episode, attempt, step, frame (JPEG), state (7), action (7, null in the last row)
episodes  one row an episode: id, attempt, scene, instruction, length (T), labels and verdict, provenance, subgoals
```

`attempt` is a random number drawn by each append. It joins the two tables, so that steps whose episode was never committed
(the writer died in between) are seen by nobody, even when the same episode id is appended again later.

`success` and `probability` are resolved from `labels`, see `resolve`. `simulator_success` is the simulator's own verdict; it is
kept apart because it exists only in simulation and nothing may be trained on it unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from soar.episodes import frames
from soar.errors import StoreError
from soar.types import ACTION_DIM, STATE_DIM, Episode, Label, Provenance

VERSION = (1, 0)
"""Major, minor. A reader refuses an unknown major; a minor only adds columns."""
VERSION_KEY = b"soar.episodes"
SIMULATOR = "simulator"
PERSON = "person:"

_METADATA = {VERSION_KEY: f"{VERSION[0]}.{VERSION[1]}".encode()}
_LABEL = pa.struct(
    [
        ("success", pa.bool_()),
        ("probability", pa.float64()),
        ("source", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("time_s", pa.float64()),
    ]
)
STEPS = pa.schema(
    [
        ("episode", pa.string()),
        ("attempt", pa.int64()),
        ("step", pa.int32()),
        ("frame", pa.binary()),
        ("state", pa.list_(pa.float32(), STATE_DIM)),
        ("action", pa.list_(pa.float32(), ACTION_DIM)),
    ],
    metadata=_METADATA,
)
EPISODES = pa.schema(
    [
        ("id", pa.string()),
        ("attempt", pa.int64()),
        ("scene", pa.string()),
        ("instruction", pa.string()),
        ("length", pa.int32()),
        ("success", pa.bool_()),
        ("probability", pa.float64()),
        ("simulator_success", pa.bool_()),
        ("label_count", pa.int32()),
        ("labels", pa.list_(_LABEL)),
        ("policy", pa.string()),
        ("vlm", pa.string()),
        ("subgoal_model", pa.string()),
        ("robot", pa.string()),
        ("run", pa.string()),
        ("round", pa.int32()),
        ("seed", pa.int64()),
        ("faults", pa.list_(pa.string())),
        ("subgoal_steps", pa.list_(pa.int32())),
        ("subgoal_frames", pa.list_(pa.binary())),
        ("created_s", pa.float64()),
    ],
    metadata=_METADATA,
)
METADATA_COLUMNS = [name for name in EPISODES.names if name not in ("subgoal_steps", "subgoal_frames")]
_PROVENANCE = tuple(Provenance.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRecord:
    """What a store knows of an episode without reading its images.

    Attributes:
        id: Unique in the store.
        scene: Name of the scene.
        instruction: The task's language command.
        length: T, the number of actions; the episode has T + 1 observations.
        success: The resolved verdict, None when there is none (see `resolve`).
        probability: The probability that came with it.
        simulator_success: The simulator's verdict, None outside simulation.
        labels: All judgements, oldest first.
        provenance: Who made the episode.
        created_s: When it was appended, in seconds since the Unix epoch.
        first_row: Index of its first observation among the store's rows (see `EpisodeStore.rows`).
        attempt: What joins it to its steps.
    """

    id: str
    scene: str
    instruction: str
    length: int
    success: bool | None
    probability: float | None
    simulator_success: bool | None
    labels: tuple[Label, ...]
    provenance: Provenance
    created_s: float
    first_row: int
    attempt: int


def resolve(labels: Sequence[Label]) -> Label | None:
    """Return the label that counts: a person's before a model's, the newest among equals; never the simulator's."""
    judged = [label for label in labels if label.source != SIMULATOR]
    if not judged:
        return None
    rank = [(label.source.startswith(PERSON), label.time_s, index) for index, label in enumerate(judged)]
    return judged[max(range(len(judged)), key=rank.__getitem__)]


def label_columns(labels: Sequence[Label]) -> dict[str, Any]:
    """Return the columns of `episodes` that follow from an episode's labels."""
    counts = resolve(labels)
    truth = [label.success for label in labels if label.source == SIMULATOR]
    return {
        "success": counts.success if counts else None,
        "probability": counts.probability if counts else None,
        "simulator_success": truth[-1] if truth else None,
        "label_count": len(labels),
        "labels": [asdict(label) for label in labels],
    }


def check(episode: Episode) -> None:
    """Refuse an episode whose arrays are not what the vocabulary says.

    Raises:
        StoreError: A shape or type is wrong, or a number is not finite; the message names the array and the step.
    """
    where = f"episode {episode.id!r}"
    if not episode.id:
        raise StoreError("an episode has no id; give each episode an id that is unique in the store, for example RUN-SEED")
    if len(episode.actions_TD) == 0:
        raise StoreError(f"{where} has no actions; an episode needs at least one action and two observations")
    images = [episode.images_THWC, *(goal.image_HWC[None] for goal in episode.subgoals)]
    if any(image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] != 3 for image in images):
        raise StoreError(
            f"{where}: images must be uint8 RGB of shape (height, width, 3), got "
            + ", ".join(sorted({f"{image.dtype} {image.shape[1:]}" for image in images}))
        )
    for name, array, dim in (("states", episode.states_TD, STATE_DIM), ("actions", episode.actions_TD, ACTION_DIM)):
        if array.ndim != 2 or array.shape[1] != dim:
            raise StoreError(f"{where}: {name} must have shape (steps, {dim}), got {array.shape}")
        finite = np.isfinite(array).all(1)
        if not finite.all():
            raise StoreError(f"{where}: {name} are not finite at step {int(np.argmin(finite))}; drop or repair the episode")


def steps_table(episode: Episode, attempt: int) -> pa.Table:
    """Return the T + 1 rows of `steps` of one episode."""
    rows = len(episode.states_TD)
    states = pa.array(np.ascontiguousarray(episode.states_TD, np.float32).ravel())
    actions = np.append(np.asarray(episode.actions_TD, np.float32), np.zeros((1, ACTION_DIM), np.float32), 0)
    has_no_action = np.arange(rows) == rows - 1
    return pa.table(
        [
            pa.array([episode.id] * rows, pa.string()),
            pa.array(np.full(rows, attempt), pa.int64()),
            pa.array(np.arange(rows), pa.int32()),
            pa.array(frames.encode_all(episode.images_THWC), pa.binary()),
            pa.FixedSizeListArray.from_arrays(states, STATE_DIM),
            pa.FixedSizeListArray.from_arrays(pa.array(actions.ravel()), ACTION_DIM, mask=pa.array(has_no_action)),
        ],
        schema=STEPS,
    )


def episode_row(episode: Episode, attempt: int, created_s: float) -> dict[str, Any]:
    """Return the row of `episodes` of one episode."""
    return {
        "id": episode.id,
        "attempt": attempt,
        "scene": episode.scene,
        "instruction": episode.instruction,
        "length": len(episode.actions_TD),
        **label_columns(episode.labels),
        **asdict(episode.provenance),
        "subgoal_steps": [goal.step for goal in episode.subgoals],
        "subgoal_frames": [frames.encode(goal.image_HWC) for goal in episode.subgoals],
        "created_s": created_s,
    }


def record(row: Mapping[str, Any], first_row: int) -> EpisodeRecord:
    """Return the record of a row of `episodes`."""
    provenance = {name: row[name] for name in _PROVENANCE} | {"faults": tuple(row["faults"])}
    plain = ("id", "scene", "instruction", "length", "success", "probability", "simulator_success", "created_s", "attempt")
    return EpisodeRecord(
        **{name: row[name] for name in plain},
        labels=tuple(Label(**label) for label in row["labels"]),
        provenance=Provenance(**provenance),
        first_row=first_row,
    )


def states(table: pa.Table) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the states (N, 7) of rows of `steps`."""
    return _vectors(table["state"], STATE_DIM)


def actions(table: pa.Table) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the actions (N, 7) of rows of `steps`; NaN where a row has none."""
    return _vectors(table["action"], ACTION_DIM)


def _vectors(column: pa.ChunkedArray, dim: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    array = np.full((len(column), dim), np.nan, np.float32)
    valid = np.asarray(column.is_valid())
    array[valid] = np.asarray(column.combine_chunks().flatten(), np.float32).reshape(-1, dim)
    return array
