from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soar.errors import ConfigError, RobotFault
from soar.robots import Fault, FaultyRobot, SafeRobot, SafetyError, SafetyLimits
from soar.seeding import generator
from soar.testing import FakeRobot, check_robot
from soar.testing.fakes import FAKE_WORKSPACE
from soar.types import Action, Observation

LIMITS = SafetyLimits()
numbers = st.floats(-(2.0**127), 2.0**127, width=32) | st.floats(-0.125, 0.125, width=32)
actions = st.lists(st.lists(numbers, min_size=7, max_size=7), min_size=1, max_size=40)


class LaggingRobot(FakeRobot):
    """A driver that adds deltas to the commanded pose, which the arm follows with a lag, or not at all while blocked."""

    def __init__(self, follow: float) -> None:
        super().__init__()
        self.commanded = self._state[:3].copy()
        self.follow = follow

    def act(self, action: Action) -> None:
        lag = self.commanded + action[:3] - self._state[:3]
        lag *= min(1.0, LIMITS.lag_m / max(float(np.linalg.norm(lag)), 1e-9))
        self.commanded = self._state[:3] + lag
        self._state[:3] += self.follow * lag


def stays_in_the_box(robot: FakeRobot, sequence: list[list[float]], observe_each: bool) -> None:
    safe = SafeRobot(robot, FAKE_WORKSPACE, LIMITS)
    for action in sequence:
        try:
            if observe_each:
                safe.observe()
            safe.act(np.array(action, np.float32))
        except RobotFault as fault:
            if "its reading is stuck" in fault.detail and isinstance(robot, LaggingRobot) and not robot.follow:
                return  # an arm that is blocked for so long looks like that
            raise
        assert FAKE_WORKSPACE.contains(robot.observe().state[:3], margin_m=1e-6)
        if isinstance(robot, LaggingRobot):
            assert FAKE_WORKSPACE.contains(robot.commanded, margin_m=1e-6)
        assert np.linalg.norm(safe.last_action[:3].astype(float)) <= LIMITS.translation_m * 1.00001
        assert np.linalg.norm(safe.last_action[3:6].astype(float)) <= LIMITS.rotation_rad * 1.00001
        assert 0 <= safe.last_action[6] <= 1


@settings(max_examples=60)
@given(sequence=actions, observe_each=st.booleans())
def test_the_gripper_stays_in_its_box_whatever_the_policy_says(sequence: list[list[float]], observe_each: bool) -> None:
    stays_in_the_box(FakeRobot(size=8), sequence, observe_each)


@settings(max_examples=60)
@given(sequence=actions, observe_each=st.booleans(), follow=st.sampled_from([0.0, 0.3, 0.8, 1.0]))
def test_it_stays_there_when_the_arm_lags_behind_its_commands(
    sequence: list[list[float]], observe_each: bool, follow: float
) -> None:
    stays_in_the_box(LaggingRobot(follow), sequence, observe_each)


@pytest.mark.parametrize("follow", [0.1, 0.3, 0.8])
def test_it_stays_there_when_an_arm_that_is_held_back_is_pushed_about(follow: float) -> None:
    rng = generator(0, "pushing")
    pushes = np.repeat(rng.choice([-1.0, 0.0, 1.0], (300, 7)), rng.integers(1, 6, 300), axis=0)
    stays_in_the_box(LaggingRobot(follow), pushes.tolist(), observe_each=False)


def test_small_actions_inside_the_box_pass_unchanged() -> None:
    safe = SafeRobot(FakeRobot(), FAKE_WORKSPACE)
    action = np.array([0.01, -0.02, 0.005, 0.1, 0.0, -0.2, 0.4], np.float32)
    safe.act(action)
    np.testing.assert_array_equal(safe.last_action, action)
    assert not safe.last_limited
    safe.act(np.array([0, 0, 0, 0, 0, 0, 1.5], np.float32))
    assert not safe.last_limited  # how far the gripper closes is no limit of where it goes


def test_a_long_step_is_shortened_without_changing_its_direction() -> None:
    safe = SafeRobot(FakeRobot(), FAKE_WORKSPACE)
    safe.act(np.array([0.3, 0.4, 0, 0, 0, 9, 1], np.float32))
    np.testing.assert_allclose(safe.last_action[:2], [0.03, 0.04], rtol=1e-5)
    assert safe.last_action[5] == pytest.approx(LIMITS.rotation_rad)
    assert safe.last_limited
    safe.act(np.zeros(7, np.float32))
    assert not safe.last_limited


def test_a_wall_stops_only_the_axis_that_runs_into_it() -> None:
    robot = FakeRobot()
    robot._state[0] = FAKE_WORKSPACE.high[0] - 0.001
    safe = SafeRobot(robot, FAKE_WORKSPACE)
    safe.act(np.array([0.02, 0.02, 0, 0, 0, 0, 1], np.float32))
    np.testing.assert_allclose(safe.last_action[:2], [0.001, 0.02], atol=1e-6)
    assert safe.last_limited


def test_a_gripper_found_outside_is_drawn_back_in_by_small_steps() -> None:
    robot = FakeRobot()
    robot._state[0] = 0.6
    safe = SafeRobot(robot, FAKE_WORKSPACE)
    for _ in range(5):
        safe.act(np.array([0.02, 0, 0, 0, 0, 0, 1], np.float32))
        assert safe.last_action[0] >= -LIMITS.translation_m - 1e-6
        safe.observe()
    assert FAKE_WORKSPACE.contains(robot._state[:3], margin_m=1e-6)


@pytest.mark.parametrize("action", [np.full(7, np.nan), np.array([0, 0, np.inf, 0, 0, 0, 1]), np.zeros(6), np.zeros((1, 7))])
def test_malformed_actions_are_refused_and_the_robot_does_not_move(action: np.ndarray) -> None:
    robot = FakeRobot()
    before = robot.observe().state
    with pytest.raises(SafetyError, match=r"expected \(7,\) finite numbers.*holds its position"):
        SafeRobot(robot, FAKE_WORKSPACE).act(action)
    np.testing.assert_array_equal(robot.observe().state, before)


def test_malformed_observations_are_refused() -> None:
    class GreyRobot(FakeRobot):
        def observe(self) -> Observation:
            seen = super().observe()
            return Observation(image_HWC=seen.image_HWC[..., 0], state=seen.state)

    with pytest.raises(SafetyError, match=r"expected uint8 \(H, W, 3\)"):
        SafeRobot(GreyRobot(), FAKE_WORKSPACE).observe()


def test_joint_readings_that_are_not_numbers_are_a_motor_fault() -> None:
    robot = FakeRobot()
    robot._state[1] = np.nan
    with pytest.raises(RobotFault) as fault:
        SafeRobot(robot, FAKE_WORKSPACE).observe()
    assert fault.value.kind == "motor"


def test_a_lost_connection_is_a_fault_in_every_call() -> None:
    safe = SafeRobot(FaultyRobot(FakeRobot(), [Fault(kind="connection", step=0)]), FAKE_WORKSPACE)
    safe.observe()
    for call in (lambda: safe.act(np.zeros(7, np.float32)), safe.observe, safe.home):
        with pytest.raises(RobotFault) as fault:
            call()
        assert fault.value.kind == "connection"
    assert safe.health().fault == "connection"
    safe.recover()
    assert safe.health().ok


def test_health_never_raises_even_when_the_driver_does() -> None:
    class DeafRobot(FakeRobot):
        def health(self):  # type: ignore[no-untyped-def]
            raise TimeoutError("no answer in 1 s")

    health = SafeRobot(DeafRobot(), FAKE_WORKSPACE).health()
    assert (health.ok, health.fault, health.detail) == (False, "connection", "health: no answer in 1 s")


def test_a_failed_motor_is_noticed_by_the_very_action() -> None:
    safe = SafeRobot(FaultyRobot(FakeRobot(), [Fault(kind="motor", step=2)]), FAKE_WORKSPACE)
    safe.act(np.zeros(7, np.float32))
    safe.act(np.zeros(7, np.float32))
    with pytest.raises(RobotFault, match="injected at step 2"):
        safe.act(np.zeros(7, np.float32))


def test_a_shell_around_a_fake_robot_keeps_the_robot_contract() -> None:
    check_robot(SafeRobot(FakeRobot(), FAKE_WORKSPACE))


def test_limits_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        SafetyLimits(translation_m=0)
