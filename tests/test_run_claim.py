from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from soar.collect.models import Models
from soar.configuration import names
from soar.errors import ConfigError, SoarError
from soar.improve.config import ImproveConfig, claim_of, plain
from soar.improve.preset import load_preset
from soar.run_claim import RunClaim, who_works_in


def claim(folder: Path, command: str = "soar collect", changeable: tuple[str, ...] = ()) -> RunClaim:
    return RunClaim(folder=folder, command=command, changeable=changeable)


def test_what_may_change_changes_and_nothing_else_does(tmp_path: Path) -> None:
    mine = claim(tmp_path, changeable=("a.rounds",))
    for rounds in (1, 2):
        with mine.hold({"a": {"rounds": rounds, "steps": [1, 2]}}):
            pass
    before = (tmp_path / "config.yaml").read_text()
    words = r"a\.steps \(\[1, 2\] there, \[3\] now\).*name another folder.*Only a\.rounds may change"
    for use in (mine.check, lambda config: mine.hold(config).__enter__()):
        with pytest.raises(ConfigError, match=words):
            use({"a": {"rounds": 2, "steps": [3]}})
    assert (tmp_path / "config.yaml").read_text() == before
    assert "rounds: 2" in before
    assert "command: soar collect" in before


def test_what_was_written_before_a_value_existed_counts_as_its_default(tmp_path: Path) -> None:
    with claim(tmp_path).hold({"a": {"steps": 3}}):
        pass
    later = RunClaim(folder=tmp_path, command="soar collect", defaults={"a": {"new": 0, "of something else": 1}})
    later.check({"a": {"steps": 3, "new": 0}})
    with pytest.raises(ConfigError, match=r"a\.new \(0 there, 5 now\)"):
        later.check({"a": {"steps": 3, "new": 5}})
    with pytest.raises(ConfigError, match=r"a\.new \(None there, 0 now\)"):
        claim(tmp_path).check({"a": {"steps": 3, "new": 0}})


@pytest.mark.parametrize("preset", names("presets"))
def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path, preset: str) -> None:
    models = Models(policy="p", subgoals="s", vlm="v")
    config = ImproveConfig(run=tmp_path, workcell="sim:scene1", models=models, preset=load_preset(preset))
    with claim_of(config).hold(plain(config)):
        pass
    file = tmp_path / "config.yaml"
    written = yaml.safe_load(file.read_text())
    del written["preset"]["improvement"]["collection"]["proposal"]["in_a_row"]
    file.write_text(yaml.safe_dump(written))
    claim_of(config).check(plain(config))
    changed = load_preset(preset, ["improvement.collection.proposal.in_a_row=5"])
    with pytest.raises(ConfigError, match=r"proposal\.in_a_row \(0 there, 5 now\)"):
        claim_of(config).check(plain(dataclasses.replace(config, preset=changed)))


def test_another_commands_run_is_refused(tmp_path: Path) -> None:
    with claim(tmp_path, "soar improve").hold({}):
        pass
    with pytest.raises(ConfigError, match="holds a run of `soar improve`, and this is `soar collect`"):
        claim(tmp_path).check({})


def test_looking_makes_nothing(tmp_path: Path) -> None:
    claim(tmp_path / "a" / "run").check({"seed": 1})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(SoarError, match=r"cannot write .*file.*Not a directory.*--run"):
            claim(folder).check()
        with pytest.raises(SoarError, match=r"cannot write .*file.*--run"), claim(folder).hold({}):
            pass


HOLDER = """
import sys
from pathlib import Path
from soar.run_claim import RunClaim
with RunClaim(folder=Path(sys.argv[1]), command="soar collect").hold({"seed": 1}):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_command_is_told_who_works_there_until_that_one_is_dead(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        who = rf"is in use by process {holder.pid} on {socket.gethostname()} \(-c {tmp_path}\)"
        with pytest.raises(ConfigError, match=who):
            claim(tmp_path).check()
        with pytest.raises(ConfigError, match=who), claim(tmp_path).hold({"seed": 1}):
            pass
        assert who_works_in(tmp_path) == f"process {holder.pid} on {socket.gethostname()} (-c {tmp_path})"
        holder.kill()
    assert who_works_in(tmp_path) == ""
    assert who_works_in(tmp_path / "nowhere") == ""
    with claim(tmp_path).hold({"seed": 1}):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()
