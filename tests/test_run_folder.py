from __future__ import annotations

from pathlib import Path

import pytest

from soar.run_folder import RunFolder


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


def test_a_person_who_goes_back_ends_a_trial_and_one_whose_wish_cannot_be_met_does_not(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.journal.append("on_trial", round=1, candidate=1)
    folder.journal.append("promotion", round=2, candidate=7, deployed=1, promote=False, by="ada")
    assert (folder.on_trial(), folder.in_use()) == (1, 1)
    folder.journal.append("promotion", round=2, candidate=0, deployed=1, promote=True, by="ada")
    assert (folder.on_trial(), folder.in_use()) == (None, 0)
    folder.journal.append("promotion", round=2, candidate=1, deployed=0, promote=True, by="ada")
    assert (folder.on_trial(), folder.in_use(), folder.deployed()) == (None, 1, 1)


def test_current_points_at_one_policy_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for number in (0, 2):
        folder.policy(number).mkdir(parents=True)
        folder.point_at(number)
        assert (tmp_path / "policies" / "current").resolve() == folder.policy(number).resolve()


def test_parts_of_an_interrupted_phase_add_up(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for seconds in (1.0, 2.5):
        folder.journal.append("phase", name="collect", seconds=seconds)
    with pytest.raises(KeyboardInterrupt), folder.timed("train"):
        raise KeyboardInterrupt
    assert folder.phases()["collect"] == 3.5
    assert "train" in folder.phases()
