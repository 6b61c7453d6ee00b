from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lance
import pytest

from soar.cli import main
from soar.episodes import EpisodeStore
from tests.episodes.builders import judged, make_episode


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "store", mode="create")
    store.append([make_episode(id, size=32, labels=(judged(id == "a"),)) for id in "abc"])
    return store


@pytest.mark.parametrize(("format", "flags"), [("rlds", []), ("lerobot", ["--codec", "h264"])])
def test_export_then_import_with_commands(
    tmp_path: Path, store: EpisodeStore, capsys: pytest.CaptureFixture[str], format: str, flags: list[str]
) -> None:
    assert main(["data", "export", format, store.uri, "--out", str(tmp_path / "out"), "--where", "not success", *flags]) == 0
    back = ["data", "import", format, str(tmp_path / "out"), "--store", str(tmp_path / "back")]
    assert main(back) == 0
    assert "2 episodes imported, 0 were there already, 0 skipped" in capsys.readouterr().out
    assert main(back) == 0
    assert "0 episodes imported, 2 were there already" in capsys.readouterr().out
    assert [record.id for record in EpisodeStore(tmp_path / "back").episodes()] == ["b", "c"]


def test_bad_records_end_an_import_or_are_listed(
    tmp_path: Path, store: EpisodeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["data", "export", "rlds", store.uri, "--out", str(tmp_path / "out")])
    (shard,) = (tmp_path / "out").rglob("*-success.tfrecord*")
    shard.write_bytes(shard.read_bytes()[:-1])
    command = ["data", "import", "rlds", str(tmp_path / "out"), "--store", str(tmp_path / "back")]
    capsys.readouterr()
    assert main(command) == 2
    assert "--skip-bad" in capsys.readouterr().err
    assert main([*command, "--skip-bad"]) == 0
    out = capsys.readouterr().out
    assert f"skipped: {shard} at offset 0" in out
    assert "0 episodes imported, 2 were there already, 1 skipped" in out


def test_who_labels_without_a_terminal_learns_how(store: EpisodeStore) -> None:
    command = [sys.executable, "-m", "soar.cli", "data", "label", store.uri, "--name", "kim"]
    # A new session has no terminal.
    said = subprocess.run(command, check=False, capture_output=True, text=True, start_new_session=True)
    assert said.returncode == 2
    assert "no terminal" in said.stderr
    assert "--verdict success" in said.stderr


def test_curation_with_commands(
    tmp_path: Path, store: EpisodeStore, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    flags = ["--episode", "a", "--verdict", "failure", "--name", "kim"]
    assert main(["data", "label", store.uri, *flags]) == 0
    assert [label.source for label in store.episodes("id = 'a'")[0].labels] == ["vqa-1", "person:kim"]
    assert store.count("success") == 0
    capsys.readouterr()
    assert "needs --episode" in fails("data", "label", store.uri, "--verdict", "success", "--name", "kim")
    assert "must not be empty" in fails("data", "label", store.uri, *flags[:4], "--name", " ")
    assert "no episode 'z'" in fails("data", "label", store.uri, "--episode", "z", "--name", "kim")
    assert main(["data", "delete", store.uri, "--episodes", "a", "b"]) == 0
    assert main(["data", "merge", store.uri, "--into", str(tmp_path / "m")]) == 0
    assert EpisodeStore(tmp_path / "m").count() == 1
    assert main(["data", "compact", store.uri]) == 0
    capsys.readouterr()
    assert "two episodes at least" in fails("data", "split", store.uri, "--first", tmp_path / "x", "--second", tmp_path / "y")


def test_scores_are_made_exported_and_named_with_commands(
    tmp_path: Path, store: EpisodeStore, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    store.append(make_episode("d", size=32))
    assert "has a score by 'mine'; there are some by nobody" in fails(
        "data", "export", "lerobot", store.uri, "--out", tmp_path / "none", "--scores", "mine"
    )
    assert main(["data", "score", store.uri, "--name", "mine"]) == 0
    said = capsys.readouterr().out
    assert "3 episodes scored by mine: 0 by a person's verdict, 0 by a judge's probability, 3 by its bare verdict" in said
    assert "1 left out: no verdict" in said
    for format, flags in (("lerobot", ["--codec", "h264"]), ("rlds", [])):
        out = str(tmp_path / format)
        assert main(["data", "export", format, store.uri, "--out", out, "--scores", "mine", *flags]) == 0
    assert (tmp_path / "lerobot" / "soar" / "weights.parquet").exists()
    assert main(["data", "label", store.uri, "--episode", "a", "--verdict", "failure", "--name", "kim"]) == 0
    capsys.readouterr()
    assert "never overwritten: choose another --name" in fails("data", "score", store.uri, "--name", "mine")


def test_a_named_state_is_listed_exported_and_not_written(
    tmp_path: Path, store: EpisodeStore, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    assert main(["data", "tag", store.uri, "--name", "paper"]) == 0
    store.delete("a")
    assert main(["data", "tag", store.uri]) == 0
    assert f"{store.uri}@paper: 3 episodes" in capsys.readouterr().out
    assert main(["data", "export", "rlds", f"{store.uri}@paper", "--out", str(tmp_path / "out")]) == 0
    assert main(["data", "merge", f"{store.uri}@paper", "--into", str(tmp_path / "copy")]) == 0
    assert EpisodeStore(tmp_path / "copy").count() == 3
    capsys.readouterr()
    assert "read-only" in fails("data", "delete", f"{store.uri}@paper", "--episodes", "b")
    assert "leave out @paper" in fails("data", "import", "rlds", tmp_path / "out", "--store", f"{store.uri}@paper")
    assert store.count() == 2


def test_the_doctor_asks_before_it_repairs(store: EpisodeStore, capsys: pytest.CaptureFixture[str]) -> None:
    lance.dataset(f"{store.uri}/steps.lance").delete("episode = 'b' and step = 1")
    assert main(["data", "doctor", store.uri]) == 2
    captured = capsys.readouterr()
    assert "broken episode: b" in captured.out
    assert "repair them with --fix" in captured.err
    assert store.count() == 3
    assert main(["data", "doctor", store.uri, "--fix", "--frames"]) == 0
    assert "is sound, 1 things were repaired" in capsys.readouterr().out
    assert [record.id for record in store.episodes()] == ["a", "c"]
