"""Incomplete `meta/info.json`, and image cells: one line that names file and key."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from soar.cli import main
from soar.errors import FormatError
from soar.files import is_inside
from soar.formats.lerobot import LeRobotConfig, open_lerobot

from .lerobot_folders import CAMERA, imported, picture, shown, write_lerobot

STATE = "features.observation.state"


def put(key: str, value: Any = None, *, within: str = "") -> Callable[[dict[str, Any]], None]:
    """Return what sets a key, or removes it where there is no value."""

    def change(info: dict[str, Any]) -> None:
        for part in filter(None, within.split("/")):
            info = info[part]
        info.pop(key, None)
        if value is not None:
            info[key] = value

    return change


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("fps"), "fps is missing, the frames a second"),
        (put("fps", 0), "fps must be the frames a second, a positive number; it is 0"),
        (put("fps", -5), "it is -5"),
        (put("fps", "10"), "it is '10'"),
        (put("fps", True), "it is True"),
        (put("fps", [10]), r"it is \[10\]"),
        (put("fps", float("nan")), "it is nan"),
        (put("features"), "features is missing"),
        (put("features", []), r"features must be the columns and cameras by name; it is \[\]"),
        (put("observation.state", within="features"), f"{STATE} is missing; the features are action"),
        (put("observation.state", "float32", within="features"), f"{STATE} must say dtype and shape; it is 'float32'"),
        (put("dtype", within="features/action"), "features.action.dtype is missing"),
        (put("dtype", 7, within="features/action"), "features.action.dtype must be for example float32 or video; it is 7"),
        (put("dtype", within=f"features/{CAMERA}"), f"features.{CAMERA}.dtype is missing"),
        (put("shape", within="features/action"), "features.action.shape must be a list of sizes; it is None"),
        (put("shape", ["seven"], within="features/action"), r"shape must be a list of sizes; it is \['seven'\]"),
        (put("dtype", "string", within="features/action"), "features.action is no vector of numbers"),
        (put("video_path"), "video_path is missing, a path such as videos/"),
        (put("data_path"), "data_path is missing, a path such as data/"),
        (put("data_path", 5), "data_path must be data/.*; it is 5"),
        (put("data_path", "data/{episode_id}.parquet"), "data_path is 'data/{episode_id}.parquet'; in its braces may stand"),
        (put("data_path", "data/{}.parquet"), "in its braces may stand"),
        (put("data_path", "data/{chunk_index:x03d"), "in its braces may stand"),
        (put("video_path", "{video_key.shape}"), "in its braces may stand"),
        (put("data_path", "../other/{episode_index}.parquet"), "leaves the folder of the dataset"),
        (put("video_path", "/etc/{video_key}"), "leaves the folder of the dataset"),
        (put("chunks_size", 0), "chunks_size must be the episodes a chunk, a positive number; it is 0"),
        (put("codebase_version"), "of version None, this reads v3.0 and v2.1"),
    ],
)  # fmt: skip
def test_an_incomplete_info_is_one_line_with_file_and_key(
    tmp_path: Path, version: str, change: Callable[[dict[str, Any]], None], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_lerobot(tmp_path / "d", [range(4)], version=version, info=change)  # type: ignore[list-item]
    with pytest.raises(FormatError, match=words) as refused:
        imported(folder, tmp_path / "s")
    assert "info.json" in str(refused.value) or "of version" in words
    status = main(["data", "import", "lerobot", str(folder), "--store", str(tmp_path / "t"), "--skip-bad"])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert status == 2 or "skipped: " in said.out


@pytest.mark.parametrize("text", ["[]", "null", "", "{", "7"])
def test_an_info_that_holds_no_keys_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_lerobot(tmp_path / "d", [range(4)])  # type: ignore[list-item]
    (folder / "meta/info.json").write_text(text)
    with pytest.raises(FormatError, match=r"no LeRobot dataset, meta/info.json"):
        open_lerobot(folder, LeRobotConfig())


def test_what_is_not_read_may_be_odd(tmp_path: Path) -> None:
    def change(info: dict[str, Any]) -> None:
        info["features"] |= {"notes": "text", "next.reward": {"shape": "one"}}
        info |= {"total_episodes": "many", "robot_type": None, "splits": 3}

    (read,) = imported(write_lerobot(tmp_path / "d", [range(4)], info=change), tmp_path / "s")  # type: ignore[list-item]
    assert shown(read) == [0, 1, 2, 3]


def png(number: int) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture(number)).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize(
    "cell",
    [
        lambda number: {"bytes": png(number), "path": f"frame_{number}.png"},
        lambda number: {"bytes": None, "path": f"pictures/{number}.png"},
        lambda number: {"bytes": None, "path": f"./pictures/{number}.png"},
        lambda number: {"bytes": b"", "path": f"frame_{number}.png"},
        lambda number: f"pictures/{number}.png",
        png,
    ],
    ids=["bytes", "path", "dotted-path", "name-alone", "text", "plain-bytes"],
)
def test_image_cells_hold_bytes_or_a_path(tmp_path: Path, cell: Callable[[int], Any]) -> None:
    folder = write_lerobot(tmp_path / "d", [range(4)], cells=cell)  # type: ignore[list-item]
    for number in range(4):
        for path in (f"pictures/{number}.png", f"images/{CAMERA}/episode_000000/frame_{number}.png"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(png(number))
    (read,) = imported(folder, tmp_path / "s")
    assert shown(read) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (lambda _: None, "of step 0 is missing, it has neither bytes nor a path"),
        (lambda _: {"bytes": None, "path": None}, "of step 0 is missing"),
        (lambda number: {"bytes": png(number) if number < 2 else None, "path": None}, "of step 2 is missing"),
        (lambda _: {"bytes": None, "path": "gone.png"}, "is said to be gone.png, which is neither in"),
        (lambda _: {"bytes": None, "path": "../secret.png"}, r"is said to be ../secret.png, which is not in the folder"),
        (
            lambda _: {"bytes": None, "path": "a/../../secret.png"},
            "is said to be a/../../secret.png, which is not in the folder",
        ),
        (lambda _: {"bytes": None, "path": "/etc/hostname"}, "is said to be /etc/hostname, which is not in the folder"),
        (lambda _: {"bytes": None, "path": "link.png"}, "is link.png, a link that leaves the folder"),
    ],
)
def test_an_image_cell_that_holds_none_or_leads_elsewhere_is_refused(
    tmp_path: Path, cell: Callable[[int], Any], words: str
) -> None:
    (tmp_path / "secret.png").write_bytes(png(0))
    folder = write_lerobot(tmp_path / "d", [range(4)], cells=cell)  # type: ignore[list-item]
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(FormatError, match=f"d episode 0: the image {CAMERA} (of step 0 )?{words}"):
        imported(folder, tmp_path / "s")
    assert imported(folder, tmp_path / "t", skip_bad=True) == []


def test_an_absolute_path_into_the_dataset_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    write_lerobot(folder, [range(4)], cells=lambda number: {"bytes": None, "path": str(folder / f"{number}.png")})  # type: ignore[list-item]
    for number in range(4):
        (folder / f"{number}.png").write_bytes(png(number))
    (read,) = imported(folder, tmp_path / "s")
    assert shown(read) == [0, 1, 2, 3]


@pytest.mark.parametrize("path", ["in/b.png", "in/./a", "in/a..b/c", "..", "a/../b", "/a", "..\\a", "a\0b"])
def test_a_path_is_inside_by_its_words(path: str) -> None:
    assert is_inside(path) == path.startswith("in/")
