"""The contract that a driver has to keep. On a real arm it moves 3 cm from home and back: keep clear of it."""

from arm import Arm

from soar.testing import check_robot


def test_the_arm_keeps_the_robot_contract() -> None:
    """Run it: pytest test_arm.py."""
    check_robot(Arm())
