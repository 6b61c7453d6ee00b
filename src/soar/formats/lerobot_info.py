"""`meta/info.json` of a LeRobotDataset: every key that is read, checked once, so that a message can name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soar.errors import FormatError
from soar.files import is_inside
from soar.formats.texts import read_text
from soar.untrusted import parse_json

STATE, ACTION = "observation.state", "action"
_NUMBERS = ("float", "int", "uint", "bool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column, or one camera.

    Attributes:
        dtype: A numpy name, `string`, `image` or `video`.
        shape: Of one step's value.
        names: Of its numbers, in one of the forms that `vector_names.names_of` knows.
        depth: It is said to measure distances.
    """

    dtype: str
    shape: tuple[int, ...]
    names: Any = None
    depth: bool = False

    @property
    def count(self) -> int:
        """How many numbers a vector has; 0 for what is none."""
        return self.shape[0] if len(self.shape) == 1 and self.dtype.startswith(_NUMBERS) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What `meta/info.json` says.

    Attributes:
        folder: Of the dataset.
        version: Of the format.
        fps: Frames a second.
        features: By name.
        robot: Name of the robot; empty where it is not said.
        chunk_size: Episodes a chunk, of v2.1.
        total: Episodes in all; None where it is not said.
        templates: `data_path` and `video_path`, as far as they are there.
    """

    folder: Path
    version: str
    fps: float
    features: Mapping[str, Feature]
    robot: str
    chunk_size: int
    total: int | None
    templates: Mapping[str, str] = field(default_factory=dict)

    def path(self, key: str, **parts: Any) -> Path:
        """Return a file of the dataset.

        Args:
            key: `data_path` or `video_path`.
            parts: What stands in its braces.

        Raises:
            FormatError: There is no such template, or it names something else, or a file that is not in the folder.
        """
        place = f"{self.folder / 'meta' / 'info.json'}: {key}"
        template = self.templates.get(key)
        if template is None:
            raise FormatError(f"{place} is missing, a path such as {_USUAL[key]}")
        try:
            found = template.format(**parts)
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise FormatError(f"{place} is {template!r}; in its braces may stand {', '.join(parts)} ({error!r})") from error
        if not is_inside(found):
            raise FormatError(f"{place} is {template!r}, which leaves the folder of the dataset")
        return self.folder / found


_USUAL = {
    "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
}


def read_info(folder: Path, versions: tuple[str, ...]) -> Info:
    """Read `meta/info.json`.

    Raises:
        FormatError: It is missing or no JSON, of another version, or lacks a key; the message names the file and the key.
    """
    path = folder / "meta" / "info.json"
    try:
        info = parse_json(read_text(path))
    except (OSError, ValueError, FormatError) as error:
        raise FormatError(f"{folder} is no LeRobot dataset, meta/info.json cannot be read: {error}") from error
    if not isinstance(info, dict):
        raise FormatError(f"{folder} is no LeRobot dataset, meta/info.json holds no keys")
    version = info.get("codebase_version")
    if version not in versions:
        raise FormatError(
            f"{folder} is a LeRobot dataset of version {version}, this reads {' and '.join(versions)}; convert it "
            "with the scripts of lerobot"
        )
    features = _get(path, info, "features", dict, "the columns and cameras by name")
    fps = _get(path, info, "fps", (int, float), "the frames a second, a positive number")
    if not 0 < fps < 1e4:
        raise FormatError(f"{path}: fps must be the frames a second, a positive number; it is {fps}")
    chunk_size = info.get("chunks_size", 1000)
    if type(chunk_size) is not int or chunk_size < 1:
        raise FormatError(f"{path}: chunks_size must be the episodes a chunk, a positive number; it is {chunk_size!r}")
    total = info.get("total_episodes")
    templates = {key: _get(path, info, key, str, _USUAL[key]) for key in _USUAL if info.get(key) is not None}
    return Info(
        folder=folder,
        version=version,
        fps=fps,
        features={name: _feature(path, name, value) for name, value in features.items()},
        robot=str(info.get("robot_type") or ""),
        chunk_size=chunk_size,
        total=total if type(total) is int else None,
        templates=templates,
    )


def _feature(path: Path, name: str, value: Any) -> Feature:
    # What is not read may be as odd as it likes.
    read = name in (STATE, ACTION) or name.startswith("observation.image")
    key = f"features.{name}"
    if not isinstance(value, dict):
        if read:
            raise FormatError(f"{path}: {key} must say dtype and shape; it is {value!r}")
        return Feature(dtype="", shape=())
    dtype = _get(path, value, "dtype", str, "for example float32 or video", within=key) if read else str(value.get("dtype", ""))
    shape = value.get("shape")
    whole = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    if name in (STATE, ACTION) and not whole:
        raise FormatError(f"{path}: {key}.shape must be a list of sizes; it is {shape!r}")
    more = value.get("info")
    depth = bool(value.get("is_depth_map") or (isinstance(more, dict) and more.get("video.is_depth_map")))
    return Feature(dtype=dtype, shape=tuple(shape) if whole and shape else (), names=value.get("names"), depth=depth)


def _get(path: Path, values: Mapping[str, Any], key: str, type: type | tuple[type, ...], what: str, *, within: str = "") -> Any:
    full = f"{within}.{key}" if within else key
    if key not in values:
        raise FormatError(f"{path}: {full} is missing, {what}")
    found = values[key]
    if not isinstance(found, type) or isinstance(found, bool):
        raise FormatError(f"{path}: {full} must be {what}; it is {found!r}")
    return found
