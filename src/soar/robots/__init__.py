"""Robots: the protocol, the safety shell that every driver is used through, injected faults, and drivers.

Importing this package needs NumPy alone, so that a robot's computer drives its robot without torch. Drivers for a particular
library are imported from their own module (`soar.robots.gymnasium`).
"""

from soar.robots.base import Health, Robot
from soar.robots.faults import Fault, FaultyRobot
from soar.robots.safety import SafeRobot, SafetyError, SafetyLimits

__all__ = ["Fault", "FaultyRobot", "Health", "Robot", "SafeRobot", "SafetyError", "SafetyLimits"]
