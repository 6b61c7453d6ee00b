from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soar.collect.early_success import EarlySuccessConfig
from soar.collect.reflex import ReflexConfig
from soar.collect.rollout import RolloutConfig
from soar.episodes import EpisodeStore
from soar.errors import ConfigError, RobotFault, SoarError, UnknownNameError
from soar.evaluation import Evaluation, Trial, read_evaluation, write_evaluation
from soar.evaluation.runner import evaluate, read_films, trial_seed
from soar.evaluation.trial_running import run_chunk
from soar.policies.loading import load_policy
from soar.robots.workcell import open_workcell
from soar.run_claim import only_here
from soar.run_orders import Orders
from tests.improve.tiny import SCENE, TASK, random_policy, write
from tests.robots.test_workcell import cell


class Reports(list[dict[str, Any]]):
    """A reporter that remembers."""

    stopping = False

    def __call__(self, **fields: Any) -> None:
        self.append(fields)


def item(tmp_path: Path, policy: Path, trials: list[Any], **changes: Any) -> dict[str, Any]:
    fields = {"policy": str(policy), "subgoals": "oracle", "workcell": f"sim:{write(tmp_path, 'one.yaml', SCENE)}"}
    config = {**fields, "image_size": 64, "variant": "a", "films": str(tmp_path / "films"), **changes}
    return {"config": config, "trials": trials}


def test_a_trial_is_a_function_of_policy_and_seed_whatever_was_run_before(tmp_path: Path) -> None:
    policy = random_policy(tmp_path / "policy")
    for folder, trials in (("alone", [[TASK, 7, True]]), ("after", [[TASK, 8, False], [TASK, 7, True]])):
        reports = Reports()
        run_chunk(item(tmp_path, policy, trials, films=str(tmp_path / folder)), reports)  # type: ignore[arg-type]
        assert [report["seed"] for report in reports] == [seed for _, seed, _ in trials]
        assert {report["steps"] for report in reports} == {100}
    alone, after = (EpisodeStore(tmp_path / name) for name in ("alone", "after"))
    first, second = (store.read(store.episodes()[0].id) for store in (alone, after))
    assert np.array_equal(first.actions_TD, second.actions_TD)
    assert np.array_equal(first.images_THWC, second.images_THWC)
    assert len(first.subgoals) == 5


def test_scaling_makes_the_same_policy_faster(tmp_path: Path) -> None:
    policy = random_policy(tmp_path / "policy")
    for scale in (1.0, 2.0):
        films = str(tmp_path / f"scale{scale:g}")
        run_chunk(item(tmp_path, policy, [[TASK, 7, True]], action_scale=scale, films=films), Reports())  # type: ignore[arg-type]
    slow, fast = (
        EpisodeStore(tmp_path / f"scale{scale}").read(f"one-{TASK.replace(' ', '-')}-7").actions_TD for scale in (1, 2)
    )
    assert np.allclose(fast[0, :6], 2 * slow[0, :6], atol=1e-6)


def test_the_start_of_a_trial_is_feasible_and_the_same_for_all_policies(tmp_path: Path) -> None:
    starts = []
    with open_workcell(f"sim:{write(tmp_path, 'one.yaml', SCENE)}", image_size=64) as workcell:
        reset_for, truth = workcell.reset_for, workcell.truth
        assert reset_for is not None
        assert truth is not None
        for _ in range(2):
            reset_for(TASK, trial_seed("one", TASK, 3))
            assert truth(TASK) is False
            starts.append(workcell.robot.observe().image_HWC)
    assert np.array_equal(*starts)
    assert trial_seed("one", TASK, 3) not in {trial_seed("one", TASK, 4), trial_seed("two", TASK, 3), trial_seed("one", "t", 3)}


def test_a_file_that_another_command_writes_is_refused_and_its_neighbour_is_not(tmp_path: Path) -> None:
    policy, scene = random_policy(tmp_path / "policy"), write(tmp_path, "one.yaml", SCENE)
    what = {"workcell": f"sim:{scene}", "subgoals": "oracle", "trials": 1, "variant": "v", "rollout": RolloutConfig(subgoals=1)}
    with only_here(tmp_path, file="one.json"):
        with pytest.raises(ConfigError, match=r"one\.json is in use by process .* another one with --out"):
            evaluate(str(policy), out=tmp_path / "one.json", **what)  # type: ignore[arg-type]
        assert len(evaluate(str(policy), out=tmp_path / "two.json", **what).trials) == 1  # type: ignore[arg-type]
    assert not (tmp_path / "one.json").exists()


def test_only_missing_trials_are_run_and_the_first_ones_are_kept_as_films(tmp_path: Path) -> None:
    policy, scene = random_policy(tmp_path / "policy"), write(tmp_path, "one.yaml", SCENE)
    out = tmp_path / "evaluations" / "variant.json"
    # A failed trial that is written down as a success tells whether it was run again.
    done = Trial(scene="one", task=TASK, seed=trial_seed("one", TASK, 0), success=True, steps=1)
    write_evaluation(
        out, Evaluation(variant="variant", policy=load_policy(str(policy)).id, subgoal_model="oracle", trials=(done,))
    )
    progress: list[tuple[int, int, float]] = []
    evaluation = evaluate(
        policy,
        workcell=f"sim:{scene}",
        subgoals="oracle",
        trials=2,
        out=out,
        variant="variant",
        on_trial=lambda *fields: progress.append(fields),
    )
    assert [fields[:2] for fields in progress] == [(1, 2), (2, 2)]
    assert done in evaluation.trials
    assert {trial.seed for trial in evaluation.trials} == {trial_seed("one", TASK, i) for i in range(2)}
    assert read_evaluation(out) == evaluation
    (film,) = read_films(out)
    assert film.provenance.seed == trial_seed("one", TASK, 1)
    assert film.labels[0].source == "simulator"


def test_a_file_of_another_policy_is_not_overwritten(tmp_path: Path) -> None:
    scene, out = write(tmp_path, "one.yaml", SCENE), tmp_path / "variant.json"
    write_evaluation(out, Evaluation(variant="variant", policy="another", subgoal_model="oracle"))
    before = out.read_bytes()
    with pytest.raises(ConfigError, match=r"evaluation of another \(variant\).*Write to another file"):
        evaluate(
            random_policy(tmp_path / "p"), workcell=f"sim:{scene}", subgoals="oracle", trials=1, out=out, variant="variant"
        )
    assert out.read_bytes() == before


def test_an_unknown_task_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    scene, out = write(tmp_path, "one.yaml", SCENE), tmp_path / "variant.json"
    with pytest.raises(UnknownNameError, match=f"did you mean '{TASK}'"):
        evaluate(
            random_policy(tmp_path / "p"),
            workcell=f"sim:{scene}",
            subgoals="oracle",
            trials=1,
            out=out,
            variant="variant",
            tasks=(TASK.replace("green", "grean"),),
        )
    assert not out.exists()


def test_reflexes_and_looks_are_counted_kept_in_films_and_part_of_what_an_evaluation_is(tmp_path: Path) -> None:
    policy, scene, out = random_policy(tmp_path / "policy"), write(tmp_path, "one.yaml", SCENE), tmp_path / "variant.json"
    # A fresh network moves at its data's mean speed, which is nothing: 5 cm in ten steps is more than it does.
    rollout = RolloutConfig(
        subgoals=2, reflex=ReflexConfig(times=1, still_m=0.05, still_steps=5), early_success=EarlySuccessConfig(every=10)
    )
    arguments: dict[str, Any] = {
        "workcell": f"sim:{scene}",
        "subgoals": "oracle",
        "trials": 1,
        "variant": "variant",
        "vlm": "oracle",
    }
    evaluation = evaluate(policy, out=out, rollout=rollout, first_trial=5, **arguments)
    (trial,) = evaluation.trials
    assert trial.seed == trial_seed("one", TASK, 5)
    assert trial.reflexes == 1
    assert trial.ended_early or (trial.steps, trial.looks) == (40, 4)  # at 0, 20, 30 and 40
    (film,) = read_films(out)
    assert film.reflex_steps
    assert read_evaluation(out) == evaluation
    with pytest.raises(ConfigError, match=r"looks of oracle.*those of nobody.*Write to another file"):
        evaluate(policy, out=out, first_trial=5, **arguments)


def test_looks_need_somebody_who_looks(tmp_path: Path) -> None:
    rollout = RolloutConfig(early_success=EarlySuccessConfig(every=5))
    with pytest.raises(ConfigError, match="name the VLM"):
        evaluate(
            random_policy(tmp_path / "p"),
            workcell=f"sim:{write(tmp_path, 'one.yaml', SCENE)}",
            subgoals="oracle",
            trials=1,
            out=tmp_path / "variant.json",
            variant="variant",
            rollout=rollout,
        )


def test_a_person_who_stops_the_run_ends_its_evaluation_between_two_trials_and_it_goes_on_later(tmp_path: Path) -> None:
    policy, run = random_policy(tmp_path / "policy"), tmp_path / "run"
    short = RolloutConfig(subgoals=1, steps_per_subgoal=2)

    def evaluated(on_trial: Any = None) -> Evaluation:
        places = {"workcell": f"sim:{write(tmp_path, 'one.yaml', SCENE)}", "subgoals": "oracle", "out": run / "it.json"}
        return evaluate(policy, **places, trials=2, variant="a", rollout=short, run=run, on_trial=on_trial)

    with pytest.raises(SoarError, match="stopped by ada: 1 of the 2 trials are there and kept"):
        evaluated(lambda done, total, rate: Orders(run).give("stop", "ada"))
    assert len(read_evaluation(run / "it.json").trials) == 1
    Orders(run).begin()
    assert len(evaluated().trials) == 2


def on_a_real_table(tmp_path: Path, reboots: int | None) -> Evaluation:
    return evaluate(
        "tests.evaluation.contenders:ambrosia",
        workcell=cell(tmp_path, "stumbling", robot=f", options: {{reboots: {'null' if reboots is None else reboots}}}"),
        subgoals="",
        trials=2,
        out=tmp_path / "evaluation.json",
        variant="a",
        judge="vlm",
        vlm="soar.testing:FakeVLM",
    )


def test_a_recovery_that_fails_is_tried_again_and_no_trial_is_lost(tmp_path: Path) -> None:
    trials = on_a_real_table(tmp_path, 4).trials
    assert [trial.steps for trial in trials] == [100, 100]
    assert sorted(trial.note for trial in trials) == ["", "repeated 1 x: the robot failed"]


def test_a_robot_that_no_recovery_helps_stops_an_evaluation_and_what_was_tried_is_kept(tmp_path: Path) -> None:
    for reboots, said in ((11, "reboot 9 did not help"), (None, "injected motor fault")):
        (tmp_path / str(reboots)).mkdir()
        with pytest.raises(RobotFault, match=said):
            on_a_real_table(tmp_path / str(reboots), reboots)
        assert len(read_evaluation(tmp_path / str(reboots) / "evaluation.json").trials) == 1
