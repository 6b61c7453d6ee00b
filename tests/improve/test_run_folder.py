from __future__ import annotations

from pathlib import Path

import pytest

from soar.errors import ConfigError, SoarError
from soar.improve.run_folder import RunFolder


def test_the_deployed_policy_of_a_round_is_the_last_one_promoted_before_it(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for round, promote in enumerate((True, False, True)):
        folder.journal.append("promotion", round=round, candidate=round + 1, promote=promote)
    assert [folder.deployed(before_round=round) for round in range(4)] == [0, 1, 1, 3]


def test_a_candidate_is_on_trial_until_it_is_judged(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert (folder.on_trial(), folder.in_use()) == (None, 0)
    folder.journal.append("on_trial", round=1, candidate=1)
    assert (folder.on_trial(), folder.in_use(), folder.deployed()) == (1, 1, 0)
    folder.journal.append("promotion", round=2, candidate=1, promote=False)
    folder.journal.append("on_trial", round=2, candidate=2)
    assert (folder.on_trial(), folder.in_use(), folder.deployed()) == (2, 2, 0)
    folder.journal.append("promotion", round=3, candidate=2, promote=True)
    assert (folder.on_trial(), folder.in_use(), folder.deployed(before_round=3)) == (None, 2, 0)


def test_current_points_at_one_policy_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for number in (0, 2):
        folder.policy(number).mkdir(parents=True)
        folder.point_at(number)
        assert (tmp_path / "policies" / "current").resolve() == folder.policy(number).resolve()


def test_what_may_change_changes_and_nothing_else_does(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.claim({"a": {"rounds": 1, "steps": [1, 2]}}, ("a.rounds",))
    folder.claim({"a": {"rounds": 2, "steps": [1, 2]}}, ("a.rounds",))
    before = (tmp_path / "config.yaml").read_text()
    with pytest.raises(ConfigError, match=r"a\.steps \(\[1, 2\] there, \[3\] now\).*name another folder"):
        folder.claim({"a": {"rounds": 2, "steps": [3]}}, ("a.rounds",))
    assert (tmp_path / "config.yaml").read_text() == before
    assert "rounds: 2" in before


def test_parts_of_an_interrupted_phase_add_up(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for seconds in (1.0, 2.5):
        folder.journal.append("phase", name="collect", seconds=seconds)
    with pytest.raises(KeyboardInterrupt), folder.timed("train"):
        raise KeyboardInterrupt
    assert folder.phases()["collect"] == 3.5
    assert "train" in folder.phases()


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SoarError, match=r"cannot write .*file/run/config\.yaml.*nothing that was there is changed"):
        RunFolder(tmp_path / "file" / "run").claim({}, ())
