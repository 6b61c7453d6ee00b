"""LIBERO's scenes as a robot: the few lines between its environments and `soar.robots.gymnasium`.

LIBERO is a Gym environment of the old kind (`step` returns four values) that wants an older MuJoCo than SOAR. Serve this from
its environment (README.md), and drive it from yours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from libero.libero import benchmark, get_libero_path
from libero.libero.envs import OffScreenRenderEnv

from soar.robots.gymnasium import GymCell
from soar.robots.gymnasium_maps import EnvMap, MappedEnv


class Libero(gymnasium.Env[Any, Any]):
    """One task of a suite; equal seeds give equal ones of the initial states that come with it."""

    def __init__(self, suite: str, task: int, size: int) -> None:
        self._suite = benchmark.get_benchmark_dict()[suite]()
        self.task = self._suite.get_task(task)
        file = Path(get_libero_path("bddl_files")) / self.task.problem_folder / self.task.bddl_file
        self._starts = self._suite.get_task_init_states(task)
        self._env = OffScreenRenderEnv(
            bddl_file_name=str(file),
            camera_names=["agentview"],
            camera_heights=size,
            camera_widths=size,
            hard_reset=False,  # the model is not read again
            ignore_done=True,
        )
        # Without shadows and smoothed edges a processor draws it several times faster.
        quality = self._env.sim.model.vis.quality
        quality.shadowsize = quality.offsamples = 0
        self._env.sim._render_context_offscreen.update_offscreen_size(size, size)
        self.action_space = Box(-1, 1, (7,), np.float32)
        self.observation_space = Dict({})  # what it shows is a dictionary of arrays; `MAP` says what is looked at

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin with one of the initial states, but with the arm where the first one has it: a robot has one home."""
        super().reset(seed=seed)
        self._env.reset()
        start = self._starts[int(self.np_random.integers(len(self._starts)))].copy()
        joints = 1 + np.asarray(self._env.robots[0]._ref_joint_pos_indexes)  # behind the time
        start[joints] = self._starts[0][joints]
        return _upright(self._env.set_init_state(start)), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step; `done` is success."""
        observation, reward, done, _ = self._env.step(np.asarray(action))
        return _upright(observation), float(reward), bool(done), False, {"done": bool(done)}

    def close(self) -> None:
        """Free the renderer."""
        self._env.close()


MAP = EnvMap(
    image="agentview_image",
    state={
        **{name: f"robot0_eef_pos.{index}" for index, name in enumerate("xyz")},
        **{name: f"robot0_eef_quat.{index}" for index, name in enumerate(("qx", "qy", "qz", "qw"))},
        "opening": "robot0_gripper_qpos.0",
    },
    opening=(0.0, 0.04),
    action=["x", "y", "z", "roll", "pitch", "yaw", "gripper"],
    units={"m": 0.013, "rad": 0.1},  # of what it is told in a step it gets so far
    gripper=(1.0, -1.0),
    steps=4,  # at 20 Hz
    settle=2,
)


def open_libero(suite: str = "libero_object", task: int = 0, size: int = 128) -> GymCell:
    """Return the robot in front of a task: the driver to serve."""
    env = Libero(suite, task, size)
    return GymCell(MappedEnv(env, MAP), success={env.task.language: "done"})


def _upright(observation: dict[str, Any]) -> dict[str, Any]:
    """Turn the picture, which robosuite draws upside down, and count the hand's turns from where it points down."""
    x, y, z, w = observation["robot0_eef_quat"]
    return {
        "agentview_image": observation["agentview_image"][::-1],
        "robot0_eef_pos": observation["robot0_eef_pos"],
        "robot0_eef_quat": np.array([-w, -z, y, x]),
        "robot0_gripper_qpos": observation["robot0_gripper_qpos"],
    }
