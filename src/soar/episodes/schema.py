"""The two tables of a store, and how an `EncodedEpisode` becomes rows of them and comes back.

```
steps     one row a step, T + 1 an episode: episode, attempt, step, frame (JPEG), state (7), action (7, null in the last row),
          extra_frames (of further cameras, see `soar.episodes.extra_frames`)
episodes  one row an episode: id, attempt, scene, instruction, length (T), labels and verdict, provenance, subgoals, origin,
          reflex_steps, cameras (names of the further ones), limited_steps
```

`attempt` is a random number drawn by each append. It joins the two tables, so that steps whose episode was never committed
(the writer died in between) are seen by nobody, even when the same episode id is appended again later.

`success` and `probability` are resolved from `labels`, see `resolve`. `simulator_success` is the simulator's own verdict; it is
kept apart because it exists only in simulation and nothing may be trained on it unnoticed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from soar.episodes import extra_frames
from soar.episodes.encoded import EncodedEpisode
from soar.errors import StoreError
from soar.types import ACTION_DIM, STATE_DIM, Label, Provenance
from soar.untrusted import parse_json

VERSION = (1, 4)
"""Major, minor. A reader refuses an unknown major; a minor only adds columns, which are null where they are missing: 1.1
`origin`, 1.2 `reflex_steps`, 1.3 `cameras` and `extra_frames`, 1.4 `limited_steps`."""
VERSION_KEY = b"soar.episodes"
SIMULATOR = "simulator"
DONE_BEFORE, UNDONE_BEFORE = "done before it began", "undone before it began"
"""What the simulator's label of an autonomous attempt says, too (`answer`): a proposer that errs commands what is done."""
PERSON = "person:"
INSTRUCTION = "instruction:"
"""Before the maker of a label that says not whether an attempt worked, but what was done in it (`answer`); no verdict."""
SCORE = "score:"
"""Before the maker of a label that says what an episode is worth to whoever learns from it (`soar.episodes.scores`)."""

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
        (extra_frames.COLUMN, extra_frames.TYPE),
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
        ("origin", pa.string()),
        ("reflex_steps", pa.list_(pa.int32())),
        ("cameras", pa.list_(pa.string())),
        ("limited_steps", pa.list_(pa.int32())),
    ],
    metadata=_METADATA,
)
METADATA_COLUMNS = [name for name in EPISODES.names if name not in ("subgoal_steps", "subgoal_frames")]
Vectors: TypeAlias = NDArray[np.float32]
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
        origin: What the dataset knew that it was imported from, see `EncodedEpisode`.
        reflex_steps: Steps whose action was a reflex's.
        cameras: Its further cameras, see `soar.cameras`.
        limited_steps: Steps whose action the safety shell had to change; None: unknown.
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
    origin: Mapping[str, Any]
    reflex_steps: tuple[int, ...] = ()
    cameras: tuple[str, ...] = ()
    limited_steps: tuple[int, ...] | None = None

    @property
    def achieved(self) -> bool:
        """Whether it is the attempt's doing that its task is done, says the simulator; not what was done before it began."""
        done_before = any(label.source == SIMULATOR and label.answer == DONE_BEFORE for label in self.labels)
        return self.simulator_success is True and not done_before


def is_verdict(label: Label) -> bool:
    """Return whether a label says whether the attempt worked, and is not the simulator's."""
    return label.source != SIMULATOR and not label.source.startswith((INSTRUCTION, SCORE))


def resolve(labels: Sequence[Label]) -> Label | None:
    """Return the label that counts: a person's before a model's, the newest among equals; never the simulator's."""
    judged = [label for label in labels if is_verdict(label)]
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


def steps_table(episode: EncodedEpisode, attempt: int) -> pa.Table:
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
            pa.array(episode.frames, pa.binary()),
            pa.FixedSizeListArray.from_arrays(states, STATE_DIM),
            pa.FixedSizeListArray.from_arrays(pa.array(actions.ravel()), ACTION_DIM, mask=pa.array(has_no_action)),
            extra_frames.column_of(episode.extra_frames, rows),
        ],
        schema=STEPS,
    )


def episode_row(episode: EncodedEpisode, attempt: int, created_s: float) -> dict[str, Any]:
    """Return the row of `episodes` of one episode; `created_s` is for one that has not been stored before."""
    return {
        "id": episode.id,
        "attempt": attempt,
        "scene": episode.scene,
        "instruction": episode.instruction,
        "length": len(episode.actions_TD),
        **label_columns(episode.labels),
        **asdict(episode.provenance),
        "subgoal_steps": [step for step, _ in episode.subgoals],
        "subgoal_frames": [jpeg for _, jpeg in episode.subgoals],
        "created_s": created_s if episode.created_s is None else episode.created_s,
        "origin": json.dumps(dict(episode.origin)) if episode.origin else None,
        "reflex_steps": list(episode.reflex_steps) or None,
        "cameras": sorted(episode.extra_frames) or None,
        "limited_steps": None if episode.limited_steps is None else list(episode.limited_steps),
    }


def encoded_episode(
    row: Mapping[str, Any],
    jpegs: Sequence[bytes],
    states_TD: Vectors,
    actions_TD: Vectors,
    further: Mapping[str, Sequence[bytes]] | None = None,
) -> EncodedEpisode:
    """Return the episode of a row of `episodes` and its T + 1 frames, T + 1 states and T actions.

    Args:
        row: Of `episodes`.
        jpegs: Of the main camera.
        states_TD: (T + 1, 7).
        actions_TD: (T, 7).
        further: Frames of further cameras; None: they are left out.
    """
    known = record(row, first_row=0)
    return EncodedEpisode(
        id=known.id,
        scene=known.scene,
        instruction=known.instruction,
        frames=tuple(jpegs),
        states_TD=states_TD,
        actions_TD=actions_TD,
        subgoals=tuple(zip(row["subgoal_steps"], row["subgoal_frames"], strict=True)),
        labels=known.labels,
        provenance=known.provenance,
        origin=known.origin,
        created_s=known.created_s,
        reflex_steps=known.reflex_steps,
        limited_steps=known.limited_steps,
        extra_frames={camera: tuple(frames) for camera, frames in (further or {}).items()},
    )


def record(row: Mapping[str, Any], first_row: int) -> EpisodeRecord:
    """Return the record of a row of `episodes`."""
    provenance = {name: row[name] for name in _PROVENANCE} | {"faults": tuple(row["faults"])}
    limited = row.get("limited_steps")
    plain = ("id", "scene", "length", "success", "probability", "simulator_success", "created_s", "attempt")
    return EpisodeRecord(
        **{name: row[name] for name in plain},
        # Imports of earlier versions wrote null where a file had no text.
        instruction=row["instruction"] or "",
        labels=tuple(Label(**label) for label in row["labels"]),
        provenance=Provenance(**provenance),
        first_row=first_row,
        # Stores of an older format have no such columns.
        origin=parse_json(row.get("origin") or "{}"),
        reflex_steps=tuple(row.get("reflex_steps") or ()),
        cameras=tuple(row.get("cameras") or ()),
        limited_steps=None if limited is None else tuple(limited),
    )


def further_frames(row: Mapping[str, Any], steps: pa.Table) -> dict[str, list[bytes]]:
    """Return the frames of an episode's further cameras.

    Args:
        row: Of `episodes`.
        steps: Its rows of `steps`, in order, with the column `extra_frames` if there is one.

    Raises:
        StoreError: Some are missing.
    """
    found: dict[str, list[bytes]] = {}
    for camera in row.get("cameras") or ():
        column = steps[extra_frames.COLUMN] if extra_frames.COLUMN in steps.column_names else None
        frames = None if column is None else extra_frames.frames_of(column, camera)
        if frames is None:
            raise StoreError(
                f"episode {row['id']!r} lacks frames of its camera {camera}; the store is damaged, restore it from a copy or "
                "run `soar data doctor --frames` on it"
            )
        found[camera] = frames
    return found


def states(table: pa.Table) -> Vectors:
    """Return the states (N, 7) of rows of `steps`."""
    return _vectors(table["state"], STATE_DIM)


def actions(table: pa.Table) -> Vectors:
    """Return the actions (N, 7) of rows of `steps`; NaN where a row has none."""
    return _vectors(table["action"], ACTION_DIM)


def _vectors(column: pa.ChunkedArray, dim: int) -> Vectors:
    array = np.full((len(column), dim), np.nan, np.float32)
    valid = np.asarray(column.is_valid())
    array[valid] = np.asarray(column.combine_chunks().flatten(), np.float32).reshape(-1, dim)
    return array
