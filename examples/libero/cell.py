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
    """One task of a suite.

    A start with a seed, as an evaluation asks for, is one of the initial states that come with the suite, the same for equal
    seeds. One without is drawn anew: practice never begins where an evaluation does.
    """

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
        self.seen: dict[str, Any] = {}
        """What it last said, where things are among it: a script may know, a policy does not."""
        self.action_space = Box(-1, 1, (7,), np.float32)
        self.observation_space = Dict({})  # what it shows is a dictionary of arrays; `MAP` says what is looked at

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin, with the arm where the first of the initial states has it: a robot has one home."""
        super().reset(seed=seed)
        self._env.reset()
        if seed is None:
            start = self._env.get_sim_state()
        else:
            start = self._starts[int(self.np_random.integers(len(self._starts)))].copy()
        joints = 1 + np.asarray(self._env.robots[0]._ref_joint_pos_indexes)  # behind the time
        start[joints] = self._starts[0][joints]
        self.seen = self._env.set_init_state(start)
        return _upright(self.seen), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Repeat an action for a fifth of a second; `done` is success."""
        # What it says of a step was seen at its beginning. Drawing takes most of the time: only what is looked at is drawn.
        camera = self._env.env._observables["agentview_image"]
        camera.set_enabled(False)
        for _ in range(STEPS):
            _, reward, done, _ = self._env.step(np.asarray(action))
        camera.set_enabled(True)
        self.seen = self._env.env._get_observations(force_update=True)
        return _upright(self.seen), float(reward), bool(done), False, {"done": bool(done)}

    def close(self) -> None:
        """Free the renderer."""
        self._env.close()


STEPS = 4
"""At 20 Hz, of one action of ours."""
MAP = EnvMap(
    image="agentview_image",
    state={
        **{name: f"robot0_eef_pos.{index}" for index, name in enumerate("xyz")},
        **{name: f"robot0_eef_quat.{index}" for index, name in enumerate(("qx", "qy", "qz", "qw"))},
        "opening": "robot0_gripper_qpos.0",
    },
    opening=(0.0, 0.04),
    action=["x", "y", "z", "roll", "pitch", "yaw", "gripper"],
    units={"m": 0.052, "rad": 0.4},  # so far it gets in that time, of what it is told
    gripper=(1.0, -1.0),
    settle=2,
)


def open_libero(suite: str = "libero_object", task: int = 0, size: int = 128) -> GymCell:
    """Return the robot in front of a task: the driver to serve."""
    env = Libero(suite, task, size)
    return LiberoCell(MappedEnv(env, MAP), success={env.task.language: "done"})


class LiberoCell(GymCell):
    """What its environment says of the one task is the answer of the models `truth` and `oracle` to whatever is asked, too."""

    def answer(self, question: str) -> bool:
        """Return whether the task is done."""
        return bool(self._info.get("done", False))


def _upright(observation: dict[str, Any]) -> dict[str, Any]:
    """Turn the picture, which robosuite draws upside down, and count the hand's turns from where it points down."""
    x, y, z, w = observation["robot0_eef_quat"]
    return {
        "agentview_image": observation["agentview_image"][::-1],
        "robot0_eef_pos": observation["robot0_eef_pos"],
        "robot0_eef_quat": np.array([-w, -z, y, x]),
        "robot0_gripper_qpos": observation["robot0_gripper_qpos"],
    }
