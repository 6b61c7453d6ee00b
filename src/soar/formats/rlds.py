"""RLDS in TFRecord: SOAR-Data, BridgeData v2, and whatever else has their steps.

A record is an episode. `steps/observation/CAMERA`, `steps/observation/state` and `steps/action` are needed. `steps/goal` (the
generated subgoal, repeated at each step), `steps/language_instruction` and all of `episode_metadata` may be missing; keys that
are not named here are ignored. `soar/episodes.parquet`, which our own export writes, says what RLDS has no place for.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from soar.episodes.encoded import EncodedEpisode
from soar.errors import FormatError
from soar.formats import sidecar, tfrecord
from soar.formats.steps import Actions, Dataset, Found, Unsaid, episode_of_steps, subgoals_of_steps, text_list
from soar.types import ACTION_DIM, STATE_DIM

_FILE = re.compile(r"(?:.*-)?(?P<split>[A-Za-z0-9_]+)\.tfrecord(?:-(?P<shard>\d+)-of-(?P<shards>\d+))?$")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)_\d\d-\d\d-\d\d")
_NO_LATENCY_SINCE = datetime(2021, 7, 23)
"""Cameras of earlier BridgeData recordings lag one step behind."""
_log = logging.getLogger(__name__)

Features = Mapping[str, tfrecord.Values]


@dataclass(frozen=True, slots=True, kw_only=True)
class RLDSConfig:
    """How an RLDS dataset is read.

    Attributes:
        camera: Which of the `steps/observation/…` images.
        splits: Only these; all by default.
        actions: `reached` replaces the commanded motions by those that the next state shows, as BridgeData is trained on.
        latency_shift: `by-date` pairs each observation with the action before in episodes whose path has a date before
            2021-07-23. The public converters have done that already.
        unsaid: What the files do not say.
    """

    camera: str = "image_0"
    splits: tuple[str, ...] = ()
    actions: Actions = "commanded"
    latency_shift: Literal["off", "by-date"] = "off"
    unsaid: Unsaid = field(default_factory=Unsaid)


def open_rlds(folder: Path, config: RLDSConfig) -> Dataset:
    """Find the episodes of an RLDS dataset, in the order of its files.

    Raises:
        FormatError: There is no TFRecord file, or no such split.
    """
    found = folder.rglob("*.tfrecord*") if folder.is_dir() else ()
    # Hidden folders are what programs keep beside the data, downloaders for example.
    shown = (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    files = sorted(path for path in shown if tfrecord.is_record_file(path))
    if not files:
        raise FormatError(f"{folder} holds no .tfrecord file; pass the folder of the dataset, the one with features.json")
    ((name, times),) = Counter(path.name for path in files).most_common(1)
    if times > 1:
        raise FormatError(f"{folder} holds several datasets, there are {times} files {name}; pass the folder of one of them")
    splits = {path: _split(path) for path in files}
    unknown = set(config.splits) - set(splits.values())
    if unknown:
        raise FormatError(
            f"{folder} has no split {', '.join(sorted(unknown))}; its files are of: {', '.join(sorted(set(splits.values())))}"
        )
    files = [path for path in files if not config.splits or splits[path] in config.splits]
    _note_missing_shards(folder, files)
    records = [record for path in files for record in tfrecord.scan(path)]
    known = {parent: sidecar.read(parent) for parent in {path.parent for path in files}}

    def episodes() -> Iterator[Found]:
        for record in records:
            row = known[record.path.parent].get(_key(record))
            id = row["id"] if row else f"{record.path.name}-{record.number:05d}"
            yield Found(id=id, place=record.place, read=partial(_read, record, id, row, config))

    return Dataset(count=len(records), episodes=episodes())


def _read(record: tfrecord.Record, id: str, row: dict[str, Any] | None, config: RLDSConfig) -> EncodedEpisode:
    place = record.place
    features = tfrecord.parse_example(tfrecord.read(record), place)
    images = _bytes(features, f"steps/observation/{config.camera}", place)
    states_ND = _vectors(features, "steps/observation/state", STATE_DIM, place)
    actions_ND = _vectors(features, "steps/action", ACTION_DIM, place)
    _check_order(features, len(images), place)
    if row is not None:
        return sidecar.restore(row, images, states_ND, actions_ND, place)
    metadata = {
        name.removeprefix("episode_metadata/"): _plain(values)
        for name, values in features.items()
        if name.startswith("episode_metadata/")
    }
    file_path = str(metadata.get("file_path") or "")
    if config.latency_shift == "by-date" and _lags(file_path):
        images, states_ND, actions_ND = images[1:], states_ND[1:], actions_ND[:-1]
    instructions = [text.decode("utf-8", "replace") for text in _as_bytes(features.get("steps/language_instruction", ()))]
    instruction = next((text.strip() for text in instructions if text.strip()), "")
    if "has_language" in metadata and not metadata["has_language"]:
        instruction = ""
    success = metadata.get("success")
    if _split(record.path) == "unlabelled":
        # What our own export calls episodes without a verdict; the schema has no third value.
        success = None
    elif success is None:
        success = {"success": True, "failure": False}.get(_split(record.path))
    goals = features.get("steps/goal", ())
    lists = {name: text_list(str(metadata[name])) for name in ("task_list", "object_list") if name in metadata}
    where = _collection_path(file_path)
    robot = str(metadata.get("robot_id") or where.get("robot", ""))
    return episode_of_steps(
        id,
        place,
        images=images,
        states_ND=states_ND,
        actions_ND=actions_ND,
        actions=config.actions,
        origin={"format": "rlds", "file": record.path.name, "record": record.number, "metadata": metadata | lists},
        scene=where.get("scene") or config.unsaid.scene,
        instruction=instruction,
        subgoals=subgoals_of_steps(_as_bytes(goals), len(images) - 1),
        labels=() if success is None else (config.unsaid.label(bool(success)),),
        provenance=config.unsaid.provenance(policy=where.get("policy", ""), robot=robot),
    )


def _collection_path(path: str) -> dict[str, str]:
    """Return what the path of a released episode says: robot/scene/policy/date/{success,failure}/trajectory."""
    parts = path.rstrip("/").split("/")
    if len(parts) < 6 or parts[-2] not in ("success", "failure"):
        return {}
    return {"robot": parts[-6], "scene": parts[-5], "policy": parts[-4]}


def _lags(path: str) -> bool:
    date = _DATE.search(path)
    return date is not None and datetime(int(date[1]), int(date[2]), int(date[3])) < _NO_LATENCY_SINCE


def _bytes(features: Features, name: str, place: str) -> list[bytes]:
    if name not in features:
        prefix = name.rpartition("/")[0] + "/"
        there = sorted(key.removeprefix(prefix) for key in features if key.startswith(prefix))
        raise FormatError(f"{place}: no {name}; below {prefix} there is {', '.join(there) or 'nothing'}")
    return _as_bytes(features[name])


def _as_bytes(values: tfrecord.Values | Sequence[bytes]) -> list[bytes]:
    return [value for value in values if isinstance(value, bytes)]


def _vectors(features: Features, name: str, dim: int, place: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    values = features.get(name)
    if not isinstance(values, np.ndarray) or values.dtype != np.float32:
        raise FormatError(f"{place}: no {name} of floats; this is not an RLDS dataset with states and actions of a robot arm")
    if values.size % dim:
        raise FormatError(
            f"{place}: {name} has {values.size} numbers, which is no multiple of {dim}; its vectors have another size"
        )
    return values.reshape(-1, dim).astype(np.float32)


def _check_order(features: Features, steps: int, place: str) -> None:
    """Refuse a record whose flags say that its steps are not those of one episode, in order."""
    for name, right in (("is_first", 0), ("is_last", steps - 1)):
        flags = features.get(f"steps/{name}", ())
        wrong = [step for step in np.flatnonzero(np.asarray(flags, np.int64)).tolist() if step != right]
        if wrong:
            raise FormatError(f"{place}: {name} is set at step {wrong[0]} of {steps}; its steps are not in order")


def _plain(values: tfrecord.Values) -> Any:
    """Return one value of metadata as JSON has it."""
    listed = values.tolist() if isinstance(values, np.ndarray) else [value.decode("utf-8", "replace") for value in values]
    return listed[0] if len(listed) == 1 else listed


def _key(record: tfrecord.Record) -> str:
    found = _FILE.match(record.path.name)
    return tfrecord.key(_split(record.path), int((found and found["shard"]) or 0), record.number)


def _split(path: Path) -> str:
    found = _FILE.match(path.name)
    return found["split"] if found else ""


def _note_missing_shards(folder: Path, files: Sequence[Path]) -> None:
    """Say which shards are not there: half a download is worth importing, and nobody should take it for the whole."""
    shards: dict[tuple[str, int], set[int]] = {}
    for path in files:
        found = _FILE.match(path.name)
        if found and found["shards"]:
            shards.setdefault((found["split"], int(found["shards"])), set()).add(int(found["shard"]))
    for (split, count), there in shards.items():
        if len(there) < count:
            _log.warning("%s: split %s has %d of its %d files; the others are not imported", folder, split, len(there), count)
