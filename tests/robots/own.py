"""Drivers as users write them, good ones and bad ones: what workcell files of the tests name as `tests.robots.own:NAME`."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np

from soar.robots.base import Health
from soar.robots.faults import Fault, FaultyRobot
from soar.robots.stopping import stop_here
from soar.testing import FakeRobot
from soar.types import Action, Observation

closed: list[str] = []
"""Names of the arms that were closed."""
never = threading.Event()


class Arm(FakeRobot):
    """A driver with a picture that is not square, and a way to leave it safe."""

    def __init__(self, name: str = "arm", size: tuple[int, int] = (48, 64)) -> None:
        super().__init__(64)
        self.name, self.shape = name, size

    def observe(self) -> Observation:
        seen = super().observe()
        return Observation(image_HWC=np.resize(seen.image_HWC, (*self.shape, 3)), state=seen.state)

    def close(self) -> None:
        closed.append(self.name)


class Cell(Arm):
    """What a simulator can do besides."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls: list[tuple[Any, ...]] = []

    def reset_for(self, instruction: str, seed: int) -> None:
        self.calls.append((instruction, seed))
        self.home()

    def truth(self, instruction: str) -> bool | None:
        return "carrot" in instruction


class NotANumber(Arm):
    def observe(self) -> Observation:
        seen = super().observe()
        seen.state[2] = np.nan
        return seen


class Blind(Arm):
    def observe(self) -> Observation:
        return Observation(image_HWC=np.zeros((48, 64), np.uint8), state=np.zeros(7, np.float32))


class Hanging(Arm):
    def observe(self) -> Observation:
        never.wait()
        return super().observe()


class SlowOnce(Arm):
    """Hangs in one action until it is let go."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.actions = 0
        self.go_on = threading.Event()

    def act(self, action: Action) -> None:
        self.actions += 1
        if self.actions == 2:
            self.go_on.wait()
        super().act(action)


class Raising(Arm):
    def act(self, action: Action) -> None:
        raise KeyError("servo 3")


class NoRobot:
    def observe(self) -> Observation:
        raise AssertionError


class Sick(Arm):
    def health(self) -> Any:
        return "fine"


def refusing(**_: Any) -> FakeRobot:
    raise RuntimeError("no arm on /dev/ttyUSB0")


def healthy() -> Health:
    return Health(ok=True)


not_callable = 3


def stumbling(reboots: int | None = 1) -> FaultyRobot:
    """An arm whose motor fails once, in its 150th action, until it was rebooted so often."""
    return FaultyRobot(Arm(), [Fault(kind="motor", step=149, reboots=reboots)])


class StopsItself(Arm):
    """Somebody stops it while it acts."""

    def act(self, action: Action) -> None:
        super().act(action)
        stop_here()


class Watched(Arm):
    """An arm with further cameras, each of a size of its own, and ways in which one of them fails."""

    def __init__(
        self, cameras: tuple[str, ...] = ("wrist",), frozen: str = "", gone_after: int = 10**9, **options: Any
    ) -> None:
        super().__init__(**options)
        self.cameras, self.frozen, self.gone_after = tuple(cameras), frozen, gone_after
        self.looks = 0

    def observe(self) -> Observation:
        self.looks += 1
        seen = super().observe()
        further = {name: self._drawn(40 + 2 * number, 190) for number, name in enumerate(self.cameras)}
        if self.frozen:
            further[self.frozen] = np.zeros_like(further[self.frozen])
        if self.looks > self.gone_after:
            further.pop(self.cameras[0])
        return replace(seen, extra_images=further)
