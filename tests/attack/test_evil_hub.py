"""A Hub that lists files outside the folder, or escape codes: nothing outside is touched, nothing reaches a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from soar.errors import HubError
from soar.formats.hub import pull

SERVER = Path(__file__).parents[1] / "formats" / "hub_server.py"
constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.kill()


@pytest.mark.parametrize(
    "name",
    [
        "../victim",
        "data/../../victim",
        "ABSOLUTE",
        "..\\victim",
        "data\\..\\..\\victim",
        "\x1b]0;owned\x07",
        "a\nb",
        "a\0b",
        "",
        ".",
    ],
)
def test_a_file_outside_the_folder_is_neither_written_nor_deleted(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    listed = ["README.md", str(victim) if name == "ABSOLUTE" else name]
    _lie(hub, monkeypatch, files=listed)
    with pytest.raises(HubError) as caught:
        pull("evil/data", tmp_path / "out")
    assert "lists a file" in str(caught.value)
    assert str(caught.value).isprintable(), "no escape code of a server's reaches a terminal"
    assert victim.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["victim"], "refused before anything is downloaded"


def test_a_commit_that_is_none_is_refused(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _lie(hub, monkeypatch, files=["README.md"], sha="\x1b[2J../main")
    with pytest.raises(HubError) as caught:
        pull("evil/data", tmp_path / "out")
    assert str(caught.value).isprintable()


def _lie(hub: str, monkeypatch: pytest.MonkeyPatch, **lies: object) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    request = urllib.request.Request(f"{hub}/lie/evil/data", method="POST", data=json.dumps(lies).encode())
    urllib.request.urlopen(request).close()
