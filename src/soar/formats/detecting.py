"""Which format a folder holds, for commands that take any."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from soar.episodes import tags
from soar.errors import FormatError
from soar.formats.lerobot import LeRobotConfig, open_lerobot
from soar.formats.raw import RawConfig, open_raw
from soar.formats.rlds import RLDSConfig, open_rlds
from soar.formats.steps import Dataset, Unsaid
from soar.formats.vector_maps import VectorConfig

Format = Literal["store", "lerobot", "rlds", "raw"]


def format_of(folder: Path) -> Format:
    """Return what a folder holds.

    Raises:
        FormatError: None of the formats.
    """
    text, tag = tags.split(str(folder))
    # A place in an object store (`s3://…`, of which a Path keeps one slash) can only be a store.
    if tag or ":/" in text or (folder / "episodes.lance").is_dir():
        return "store"
    if (folder / "meta" / "info.json").is_file():
        return "lerobot"
    if any(folder.glob("*.tfrecord*")) or any(folder.glob("*.array_record*")) or (folder / "features.json").is_file():
        return "rlds"
    if next(folder.rglob("actions.npy"), None) is not None:
        return "raw"
    raise FormatError(
        f"{folder} holds neither a store (episodes.lance), nor LeRobot (meta/info.json), RLDS (*.tfrecord*) or raw data "
        "(actions.npy); pass the folder that holds the dataset"
    )


def open_dataset(
    folder: Path,
    *,
    camera: str | None = None,
    other_cameras: bool = True,
    vectors: VectorConfig | None = None,
    unsaid: Unsaid | None = None,
) -> Dataset:
    """Find the episodes of a folder of any format but a store.

    Args:
        folder: Of the dataset.
        camera: Which is the main one; the format's own choice by default.
        other_cameras: Bring the others along.
        vectors: What the numbers of states and actions are, where that is not clear.
        unsaid: What the files do not say.

    Raises:
        FormatError: It is none of the formats, or the format's reader refuses it.
    """
    unsaid, vectors = unsaid or Unsaid(), vectors or VectorConfig()
    match format_of(folder):
        case "lerobot":
            lerobot = LeRobotConfig(camera=camera or "", other_cameras=other_cameras, vectors=vectors, unsaid=unsaid)
            return open_lerobot(folder, lerobot)
        case "rlds":
            rlds = RLDSConfig(camera=camera or "", other_cameras=other_cameras, vectors=vectors, unsaid=unsaid)
            return open_rlds(folder, rlds)
        case "raw":
            return open_raw(folder, RawConfig(vectors=vectors, unsaid=unsaid))
        case "store":
            raise FormatError(f"{folder} is a store already; copy its episodes with `soar data merge`")
