"""Commands that talk to a server that speaks the Hub's API, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from soar.cli import main
from soar.episodes import EpisodeStore
from soar.episodes.tags import set_tag
from tests.formats.datasets import assert_same, store_of_three

Soar = Callable[..., str]
SERVER = Path(__file__).parents[1] / "formats" / "hub_server.py"


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """Address of a Hub."""
    with subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.kill()


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return store_of_three(tmp_path / "store")


@pytest.fixture
def environment(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Who we are, and where the Hub is."""
    monkeypatch.setenv("HF_ENDPOINT", hub)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    # Only huggingface.co has the storage that hf_xet speaks to.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("soar.formats.hub._WAITS_S", (0.0,))
    return monkeypatch


@pytest.fixture
def soar(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Soar:
    """Run a command that must succeed, and return what it says."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        status = main(["data", *map(str, arguments)])
        said = capsys.readouterr()
        assert status == 0, said.err
        return said.out

    return run


@pytest.fixture
def fails(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Soar:
    """Run a command that must fail with one message, and return the message."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main(["data", *map(str, arguments)]) == 2
        (message,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
        return message

    return run


@pytest.mark.parametrize(("format", "frames_equal"), [("lerobot", False), ("rlds", True), ("store", True)])
def test_what_is_pushed_comes_back_by_a_pull(
    tmp_path: Path, soar: Soar, store: EpisodeStore, format: str, frames_equal: bool
) -> None:
    set_tag(store.uri, "whole", store.version)
    store.delete("run-b")
    flags = ["--format", format, "--codec", "h264"]
    assert "pushed: http" in soar("push", store.uri, f"me/{format}", *flags)
    out = soar("pull", f"me/{format}", "--out", tmp_path / "out", "--store", tmp_path / "back")
    assert "2 episodes" in out
    assert "2 episodes, 8 actions" in (tmp_path / "out" / "README.md").read_text()
    back = EpisodeStore(tmp_path / "back")
    for record in store.episodes():
        assert_same(back.read_encoded(record.id), store.read_encoded(record.id), frames_equal=frames_equal)
    if format == "store":
        pulled = EpisodeStore(tmp_path / "out")
        assert all(b"run-b" not in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()), (
            "what was deleted is not published"
        )
        assert pulled.count() == 2
    soar("push", f"{store.uri}@whole", f"me/whole-{format}", *flags)
    soar("pull", f"me/whole-{format}", "--out", tmp_path / "whole")
    assert "3 episodes, 15 actions" in (tmp_path / "whole" / "README.md").read_text()
    # A repeated pull changes nothing, and imports nothing twice.
    again = soar("pull", f"me/{format}", "--out", tmp_path / "out", "--store", tmp_path / "back")
    assert ("0 episodes copied" in again) or ("0 episodes imported, 2 were there already" in again)


def test_an_exported_folder_is_replaced_by_the_next_push_and_its_tag_moves(
    tmp_path: Path, soar: Soar, fails: Soar, store: EpisodeStore
) -> None:
    for name, where in (("two", "success is not null"), ("one", "success")):
        soar("export", "lerobot", store.uri, "--out", tmp_path / name, "--where", where, "--codec", "h264")
    (tmp_path / "two" / "notes.txt").write_text("only here")
    soar("push", tmp_path / "two", "me/again")
    soar("push", tmp_path / "one", "me/again")
    soar("pull", "me/again", "--out", tmp_path / "out", "--revision", "v3.0", "--store", tmp_path / "back")
    assert [record.id for record in EpisodeStore(tmp_path / "back").episodes()] == ["run-a"]
    assert not (tmp_path / "out" / "notes.txt").exists()
    assert "--where selects episodes of a store" in fails("push", tmp_path / "one", "me/again", "--where", "success")


def test_a_busy_hub_is_asked_again(tmp_path: Path, soar: Soar, store: EpisodeStore) -> None:
    soar("push", store.uri, "flaky/robot", "--format", "rlds")
    assert "3 episodes" in soar("pull", "flaky/robot", "--out", tmp_path / "out", "--store", tmp_path / "back")


def test_a_damaged_file_is_noticed_and_fetched_anew_once_it_is_whole(
    tmp_path: Path, hub: str, soar: Soar, fails: Soar, store: EpisodeStore
) -> None:
    soar("push", store.uri, "me/damaged", "--format", "rlds")
    for name in ("dataset_info.json", "soar/episodes.parquet"):
        damage = urllib.request.Request(f"{hub}/damage/me/damaged/{name}", method="POST")
        urllib.request.urlopen(damage).close()
        out = tmp_path / Path(name).stem
        assert f"{name} was damaged on the way or on the Hub, and is deleted here; pull again" in fails(
            "pull", "me/damaged", "--out", out
        )
        assert not (out / name).exists()
        urllib.request.urlopen(damage).close()
        soar("pull", "me/damaged", "--out", out)
        assert (out / name).exists()


@pytest.mark.parametrize(
    ("arguments", "token", "message"),
    [
        (("pull", "me/nothing", "--out", "OUT"), "hf_test", "does not exist, or you may not see it. Log in"),
        (("pull", "me/known", "--out", "OUT", "--revision", "v9"), "hf_test", "no such revision; name a branch, a tag"),
        (("pull", "a b c", "--out", "OUT"), "hf_test", "name OWNER/NAME"),
        (("push", "STORE", "nobody/robot", "--format", "rlds"), "hf_test", "may not do that. Log in with"),
        (("push", "STORE", "me/robot", "--format", "rlds"), "wrong", "may not do that. Log in with"),
        (("push", "OUT", "me/robot"), "hf_test", "holds neither a store"),
        (("push", "STORE", "me/robot", "--where", "scene = 'moon'"), "hf_test", "nothing to export"),
    ],
)
def test_what_cannot_be_done_is_one_clear_message(
    tmp_path: Path,
    environment: pytest.MonkeyPatch,
    soar: Soar,
    fails: Soar,
    store: EpisodeStore,
    arguments: tuple[str, ...],
    token: str,
    message: str,
) -> None:
    if "me/known" in arguments:
        soar("push", store.uri, "me/known", "--format", "rlds")
    environment.setenv("HF_TOKEN", token)
    paths = {"OUT": tmp_path / "out", "STORE": store.uri}
    assert message in fails(*(paths.get(argument, argument) for argument in arguments))


def test_a_hub_that_is_away_is_not_mistaken_for_an_old_download(
    tmp_path: Path, environment: pytest.MonkeyPatch, fails: Soar
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("from last week")
    environment.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    message = fails("pull", "me/robot", "--out", tmp_path / "out")
    assert "http://127.0.0.1:9" in message
    assert "run the same command again" in message
