"""The simulated tabletop as a Gymnasium environment, `soar/Tabletop-v0`.

It keeps the contract of `soar.robots.gymnasium`: observations are a dictionary of image and state, actions are in physical
units, and `reset(options={"home": True})` brings the gripper home and leaves the objects where they are. Any other reset draws
a start from which the task is feasible and not done. The reward is 1.0 after each step at whose end the task is done, else 0.0.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from soar.errors import ConfigError, UnknownNameError
from soar.instruction_grammar import task_from_instruction
from soar.robots.safety import SafetyLimits
from soar.sim.ground_truth import reset_for, succeeded
from soar.sim.scene import load_scene
from soar.sim.world import World
from soar.types import ACTION_DIM, Action, Image

TabletopObservation = dict[str, Any]
_LIMITS = SafetyLimits()
_STEP = [_LIMITS.translation_m] * 3 + [_LIMITS.rotation_rad] * 3
ACTION_SPACE = Box(np.array([*np.negative(_STEP), 0.0], np.float32), np.array([*_STEP, 1.0], np.float32))
"""Seven numbers, see `soar.types.Action`: steps [m], turns [rad] up to the safety shell's limits, gripper target 0..1."""
_POSE = [1.0, 1.0, 1.0, np.pi, np.pi, np.pi]


class TabletopEnv(gymnasium.Env[TabletopObservation, Action]):
    """One task in one scene.

    Args:
        scene: Name of a scene, or the path of a YAML file.
        task: One of the scene's instructions; the first one when empty.
        image_size: Height and width of the camera image in pixels.
        terminate_on_success: End the episode as soon as the task is done.
        render_mode: None or `rgb_array`, the camera image.

    Raises:
        UnknownNameError: There is no such scene, or no such task in it.
        RenderingError: No headless rendering library works here (at the first reset).
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012 (as Gymnasium declares it)

    def __init__(
        self,
        scene: str = "scene1",
        task: str = "",
        image_size: int = 256,
        terminate_on_success: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise UnknownNameError("render mode", str(render_mode), ["rgb_array"])
        config = load_scene(scene)
        tasks = [task.instruction for task in config.parsed_tasks()]
        self.task = task_from_instruction(task).instruction if task else tasks[0]
        if self.task not in tasks:
            raise UnknownNameError("task", self.task, tasks, f"In scene {config.name!r}.")
        self.render_mode = render_mode
        self.world = World(config, image_size=image_size)
        self.observation_space = Dict(
            {
                "image": Box(0, 255, (image_size, image_size, 3), np.uint8),
                "state": Box(np.array([*np.negative(_POSE), 0.0], np.float32), np.array([*_POSE, 1.0], np.float32)),
            }
        )
        self.action_space = ACTION_SPACE
        self._terminate_on_success = terminate_on_success

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[TabletopObservation, dict[str, Any]]:
        """Start anew, or with `options={"home": True}` go home and leave the objects where they are."""
        super().reset(seed=seed)
        unknown = set(options or {}) - {"home"}
        if unknown:
            raise UnknownNameError("reset option", str(sorted(unknown)[0]), ["home"])
        if options and options.get("home"):
            self.world.home()
        else:
            reset_for(self.world, self.task, int(self.np_random.integers(2**31)))
        return self._observation(), self._info()

    def step(self, action: Action) -> tuple[TabletopObservation, float, bool, bool, dict[str, Any]]:
        """Execute one action of 0.2 s; what exceeds the action space's bounds is clipped to them.

        Raises:
            ConfigError: The action is not seven finite numbers; nothing moved.
        """
        values = np.asarray(action, np.float32)
        if values.shape != (ACTION_DIM,) or not np.all(np.isfinite(values)):
            raise ConfigError(f"an action is {ACTION_DIM} finite numbers, see soar.types.Action; got {action}")
        self.world.step(np.clip(values, ACTION_SPACE.low, ACTION_SPACE.high))
        info = self._info()
        return self._observation(), float(info["success"]), info["success"] and self._terminate_on_success, False, info

    def render(self) -> Image | None:
        """Return the camera image, or None without a render mode."""
        return self.world.render() if self.render_mode else None

    def close(self) -> None:
        """Free the renderer."""
        self.world.close()

    def _observation(self) -> TabletopObservation:
        return {"image": self.world.render(), "state": self.world.proprioception()}

    def _info(self) -> dict[str, Any]:
        return {"success": succeeded(self.world, self.task), "task": self.task}
