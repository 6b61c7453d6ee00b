"""Commands where the locale knows nothing but ASCII, which Python is kept from repairing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from soar.episodes import EpisodeStore
from tests.episodes.builders import make_episode
from tests.formats.datasets import write_raw

TEXT = "把胡萝卜放到盘子上 café"
ASCII_ONLY = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def soar(*arguments: object, **environment: str) -> str:
    command = [sys.executable, "-m", "soar.cli", *map(str, arguments)]
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONIOENCODING", "LANG")}
    done = subprocess.run(command, check=False, capture_output=True, env=env | ASCII_ONLY | environment)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8" if environment else "ascii")


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "数据", mode="create")
    store.append(make_episode("première", size=32, instruction=TEXT))
    return store


def test_texts_of_any_language_are_read_where_the_locale_has_none(tmp_path: Path) -> None:
    raw = tmp_path / "rohdaten_é" / "traj0"
    write_raw(raw, steps=4)
    (raw / "language_task.txt").write_text(TEXT, encoding="utf-8")
    soar("data", "import", "raw", raw.parent, "--store", tmp_path / "store", "--scene", "küche")
    (record,) = EpisodeStore(tmp_path / "store").episodes()
    assert (record.id, record.instruction, record.scene) == ("rohdaten_é/traj0", TEXT, "küche")


def test_what_the_terminal_cannot_show_is_escaped(store: EpisodeStore, tmp_path: Path) -> None:
    shown = soar("data", "stats", store.uri)
    assert TEXT.encode("ascii", "backslashreplace").decode() in shown
    assert TEXT in soar("data", "stats", store.uri, PYTHONIOENCODING="utf-8")
    assert json.loads(soar("data", "stats", store.uri, "--json"))["by_task"][TEXT]["attempts"] == 1
    assert "premi\\xe8re" in soar("data", "contact-sheet", store.uri, "--out", tmp_path / "bögen")
    assert (tmp_path / "bögen" / "première.png").stat().st_size > 0
    assert "premi\\xe8re: success" in soar(
        "data", "label", store.uri, "--name", "kim", "--episode", "première", "--verdict", "success"
    )
    assert store.episodes()[0].success


@pytest.mark.parametrize(("format", "flags"), [("lerobot", ["--codec", "h264"]), ("rlds", [])])
def test_an_export_is_utf8_where_the_locale_is_not(store: EpisodeStore, tmp_path: Path, format: str, flags: list[str]) -> None:
    soar("data", "export", format, store.uri, "--out", tmp_path / "out", *flags)
    (card,) = (tmp_path / "out").rglob("README.md")
    assert TEXT in card.read_text(encoding="utf-8")
    soar("data", "import", format, card.parent, "--store", tmp_path / "back")
    assert EpisodeStore(tmp_path / "back").episodes()[0].instruction == TEXT


def test_a_message_about_a_file_is_one_line_in_any_locale(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "soar.cli", "data", "stats", str(tmp_path / "nïchts")]
    done = subprocess.run(command, check=False, capture_output=True, env=os.environ | ASCII_ONLY)
    assert done.returncode == 2
    assert done.stderr.decode("ascii").startswith("error: no episode store at ")
    assert "n\\xefchts" in done.stderr.decode("ascii")
