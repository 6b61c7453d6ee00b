from __future__ import annotations

import contextlib
from typing import Literal

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from soar.errors import RobotFault
from soar.robots import SafeRobot, SafetyLimits
from soar.seeding import generator
from soar.testing import FakeRobot
from soar.testing.fakes import FAKE_WORKSPACE
from soar.types import Action, Observation

LIMITS = SafetyLimits()
NOISE_M = 0.002
LONG = np.array([LIMITS.translation_m, 0, 0, 0, 0, 0, 1], np.float32)
Lie = Literal["stuck", "stuck in noise", "one axis stuck", "jumps", "absurd", "none"]


class LyingRobot(FakeRobot):
    """A driver that adds deltas to its true pose, which the arm follows with a lag; its noisy reading lies from a step on."""

    def __init__(self, lie: Lie = "none", begins: int = 0, follow: float = 1.0, noise_m: float = 0.0, seed: int = 0) -> None:
        super().__init__(size=8)
        self.target = self._state[:3].copy()
        self._lie, self._begins, self._follow, self._noise_m = lie, begins, follow, noise_m
        self._rng = generator(seed, "lying")
        self._steps = 0
        self._last: np.ndarray | None = None

    @property
    def position(self) -> np.ndarray:
        """Where the gripper is in truth."""
        return self._state[:3]

    def act(self, action: Action) -> None:
        self._steps += 1
        self.target += action[:3]
        self._state[:3] += self._follow * (self.target - self._state[:3])

    def observe(self) -> Observation:
        seen = super().observe()
        state = seen.state.copy()
        noise = self._rng.uniform(-self._noise_m, self._noise_m, 3)
        state[:3] += noise
        if self._last is not None and self._steps >= self._begins:
            if self._lie == "stuck":
                state[:3] = self._last
            elif self._lie == "stuck in noise":
                state[:3] = self._last + noise
            elif self._lie == "one axis stuck":
                state[0] = self._last[0]
            elif self._lie == "jumps":
                state[:3] += self._rng.uniform(-1, 1, 3)
            elif self._lie == "absurd":
                state[:3] = 1e30
        if self._last is None or self._steps < self._begins:
            self._last = state[:3].copy()
        # A picture that moves with the truth, so that the camera is not what is found out.
        image = self._rng.integers(0, 256, seen.image_HWC.shape, dtype=np.uint8)
        return Observation(image_HWC=image, state=state)


directions = st.lists(st.tuples(*[st.sampled_from([-1.0, -0.2, 0.0, 0.2, 1.0])] * 3), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    pushes=directions,
    lie=st.sampled_from(["stuck", "stuck in noise", "one axis stuck", "jumps", "absurd"]),
    begins=st.integers(0, 30),
    follow=st.sampled_from([0.5, 0.8, 1.0]),
    noise_m=st.sampled_from([0.0, NOISE_M]),
    seed=st.integers(0, 3),
)
def test_whatever_the_reading_does_the_gripper_stays_within_two_steps_of_its_box(
    pushes: list[tuple[float, float, float]], lie: Lie, begins: int, follow: float, noise_m: float, seed: int
) -> None:
    robot = LyingRobot(lie, begins, follow, noise_m, seed)
    safe = SafeRobot(robot, FAKE_WORKSPACE, LIMITS)
    with contextlib.suppress(RobotFault):  # it was found out
        for push in pushes:
            for _ in range(8):  # long enough to cross the box
                safe.act(np.array([*(LIMITS.translation_m * np.array(push)), 0, 0, 0, 1], np.float32))
                for where in (robot.position, robot.target):
                    assert FAKE_WORKSPACE.contains(where, margin_m=2 * LIMITS.translation_m)
    assert FAKE_WORKSPACE.contains(robot.target, margin_m=2 * LIMITS.translation_m)


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(pushes=directions, follow=st.sampled_from([0.5, 0.8, 1.0]), noise_m=st.sampled_from([0.0, NOISE_M]))
def test_a_reading_that_is_true_is_never_accused_and_loses_no_room(
    pushes: list[tuple[float, float, float]], follow: float, noise_m: float
) -> None:
    robot = LyingRobot(follow=follow, noise_m=noise_m)
    safe = SafeRobot(robot, FAKE_WORKSPACE, LIMITS if follow < 1 else SafetyLimits(lag_m=0.0))
    for push in [*pushes, (1.0, 1.0, 1.0), (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)]:
        for _ in range(16):
            safe.act(np.array([*(LIMITS.translation_m * np.array(push)), 0, 0, 0, 1], np.float32))
    # Of a driver whose commands run ahead the shell does not know how far, with or without lies.
    np.testing.assert_allclose(robot.position, FAKE_WORKSPACE.high, atol=0.03 if follow < 1 else 3 * NOISE_M)


@pytest.mark.parametrize(
    ("lie", "words"), [("stuck", "its reading is stuck"), ("jumps", "jumped from"), ("absurd", "2 m from its box")]
)
def test_a_lie_is_a_fault_within_two_steps(lie: Lie, words: str) -> None:
    robot = LyingRobot(lie, begins=2)
    safe = SafeRobot(robot, FAKE_WORKSPACE, LIMITS)
    for direction in (-1, 1):
        safe.act(direction * LONG)
    with pytest.raises(RobotFault, match=words) as fault:
        _ = [(safe.observe(), safe.act(LONG)) for _ in range(3)]
    assert fault.value.kind == "motor"


def test_a_robot_that_was_moved_by_others_is_believed_once_the_shell_was_told() -> None:
    robot = LyingRobot()
    safe = SafeRobot(robot, FAKE_WORKSPACE, LIMITS)
    safe.observe()
    robot.position[:] = robot.target[:] = (0.2, -0.15, 0.05)
    with pytest.raises(RobotFault, match="if nobody pushed the arm, look at its encoders"):
        safe.observe()
    safe.forget()
    safe.act(LONG)


def test_a_gripper_that_was_blocked_has_its_whole_box_again_once_it_moves() -> None:
    robot = LyingRobot(noise_m=NOISE_M)
    safe = SafeRobot(robot, FAKE_WORKSPACE, SafetyLimits(lag_m=0.0))
    start = robot.position.copy()
    for _ in range(20):
        safe.act(LONG / 5)
        robot.position[:] = robot.target[:] = start
    for direction in (-1, 1):
        for _ in range(40):
            safe.act(direction * LONG / 2)
    assert robot.position[0] == pytest.approx(FAKE_WORKSPACE.high[0], abs=3 * NOISE_M)
