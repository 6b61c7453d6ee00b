"""The vocabulary: observations, actions, tasks, scenes and episodes.

Time axis. The robot is controlled at 5 Hz. `observation[t]` is what the robot sees before `action[t]` is executed; one
action takes `STEP_S` seconds. An episode of T actions has T + 1 observations: the last one has no action, and it is the one
that the success detector sees.

Images are uint8, HWC, RGB everywhere outside the networks. Shape suffixes: H height, W width, C channels, T time, B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from soar.cameras import MAIN
from soar.errors import UnknownNameError

STEP_S = 0.2
"""Duration of one action in seconds (5 Hz, paper §C)."""
SUBGOAL_STEPS = 20
"""Steps that the policy has to reach one subgoal (paper §B.4)."""
SUBGOALS_PER_EPISODE = 5
"""Subgoals in one autonomous episode (paper §B.4)."""
STATE_DIM = 7
ACTION_DIM = 7

Image: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageAndInstruction:
    """A goal of both kinds.

    Attributes:
        image_HWC: What is to be reached, uint8 RGB.
        instruction: What for.
    """

    image_HWC: Image
    instruction: str


Goal: TypeAlias = Image | str | ImageAndInstruction
"""What a policy is asked for: an image to reach, an instruction to follow, or both; its `conditioning` says what it takes."""
Action: TypeAlias = NDArray[np.float32]
"""(7,) float32: dx dy dz [m], droll dpitch dyaw [rad] in the base frame, gripper target (1 open, 0 closed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the robot perceives at one instant.

    Attributes:
        image_HWC: Third-person camera image, uint8 RGB: that of the main camera.
        state: (7,) float32: gripper x y z [m], roll pitch yaw [rad] in the base frame, opening 0..1.
        extra_images: Of further cameras by their names (`soar.cameras`), uint8 RGB, each of a size of its own.
    """

    image_HWC: Image
    state: NDArray[np.float32]
    extra_images: Mapping[str, Image] = field(default_factory=dict)

    def picture(self, camera: str = MAIN) -> Image:
        """Return the picture (H, W, 3) of a camera.

        Raises:
            UnknownNameError: There is no such camera.
        """
        if camera == MAIN:
            return self.image_HWC
        if camera not in self.extra_images:
            raise UnknownNameError("camera", camera, [MAIN, *self.extra_images], "The workcell's file names further ones.")
        return self.extra_images[camera]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An instruction, and how a vision-language model is asked about it (paper Table 3).

    Attributes:
        instruction: The language command.
        question: Yes/no question about the workspace.
        feasible_answer: The answer that means that the task is feasible; the opposite one means that it is done (§B.1.2).
        objects: Names of the objects that must be present.
    """

    instruction: str
    question: str
    feasible_answer: bool
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceBox:
    """The axis-aligned box [m], in the base frame, that the gripper never leaves, whatever the policy says."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def clip(self, position: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the point of the box that is nearest to `position` (3,) [m]."""
        return np.clip(np.asarray(position, np.float64), self.low, self.high)

    def contains(self, position: NDArray[np.floating], margin_m: float = 0.0) -> bool:
        """Whether `position` (3,) [m] is inside the box grown by `margin_m`."""
        p = np.asarray(position, np.float64)
        return bool(np.all(p >= np.array(self.low) - margin_m) and np.all(p <= np.array(self.high) + margin_m))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The objects in front of a robot, and the tasks that it may practise (paper Table 5).

    Attributes:
        name: Of the scene.
        objects: What stands on the table; may be empty when nobody asks for what is missing.
        tasks: At least one.
        workspace: Where the gripper may be; None when its workcell or robot says so.
    """

    name: str
    objects: tuple[str, ...]
    tasks: tuple[Task, ...]
    workspace: WorkspaceBox | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgoal:
    """An image that the policy was asked to reach.

    Attributes:
        step: Index of the first action that was taken towards it.
        image_HWC: uint8 RGB.
    """

    step: int
    image_HWC: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One judgement of an episode's success. An episode can have several; a person's outranks a model's.

    Attributes:
        success: The verdict. None when the answer was undecidable.
        probability: Probability of success, or None when the judge gives none.
        source: Who said so: a model id, `person:NAME`, or `simulator` (ground truth; never used for training).
        question: What was asked; empty for a person or the simulator.
        answer: The raw answer.
        time_s: Seconds since the Unix epoch.
    """

    success: bool | None
    probability: float | None
    source: str
    question: str = ""
    answer: str = ""
    time_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Which models, which robot and which run made an episode."""

    policy: str
    vlm: str = ""
    subgoal_model: str = ""
    robot: str = ""
    run: str = ""
    round: int = 0
    seed: int = 0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """T actions and T + 1 observations of one attempt at one task.

    Attributes:
        id: Unique in a store.
        scene: Name of the scene.
        instruction: The task's language command.
        images_THWC: (T + 1, H, W, 3) uint8 RGB.
        states_TD: (T + 1, 7) float32, see `Observation.state`.
        actions_TD: (T, 7) float32, as executed, see `Action`.
        subgoals: In the order in which they were commanded; empty for demonstrations.
        labels: Judgements of success, oldest first.
        provenance: Who made it.
        reflex_steps: Steps, increasing, whose action was not the policy's but a reflex's (`soar.collect.reflex`); nobody
            imitates them.
        limited_steps: Steps, increasing, whose action the safety shell had to change (`soar.robots.safety`): `actions_TD` has
            what was executed instead. None: nobody counted them.
        extra_images: (T + 1, H, W, 3) uint8 RGB of further cameras by their names, see `Observation`.
    """

    id: str
    scene: str
    instruction: str
    images_THWC: NDArray[np.uint8]
    states_TD: NDArray[np.float32]
    actions_TD: NDArray[np.float32]
    subgoals: tuple[Subgoal, ...] = ()
    labels: tuple[Label, ...] = ()
    provenance: Provenance = field(default_factory=lambda: Provenance(policy=""))
    reflex_steps: tuple[int, ...] = ()
    limited_steps: tuple[int, ...] | None = None
    extra_images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        steps = len(self.actions_TD)
        if len(self.images_THWC) != steps + 1 or len(self.states_TD) != steps + 1:
            raise ValueError(
                f"episode {self.id}: {steps} actions need {steps + 1} images and states, "
                f"got {len(self.images_THWC)} and {len(self.states_TD)}"
            )
        for name, images_THWC in self.extra_images.items():
            if len(images_THWC) != steps + 1:
                raise ValueError(
                    f"episode {self.id}: {steps} actions need {steps + 1} images of camera {name}, got {len(images_THWC)}"
                )
