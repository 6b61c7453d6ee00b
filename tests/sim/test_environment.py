from __future__ import annotations

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from soar.errors import ConfigError, UnknownNameError
from soar.robots.gymnasium import GymRobot
from soar.sim.environment import TabletopEnv
from soar.sim.scripted.expert import ScriptedExpert
from soar.sim.scripted.style import Style
from soar.testing import check_robot


def test_gymnasiums_own_checker_passes_without_a_warning() -> None:
    env = gymnasium.make("soar/Tabletop-v0", image_size=24, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


def test_importing_the_room_registers_the_environment_and_imports_no_physics() -> None:
    script = (
        "import sys, gymnasium, soar.sim; gymnasium.spec('soar/Tabletop-v0'); "
        "sys.exit(bool({'mujoco', 'OpenGL', 'cv2'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_it_is_a_robot() -> None:
    env = gymnasium.make("soar/Tabletop-v0", image_size=24, disable_env_checker=True)
    check_robot(GymRobot(env))


def test_going_home_leaves_the_objects_and_a_whole_reset_does_not() -> None:
    env = TabletopEnv(image_size=24)
    env.reset(seed=1)
    block = env.world.object_position("green block")
    observation = env.step(np.array([0.03, 0, 0, 0, 0, 0, 1], np.float32))[0]
    home, _ = env.reset(options={"home": True})
    assert observation["state"][0] > home["state"][0] + 0.01
    assert np.allclose(env.world.object_position("green block"), block, atol=1e-3)
    env.reset()
    assert not np.allclose(env.world.object_position("green block"), block, atol=1e-3)


def test_equal_seeds_give_equal_episodes() -> None:
    def episode(seed: int) -> np.ndarray:
        env = TabletopEnv(image_size=24)
        env.reset(seed=seed)
        env.action_space.seed(0)
        return np.stack([env.step(env.action_space.sample())[0]["image"] for _ in range(5)])

    assert np.array_equal(episode(3), episode(3))
    assert not np.array_equal(episode(3), episode(4))


@pytest.mark.parametrize("terminate", [False, True])
def test_the_reward_is_success_and_the_end_is_optional(terminate: bool) -> None:
    env = TabletopEnv(scene="scene6", task="put the mushroom in the blue bowl", image_size=24, terminate_on_success=terminate)
    env.reset(seed=0)
    expert = ScriptedExpert(env.world, env.task, Style(), np.random.default_rng(0))
    rewards = []
    for _ in range(90):
        _, reward, terminated, truncated, info = env.step(expert.act())
        rewards.append(reward)
        assert not truncated
        assert terminated is (terminate and info["success"])
        if reward:
            break
    assert rewards[-1] == 1.0
    assert set(rewards[:-1]) == {0.0}


def test_episodes_end_after_five_subgoals() -> None:
    spec = gymnasium.spec("soar/Tabletop-v0")
    assert spec.max_episode_steps == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scene": "kitchen"}, "unknown scene 'kitchen'"),
        (
            {"task": "put the red fruit in the metal pot"},
            "unknown task .* Valid choices: put the green block .* In scene 'scene1'",
        ),
        ({"render_mode": "human"}, "unknown render mode 'human'"),
    ],
)
def test_unknown_names_are_answered_with_valid_ones(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        TabletopEnv(image_size=24, **arguments)


def test_bad_actions_and_options_are_refused() -> None:
    env = TabletopEnv(scene="scene5", image_size=24)
    env.reset(seed=0)
    with pytest.raises(ConfigError, match="an action is 7 finite numbers"):
        env.step(np.full(7, np.nan, np.float32))
    with pytest.raises(ConfigError, match="an action is 7 finite numbers"):
        env.step(np.zeros(6, np.float32))
    with pytest.raises(UnknownNameError, match="unknown reset option 'homee'; did you mean 'home'"):
        env.reset(options={"homee": True})
