"""What the flags of several commands share."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import tyro

from soar.cli.flags import invocation
from soar.cli.improve import Improve
from soar.cli.reproduce import Reproduce
from soar.cli.run import settings_gathered
from soar.errors import ConfigError


def test_a_command_line_leaves_out_defaults_and_what_does_not_decide_the_result() -> None:
    options = Improve(scene="scene4", rounds=3, preset="my presets/flow.yaml", workers=8, results=Path("out.json"))
    line = invocation("soar improve", options, "scene", "rounds", "episodes", "preset", "seed")
    assert line == "soar improve --scene scene4 --rounds 3 --preset 'my presets/flow.yaml'"
    assert invocation("soar improve", Improve(), "scene", "seed") == "soar improve"


def test_a_command_line_gives_the_same_options_when_it_is_read_again() -> None:
    options = Reproduce(
        experiment="figure5",
        scenes=("scene1", "scene2"),
        variants=("long control",),
        budget=0.25,
        seeds=3,
        run_folder=Path("a b"),
    )
    line = invocation("soar reproduce figure5", options, "scenes", "variants", "budget", "seeds", "run_folder", "policy")
    assert tyro.cli(Reproduce, args=shlex.split(line)[2:]) == options


def test_any_value_of_a_preset_is_a_flag() -> None:
    words = [
        "--improvement.collection.exploration.sigma",
        "0.5",
        "--run",
        "x",
        "--set",
        "workers=3",
        "--improvement.policy.fit.batch-size=8",
    ]
    gathered = settings_gathered(words)
    assert gathered[:2] == ["--run", "x"]
    assert gathered[2:] == [
        "--set",
        "improvement.collection.exploration.sigma=0.5",
        "workers=3",
        "improvement.policy.fit.batch_size=8",
    ]
    assert tyro.cli(Improve, args=["--scene", "scene1", *gathered[2:]]).set == tuple(gathered[3:])
    options = Improve(set=("improvement.trials=3", "improvement.policy.autonomous.goal_window=[0, 9]"))
    line = invocation("soar improve", options, "seed", "set")
    assert tyro.cli(Improve, args=settings_gathered(shlex.split(line)[2:])) == options
    with pytest.raises(ConfigError, match="needs a value"):
        settings_gathered(["--improvement.trials"])
