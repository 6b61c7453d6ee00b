"""A policy behind `soar serve policy`: several robots share one machine that is fast enough (see `soar.policies.base.Policy`).

The server remembers nothing of a robot; what was planned is kept here, so that a server that was restarted is picked up again
in the middle of an episode. While it is away the robot holds its position: no motion, the gripper as it was last told to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.cameras import MAIN, MOST, is_camera_name
from soar.errors import ConfigError, ModelServerError
from soar.policies.action_chunking import ActionChunker
from soar.policies.base import CONDITIONINGS, Conditioning, takes
from soar.remote.client import PROTOCOL, SEVERAL_CAMERAS, ModelAwayError, ModelServer, RemoteConfig
from soar.remote.fallbacks import fell_back
from soar.remote.waits import waiting
from soar.remote.wire import is_id, pack
from soar.types import ACTION_DIM, Goal, ImageAndInstruction, Observation

KIND = "policy"
HOLD = "hold position"
_TIMEOUT_S = 5.0
_GRIPPER = 6
_LONGEST_CHUNK = 1000
_MOST = MOST + 1
LARGEST = 4096
"""Height and width of a picture that a policy may ask for [px]."""


class RemotePolicy:
    """A policy that runs elsewhere.

    Args:
        config: Where.
        server: Its client; made from the configuration by default.

    Raises:
        ModelServerError: It is not there, or serves something else.
    """

    def __init__(self, config: RemoteConfig, server: ModelServer | None = None) -> None:
        self.config, self._server = config, server or ModelServer(config, _TIMEOUT_S)
        about = self._server.about(KIND, (PROTOCOL, SEVERAL_CAMERAS))
        std = _numbers(about.get("action_std"), (ACTION_DIM,))
        conditioning: Any = about.get("conditioning")
        execute, name = about.get("execute"), about.get("model")
        if (
            conditioning not in (*CONDITIONINGS,)
            or not (isinstance(execute, int) and 1 <= execute <= _LONGEST_CHUNK)
            or not is_id(name)
            or std is None
            or not (std > 0).all()
        ):
            raise ModelServerError(
                f"{config.url} does not describe a policy: {str(about)[:200]}. Is it a `soar serve policy` of this version?"
            )
        self.id = self._server.wanted = str(name)
        self.conditioning: Conditioning = conditioning
        self.action_std = std
        size = about.get("image_size")
        cameras = about.get("cameras", [MAIN])
        if not (isinstance(cameras, list) and cameras and all(one == MAIN or is_camera_name(one) for one in cameras[:_MOST])):
            raise ModelServerError(f"{config.url} names no cameras that its policy looks at: {str(cameras)[:200]}")
        self.cameras: tuple[str, ...] = tuple(cameras[:_MOST])
        self.image_size: int | None = size if isinstance(size, int) and 1 <= size <= LARGEST else None
        self._execute = execute
        self._planner = ActionChunker(self._plan, execute)
        self._gripper: dict[int, float] = {}
        self.replaced = ""
        """The newest policy there, when it is another one than `id`; whoever opens the address anew has that."""

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return actions (B, 7) in physical units; without a server, those that hold the robots where they are.

        Raises:
            ValueError: There are not as many goals as observations.
            ConfigError: The policy does not take a goal of that kind.
            ModelServerError: The server is away and `when_away` is `stop`.
        """
        if not all(takes(self.conditioning, goal) for goal in goals):
            raise ConfigError(f"policy {self.id} follows {CONDITIONINGS[self.conditioning]}, and got something else")
        try:
            action_BD = self._planner.act(observations, goals)
        except ModelServerError as error:
            if self.config.when_away == "stop":
                raise
            fell_back(self.id, HOLD, str(error))
            return np.stack([self._held(i, observation) for i, observation in enumerate(observations)])
        self._gripper = dict(enumerate(action_BD[:, _GRIPPER].tolist()))
        return action_BD

    def reset(self) -> None:
        """Forget the last episode."""
        self._planner.reset()
        self._gripper = {}

    def _further(self, observation: Observation) -> dict[str, Any]:
        """Return the pictures of the further cameras that the policy looks at."""
        wanted = [camera for camera in self.cameras if camera != MAIN]
        images = {camera: pack(observation.picture(camera), self.config.encoding) for camera in wanted}
        return {"images": images} if images else {}

    def _told(self, goal: Goal) -> dict[str, Any]:
        if isinstance(goal, ImageAndInstruction):
            return {"goal": pack(goal.image_HWC, self.config.encoding), "instruction": goal.instruction}
        return {"goal": goal if isinstance(goal, str) else pack(goal, self.config.encoding)}

    def _held(self, index: int, observation: Observation) -> NDArray[np.float32]:
        action_D = np.zeros(ACTION_DIM, np.float32)
        action_D[_GRIPPER] = self._gripper.get(index, float(observation.state[_GRIPPER] >= 0.5))
        return action_D

    def _plan(self, observations: Sequence[Observation], goals: Sequence[Goal], indices: Sequence[int]) -> NDArray[np.float32]:
        items = [
            {
                "image": pack(observation.image_HWC, self.config.encoding),
                **self._further(observation),
                "state": observation.state.tolist(),
                **self._told(goal),
                "plan_index": index,
            }
            for observation, goal, index in zip(observations, goals, indices, strict=True)
        ]
        with waiting(KIND):
            answer = self._server.request("POST", "/v1/actions", {"items": items})
        if answer.get("model") != self.id:
            self.replaced = str(answer.get("model"))[:60]
            raise ModelAwayError(f"{self.config.url} serves {str(answer.get('model'))[:60]} now, not {self.id}")
        self.replaced = self._server.newer
        chunks_BHD = _numbers(answer.get("chunks"), (len(items), self._execute, ACTION_DIM))
        if chunks_BHD is None or not ((chunks_BHD[..., _GRIPPER] >= 0) & (chunks_BHD[..., _GRIPPER] <= 1)).all():
            raise ModelAwayError(f"{self.config.url} sent no actions: {str(answer)[:100]}")
        return chunks_BHD


def _numbers(values: Any, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Return finite numbers of a shape; None when they are not."""
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
            array = np.asarray(values, np.float32)
    except (ValueError, TypeError, OverflowError):
        return None
    return array if array.shape == shape and np.isfinite(array).all() else None
