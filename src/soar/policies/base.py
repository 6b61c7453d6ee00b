"""The protocol of policies: actions that bring an observation closer to a goal, which is an image, an instruction, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from soar.cameras import MAIN, listed
from soar.errors import ConfigError
from soar.types import Goal, Image, ImageAndInstruction, Observation

Conditioning: TypeAlias = Literal["goal", "language", "both"]
"""What a policy's goals are: images, instructions, or either of them and both together."""
CONDITIONINGS: Mapping[Conditioning, str] = {
    "goal": "goal images",
    "language": "instructions",
    "both": "goal images, instructions and both",
}
"""Each, in words."""


@runtime_checkable
class Instructed(Protocol):
    """A policy that reaches images of goals and wants to know, too, what for. It is told after each `reset`."""

    def instruct(self, instruction: str) -> None:
        """Be told what the coming episode is about."""
        ...


@runtime_checkable
class Watching(Protocol):
    """A policy that says which cameras it looks at (`soar.cameras`); any other one looks at the main camera."""

    @property
    def cameras(self) -> Sequence[str]:
        """At least one; pictures that are its goals are of the first."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A policy, batched over robots: goal i is for robot i. `id` is what provenance records."""

    @property
    def id(self) -> str:
        """Name and version of the policy."""
        ...

    @property
    def conditioning(self) -> Conditioning:
        """What its goals are: images to reach, instructions to follow, or (`both`) either of them and both together."""
        ...

    @property
    def action_std(self) -> NDArray[np.float32]:
        """(7,) standard deviation of the actions that it learned from: the unit of exploration."""
        ...

    @property
    def image_size(self) -> int | None:
        """Height and width of the pictures that it looks at [px], which others are brought to; None: any."""
        ...

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return actions (B, 7) in physical units, see `soar.types.Action`."""
        ...

    def reset(self) -> None:
        """Forget the last episode."""
        ...


def takes(conditioning: Conditioning, goal: object) -> bool:
    """Whether a policy of a conditioning takes a goal."""
    if isinstance(goal, str):
        return conditioning != "goal"
    if isinstance(goal, np.ndarray):
        return conditioning != "language"
    return isinstance(goal, ImageAndInstruction) and conditioning == "both"


def told(policy: Policy, image: Image, instruction: str) -> Goal:
    """Return what a policy is told that is to reach an image for an instruction: as much of it as it takes."""
    if policy.conditioning == "both":
        return ImageAndInstruction(image_HWC=image, instruction=instruction)
    return image if policy.conditioning == "goal" else instruction


def begin(policy: Policy, instruction: str) -> None:
    """Let a policy forget the last episode, and tell it what the coming one is about if it wants to know."""
    policy.reset()
    if isinstance(policy, Instructed):
        policy.instruct(instruction)


def cameras_of(policy: Policy) -> tuple[str, ...]:
    """Return the cameras that a policy looks at; pictures that are its goals are of the first."""
    return tuple(policy.cameras) if isinstance(policy, Watching) else (MAIN,)


def check_cameras(policy: Policy, given: Sequence[str], where: str, subgoal_model: object = None) -> None:
    """Refuse a policy that looks at a camera that there is not, or is given subgoals of another one than it looks at.

    Args:
        policy: Open.
        given: The further cameras that there are.
        where: There, for the message.
        subgoal_model: Its subgoals are of the camera that it says (`camera`); of any, if it says none.

    Raises:
        ConfigError: So it is.
    """
    wanted = cameras_of(policy)
    if missing := [camera for camera in wanted if camera not in (MAIN, *given)]:
        raise ConfigError(
            f"policy {policy.id} looks at the camera {missing[0]!r}, and {where} has: {listed(given)}. Name the camera in the "
            "workcell's file (`cameras`), or correct its name in the policy's file (docs/how-to/your-policy.md)"
        )
    imagined = getattr(subgoal_model, "camera", wanted[0])
    if subgoal_model is not None and imagined != wanted[0]:
        raise ConfigError(
            f"policy {policy.id} reaches pictures of the camera {wanted[0]!r}, and the subgoal model imagines those of "
            f"{imagined!r}: use one that was trained with --camera {wanted[0]}, or a policy that looks at {imagined}"
        )
