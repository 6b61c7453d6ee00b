"""RLDS in TFRecord: SOAR-Data, BridgeData v2, and whatever else has their steps.

A record is an episode. `steps/observation/CAMERA`, `steps/observation/state` and `steps/action` are needed. `steps/goal` (the
generated subgoal, repeated at each step), `steps/language_instruction` and all of `episode_metadata` may be missing. Pictures
of other cameras come along (`further_cameras`); keys that are not named here are ignored. `soar/episodes.parquet`, which our
own export writes, says what RLDS has no place for.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from soar.episodes.encoded import EncodedEpisode
from soar.episodes.identity import moment
from soar.errors import FormatError
from soar.formats import sidecar, tfrecord
from soar.formats.fingerprints import fingerprint
from soar.formats.further_cameras import FurtherCameras, check_complete, main_of
from soar.formats.gripper_range import Grippers
from soar.formats.pictures import ImageRange, check_range
from soar.formats.rlds_features import (
    ACTION,
    METADATA,
    STATE,
    Features,
    as_bytes,
    camera_images,
    cameras_in,
    check_steps,
    instructions,
    metadata,
    other_cameras,
    other_wordings,
)
from soar.formats.rlds_vectors import measured_records, read_vectors
from soar.formats.steps import Actions, Dataset, Found, Unsaid, episode_of_steps, subgoals_of_steps, text_list
from soar.formats.texts import agreed_verdict, folder_verdict, verdict_of
from soar.formats.vector_maps import VECTOR, VectorConfig
from soar.formats.vector_names import read_names
from soar.formats.vector_survey import survey_vectors

_FILE = re.compile(r"(?:.*-)?(?P<split>[A-Za-z0-9_]+)\.tfrecord(?:\.gz)?(?:-(?P<shard>\d+)-of-(?P<shards>\d+))?(?:\.gz)?$")
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)_\d\d-\d\d-\d\d")
_NO_LATENCY_SINCE = datetime(2021, 7, 23)
"""Cameras of earlier BridgeData recordings lag one step behind."""
_FOREIGN_FILES = ("array_record", "riegeli", "parquet")
"""What tensorflow_datasets can write instead of TFRecord files; part of a file's name."""
_USUAL = "image_0"
"""The main camera of most."""
_LOOKED_AT = 16
"""Records in which other cameras are looked for, to know whether an import is another one than it was."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RLDSConfig:
    """How an RLDS dataset is read.

    Attributes:
        camera: Which of the `steps/observation/…` images are the main camera's; empty: the one that an export says, else
            `image_0`.
        other_cameras: Bring the others along as further ones.
        splits: Only these; all by default.
        actions: `reached` replaces the commanded motions by those that the next state shows, as BridgeData is trained on.
        latency_shift: `by-date` pairs each observation with the action before in episodes whose path has a date before
            2021-07-23. The public converters have done that already.
        vectors: What the numbers of states and actions are, where that is not clear.
        image_range: What becomes black and white in images of more than 8 bits; they are refused without.
        unsaid: What the files do not say.
    """

    camera: str = ""
    other_cameras: bool = field(default=True, repr=False)
    splits: tuple[str, ...] = ()
    actions: Actions = "commanded"
    latency_shift: Literal["off", "by-date"] = "off"
    vectors: VectorConfig = field(default_factory=VectorConfig)
    image_range: ImageRange | None = None
    unsaid: Unsaid = field(default_factory=Unsaid)

    def __post_init__(self) -> None:
        check_range(self.image_range)


def open_rlds(folder: Path, config: RLDSConfig) -> Dataset:
    """Find the episodes of an RLDS dataset, in the order of its files.

    The states and actions of all of them are read once, to know what the gripper's numbers mean.

    Raises:
        FormatError: There is no TFRecord file, or no such split, or it is not clear what the gripper's numbers mean.
        ConfigError: A map or a range is none.
    """
    found = folder.rglob("*.tfrecord*") if folder.is_dir() else ()
    # Hidden folders are what programs keep beside the data, downloaders for example.
    shown = (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    files = sorted(path for path in shown if tfrecord.is_record_file(path))
    if not files:
        raise FormatError(_no_files(folder))
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

    new = [record for record in records if _key(record) not in known[record.path.parent]]
    usual = config.camera or _USUAL
    grippers, notes = survey_vectors(
        measured_records(new, usual, config.vectors), config.vectors, actions=config.actions, place=str(folder)
    )
    if new:  # RLDS has no place for names: what is taken for what is said, as where LeRobot has none
        mapped = {"state": config.vectors.state_map, "action": config.vectors.action_map}
        plain = [what for what, text in mapped.items() if not text]
        told = [read_names(what, None, len(VECTOR), "", flag=f"--{what}-map", place=str(folder)) for what in plain]
        notes = (*(note for _, note in told if note), *notes)
    for note in notes:
        _log.warning("%s", note)
    options = replace(config, camera=usual, unsaid=Unsaid(), splits=())
    beside = FurtherCameras(str(folder))
    several = config.other_cameras and any(_has_several(record, usual) for record in new[:_LOOKED_AT])

    def episodes() -> Iterator[Found]:
        for record in records:
            row = known[record.path.parent].get(_key(record))
            id = row["id"] if row else f"{record.path.name}-{record.number:05d}"
            # Nothing more where there is one camera: what was imported before others came along is known by this, too.
            parts = (options, record.crc, record.length, *(("other cameras",) if several else ()))
            known_by = moment(row["created_s"], row["length"]) if row else fingerprint(*parts)
            yield Found(
                id=id,
                place=record.place,
                read=partial(_read, record, id, row, config, grippers=grippers, beside=beside),
                fingerprint=partial(str, known_by),
            )

    return Dataset(count=len(records), episodes=episodes())


def _read(
    record: tfrecord.Record,
    id: str,
    row: dict[str, Any] | None,
    config: RLDSConfig,
    *,
    grippers: Grippers,
    beside: FurtherCameras,
) -> EncodedEpisode:
    place = record.place
    features = tfrecord.parse_example(tfrecord.read(record), place)
    camera = config.camera or main_of([row] if row else [], cameras_in(features)) or _USUAL
    images = camera_images(features, camera, place)
    names = beside.usable(other_cameras(features, camera, place)) if config.other_cameras else []
    readers = {name: partial(camera_images, features, name, place) for name in names}
    further = beside.frames(readers, place, config.image_range)
    steps = len(images)
    states_ND = read_vectors(features, STATE, config.vectors, steps, place)
    actions_ND = read_vectors(features, ACTION, config.vectors, steps, place)
    check_steps(features, steps, place)
    if row is not None:
        if config.other_cameras:
            check_complete(row, camera, further, place)
        return sidecar.restore(row, images, states_ND, actions_ND, place=place, further=further)
    states_ND, actions_ND = grippers(states_ND, actions_ND)
    said = instructions(features, steps, place)
    others = other_wordings(features, said, place)
    known = metadata(features)
    file_path = str(known.get("file_path") or "")
    if config.latency_shift == "by-date" and _lags(file_path):
        images, states_ND, actions_ND = images[1:], states_ND[1:], actions_ND[:-1]
        further = {name: jpegs[1:] for name, jpegs in further.items()}
        said = tuple((max(step - 1, 0), text) for step, text in said)
    lists = {name: text_list(str(known[name])) for name in ("task_list", "object_list") if name in known}
    where = _collection_path(file_path)
    robot = str(known.get("robot_id") or where.get("robot", ""))
    success = _success(features, _split(record.path), where.get("verdict", ""), place)
    origin: dict[str, Any] = {"format": "rlds", "file": record.path.name, "record": record.number, "metadata": known | lists}
    return episode_of_steps(
        id,
        place,
        images=images,
        states_ND=states_ND,
        actions_ND=actions_ND,
        actions=config.actions,
        instructions=said,
        image_range=config.image_range,
        further=further,
        origin=origin | ({"other_wordings": others} if others else {}),
        scene=where.get("scene") or config.unsaid.scene,
        subgoals=subgoals_of_steps(as_bytes(features.get("steps/goal", ())), len(images) - 1, place, config.image_range),
        labels=() if success is None else (config.unsaid.label(success),),
        provenance=config.unsaid.provenance(policy=where.get("policy", ""), robot=robot),
    )


def _has_several(record: tfrecord.Record, camera: str) -> bool:
    """Whether there are other cameras in a record; one that cannot be read says what is wrong with it when it is its turn."""
    try:
        features = tfrecord.parse_example(tfrecord.read(record), record.place)
        return bool(other_cameras(features, camera, record.place))
    except FormatError:
        return False


def _success(features: Features, split: str, where: str, place: str) -> bool | None:
    """Return the verdict of a record: what itself, its split and its path say, if they agree."""
    if split == "unlabelled":
        # What our own export calls episodes without a verdict; the schema has no third value.
        return None
    said = {
        f"{METADATA}success": verdict_of(features.get(f"{METADATA}success", ()), f"{place}, {METADATA}success"),
        "the split": folder_verdict(split),
        f"{METADATA}file_path": folder_verdict(where),
    }
    return agreed_verdict(said, place)


def _collection_path(path: str) -> dict[str, str]:
    """Return what the path of a released episode says: robot/scene/policy/date/{success,failure}/trajectory."""
    parts = path.rstrip("/").split("/")
    if len(parts) < 6 or parts[-2] not in ("success", "failure"):
        return {}
    return {"robot": parts[-6], "scene": parts[-5], "policy": parts[-4], "verdict": parts[-2]}


def _lags(path: str) -> bool:
    date = _DATE.search(path)
    return date is not None and datetime(int(date[1]), int(date[2]), int(date[3])) < _NO_LATENCY_SINCE


def _no_files(folder: Path) -> str:
    """Return what to say about a folder without TFRecord files."""
    found = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    for kind in _FOREIGN_FILES:
        if of_kind := [path for path in found if f".{kind}" in path.name]:
            return (
                f"{folder} holds {len(of_kind)} files of {kind}, for example {of_kind[0].name}, and this reads tfrecord. "
                "Convert the dataset with tensorflow_datasets: python -m tensorflow_datasets.scripts.convert_format "
                f"--dataset_version_dir={folder} --out_file_format=tfrecord --out_dir=NEW"
            )
    return f"{folder} holds no .tfrecord file; pass the folder of the dataset, the one with features.json"


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
