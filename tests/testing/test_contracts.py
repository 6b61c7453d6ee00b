"""The fakes keep the contracts, and the contracts catch what they say they catch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from soar.robots.base import Health
from soar.seeding import generator
from soar.testing import (
    ContractError,
    FakePolicy,
    FakeRobot,
    FakeSubgoals,
    FakeVLM,
    check_policy,
    check_robot,
    check_subgoal_model,
    check_vlm,
)
from soar.types import Action, Image, Observation
from soar.vlm.base import Answer


def test_the_fakes_keep_the_contracts() -> None:
    check_robot(FakeRobot())
    check_vlm(FakeVLM())
    check_vlm(FakeVLM(lambda image, question: None))
    check_subgoal_model(FakeSubgoals())
    check_policy(FakePolicy())


def test_every_motion_changes_the_fake_robots_picture() -> None:
    robot, rng = FakeRobot(), generator(0, "motion")
    for _ in range(50):
        before = robot.observe().image_HWC
        robot.act(np.array([*rng.uniform(0.002, 0.01, 3) * rng.choice([-1, 1], 3), 0, 0, 0, 1], np.float32))
        assert not np.array_equal(robot.observe().image_HWC, before)


class MillimetreRobot(FakeRobot):
    def act(self, action: Action) -> None:
        super().act(np.concatenate([action[:6] / 1000, action[6:]]))


class InvertedGripper(FakeRobot):
    def act(self, action: Action) -> None:
        super().act(np.concatenate([action[:6], 1 - action[6:]]))


class FloatImages(FakeRobot):
    def observe(self) -> Observation:
        seen = super().observe()
        return Observation(image_HWC=(seen.image_HWC / 255).astype(np.float32), state=seen.state)  # type: ignore[arg-type]


class AlwaysIll(FakeRobot):
    def health(self) -> Health:
        return Health(ok=False, fault="motor")


class LazyRecovery(FakeRobot):
    def recover(self) -> None:
        """Stays where it is."""


class SharedImage(FakeRobot):
    def __init__(self) -> None:
        super().__init__()
        self._image = super().observe().image_HWC

    def observe(self) -> Observation:
        return Observation(image_HWC=self._image, state=super().observe().state)


@pytest.mark.parametrize(
    ("make", "promise"),
    [
        (MillimetreRobot, "move the gripper by about 3 cm"),
        (InvertedGripper, "move the gripper|closes the gripper"),
        (FloatImages, "image_HWC is uint8"),
        (AlwaysIll, "is healthy"),
        (LazyRecovery, r"recover\(\) ends in the home pose"),
        (SharedImage, "belongs to the caller"),
        (object, "lacks a method"),
    ],
)
def test_a_robot_that_breaks_a_promise_is_told_which(make: Callable[[], FakeRobot], promise: str) -> None:
    with pytest.raises(ContractError, match=promise):
        check_robot(make())


class CountingVLM(FakeVLM):
    """Answers by the size of the batch."""

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        return [Answer(text="yes", p_yes=1 / len(images)) for _ in images]


def test_answers_that_depend_on_their_batch_are_caught() -> None:
    with pytest.raises(ContractError, match="does not depend on its batch"):
        check_vlm(CountingVLM())


class UnseededSubgoals(FakeSubgoals):
    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        self.calls = getattr(self, "calls", 0) + 1
        return super().generate(images, instructions, [self.calls] * len(seeds))


class HalfSize(FakeSubgoals):
    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        return [goal[::2, ::2] for goal in super().generate(images, instructions, seeds)]


def test_subgoals_without_a_seed_or_of_another_size_are_caught() -> None:
    with pytest.raises(ContractError, match="equal images, instructions and seeds"):
        check_subgoal_model(UnseededSubgoals())
    with pytest.raises(ContractError, match="its image's size"):
        check_subgoal_model(HalfSize())


def test_policies_that_drift_or_speak_double_precision_are_caught() -> None:
    class Drifting(FakePolicy):
        def act(self, observations, goals):  # type: ignore[no-untyped-def]
            self._action = self._action + np.float32(0.01)
            self._action[6] = 1
            return super().act(observations, goals)

    class Double(FakePolicy):
        def act(self, observations, goals):  # type: ignore[no-untyped-def]
            return super().act(observations, goals).astype(np.float64)

    with pytest.raises(ContractError, match="equal inputs give equal actions"):
        check_policy(Drifting())
    with pytest.raises(ContractError, match="actions are float32"):
        check_policy(Double())
