"""What an arm's motors say of themselves, in registers that LeRobot can read and does not look at; and how they are rebooted.

    each action          error register, load            a motor whose error is latched has no torque and obeys nothing
    every 25th           temperature

A register that a motor does not have is not asked for; an arm without buses that tell (`sync_read`) is judged by what it does.
A serial bus loses a packet now and then: a question that got no answer is asked three times.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from soar.errors import RobotFault

T = TypeVar("T")
TRIES = 3
_LONG = 5
"""Actions in a row with too much load."""
_LOAD_BITS, _WHOLE_LOAD = 0x3FF, 1000
"""Where a motor of Feetech says its load (the next bit is the direction), and what it says for its whole torque."""
_FEETECH_ERRORS = ("voltage", "sensor", "temperature", "current", "angle", "overload")
_REBOOT_S = 0.5


class Motors:
    """The motors of one robot.

    Args:
        robot: Of LeRobot.
        temperature_c: Hottest that is allowed.
        load: Share of a motor's torque that it may need for five actions in a row.
        sleep: Waits for some seconds.
    """

    def __init__(self, robot: Any, *, temperature_c: float, load: float, sleep: Callable[[float], None] = time.sleep) -> None:
        attributes = vars(robot).values()
        self._buses: list[Any] = [bus for bus in attributes if callable(getattr(bus, "sync_read", None))]
        self._temperature_c, self._load, self._sleep = temperature_c, load, sleep
        self._overloaded: dict[str, int] = {}

    @property
    def tell(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self._buses)

    def complaint(self, *, thorough: bool) -> str:
        """Return what is wrong with them; empty when nothing is.

        Args:
            thorough: Whether temperatures are asked for, too.

        Raises:
            RobotFault: `connection`: they do not answer.
        """
        errors = self.errors()
        if errors:
            return f"in an error, without torque: {', '.join(f'{motor} ({error})' for motor, error in errors.items())}"
        for motor, value in self._read("Present_Load", "Status"):
            share = (abs(value) & _LOAD_BITS) / _WHOLE_LOAD
            self._overloaded[motor] = self._overloaded.get(motor, 0) + 1 if share > self._load else 0
            if self._overloaded[motor] >= _LONG:
                self._overloaded.clear()
                return f"{motor} has needed {100 * share:.0f} % of its torque for {_LONG} actions: what is in its way?"
        hot = self.hot() if thorough else {}
        return f"too hot: {', '.join(f'{motor} ({value:.0f} °C)' for motor, value in hot.items())}" if hot else ""

    def errors(self) -> dict[str, str]:
        """Return the motors that are in an error, and in which.

        Raises:
            RobotFault: `connection`: they do not answer.
        """
        found = {}
        for motor, value in self._read("Status"):
            if value:
                names = [name for bit, name in enumerate(_FEETECH_ERRORS) if value >> bit & 1]
                found[motor] = ", ".join(names) or f"error {value}"
        for motor, value in self._read("Hardware_Error_Status"):
            if value:
                found[motor] = f"error {value}"
        return found

    def hot(self, cooler_c: float = 0.0) -> dict[str, float]:
        """Return the motors that are too hot [°C], or within `cooler_c` of it."""
        limit_c = self._temperature_c - cooler_c
        return {motor: float(value) for motor, value in self._read("Present_Temperature") if value > limit_c}

    def reboot(self, names: Mapping[str, str] | None = None, *, before_each: Callable[[], None]) -> None:
        """Take the torque off motors, one after another, and give it back where they are then; that ends a latched error.

        Args:
            names: Of which; None: of all.
            before_each: Called before each; what it raises leaves all of them with torque.

        Raises:
            RobotFault: `motor`: one does not obey.
        """
        for bus in self._buses:
            for motor in bus.motors:
                if names is not None and motor not in names:
                    continue
                before_each()
                try:
                    again(bus.disable_torque, motor)
                    self._sleep(_REBOOT_S)
                    # It stays where it sank to: with its old goal it would leap.
                    place = again(bus.sync_read, "Present_Position", [motor])
                    again(bus.sync_write, "Goal_Position", place)
                    again(bus.enable_torque, motor)
                except RuntimeError as error:
                    raise RobotFault("motor", f"{motor}: {error}") from error

    def release(self) -> None:
        """Take the torque off all motors: the arm goes limp."""
        for bus in self._buses:
            again(bus.disable_torque)

    def _read(self, register: str, besides: str | None = None) -> Iterator[tuple[str, int]]:
        """Yield what each motor that has a register (and another one besides) says in it."""
        for bus in self._buses:
            tables = getattr(bus, "model_ctrl_table", {})
            wanted = {register, besides or register}
            having = [name for name, motor in bus.motors.items() if wanted <= set(tables.get(motor.model, ()))]
            if having:
                try:
                    values = again(bus.sync_read, register, having, normalize=False)
                except RuntimeError as error:
                    raise RobotFault("motor", f"{register}: {error}") from error
                yield from ((name, int(value)) for name, value in values.items())


def again(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Return what a call to a bus returns, which is tried three times; only for calls that do the same twice as once.

    Raises:
        ConnectionError: There was no answer.
    """
    for attempt in range(TRIES):
        try:
            return call(*arguments, **named)
        except ConnectionError:
            if attempt == TRIES - 1:
                raise
    raise AssertionError
