from __future__ import annotations

import json
from pathlib import Path

import pytest

from soar.errors import SoarError
from soar.evaluation import Evaluation, Rate, Trial, read_evaluation, write_evaluation

from .examples import TASKS, evaluation


def test_rates_are_counted_over_all_and_by_task() -> None:
    trials = evaluation([1, 0, 1, 1, 0])
    assert trials.rate() == Rate(successes=3, trials=5)
    assert trials.by_task() == {TASKS[0]: Rate(successes=2, trials=3), TASKS[1]: Rate(successes=1, trials=2)}


def test_an_evaluation_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "evaluations" / "pretrained.json"
    write_evaluation(path, evaluation([1, 0, 1]))
    assert read_evaluation(path) == evaluation([1, 0, 1])


def test_a_resumed_evaluation_runs_exactly_what_is_missing() -> None:
    half = evaluation([1, 0])
    wanted = [("scene1", TASKS[seed % 2], seed) for seed in range(4)]
    missing = half.missing(wanted)
    assert missing == wanted[2:]
    rest = [Trial(scene=scene, task=task, seed=seed, success=True, steps=100) for scene, task, seed in missing]
    assert half.extended(rest) == evaluation([1, 0, 1, 1])
    assert half.extended(rest).missing(wanted) == []


def test_a_start_is_never_counted_twice() -> None:
    with pytest.raises(ValueError, match="more than once"):
        evaluation([1]).extended(evaluation([0]).trials)


def written(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "e.json"
    write_evaluation(path, evaluation([1]))
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def test_an_unknown_major_version_is_refused_and_a_minor_one_is_read(tmp_path: Path) -> None:
    assert read_evaluation(written(tmp_path, schema="2.7")) == evaluation([1])
    with pytest.raises(SoarError, match="schema 3 cannot be read, only 1 and 2"):
        read_evaluation(written(tmp_path, schema="3.0"))


def test_files_of_the_first_version_called_a_variant_an_arm(tmp_path: Path) -> None:
    path = written(tmp_path, schema="1.0")
    path.write_text(path.read_text().replace('"variant"', '"arm"'))
    assert read_evaluation(path) == evaluation([1])


@pytest.mark.parametrize("content", ["", "[]", '{"variant": 1}', "\x00"])
def test_what_is_not_an_evaluation_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "foreign.json"
    path.write_text(content)
    with pytest.raises(SoarError, match=r"foreign\.json"):
        read_evaluation(path)


def test_a_wrong_value_is_refused_by_key(tmp_path: Path) -> None:
    with pytest.raises(SoarError, match="trials"):
        read_evaluation(written(tmp_path, trials=[{"scene": "scene1"}]))


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SoarError, match="Run the command that writes it first"):
        read_evaluation(tmp_path / "none.json")


def test_an_empty_evaluation_is_written_and_read(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "e.json", Evaluation(variant="new", policy="p"))
    assert read_evaluation(tmp_path / "e.json").rate().trials == 0
