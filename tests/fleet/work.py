"""What worker processes do in the tests; they import this module by name."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soar.errors import RobotFault, SoarError
from soar.fleet.processes import Reporter

if TYPE_CHECKING:  # a worker of these tests starts light
    from soar.types import Action


def square(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    report(half=item["x"] / 2)
    return {"square": item["x"] ** 2, "pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}


def light(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    return {"heavy": sorted({"torch", "lance", "numpy"} & set(sys.modules))}


def die_once(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    marker = Path(item["marker"])
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"survived": True}


def die(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def fail(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    if item["fails"]:
        raise SoarError("no such robot") if item["fails"] == "soar" else ZeroDivisionError("oh")
    return {}


def wait_until_stopped(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Works until the parent asks it to stop; then leaves a file behind."""
    report(pid=os.getpid())
    while not report.stopping:
        report._pipe.poll(0.05)
    Path(item["stopped"]).touch()
    return {}


def never_stop(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Ignores every request, as a solver in a long call would."""
    report(pid=os.getpid())
    while True:
        signal.pause()


def hold_an_arm(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Has an arm in its hands until its process ends."""
    from soar.robots.workcell import open_workcell

    held = open_workcell(str(Path(item["stopped"]).parent / "bench.yaml"))
    report(pid=os.getpid())
    while held:
        signal.pause()
    return {}


def no() -> Any:
    """A vision-language model that denies everything."""
    from soar.testing import FakeVLM

    return FakeVLM(lambda image, question: False)


def talking() -> Any:
    """One that denies everything, and has the same two tasks to propose whatever it sees."""
    from soar.testing import FakeVLM

    class Talking(FakeVLM):
        def reply(self, prompts: Sequence[str], images: object = None) -> list[str]:
            return ["put the spoon on the plate\nput the carrot on the plate"] * len(prompts)

    return Talking(lambda image, question: False)


class BreaksOnce:
    """A simulated arm; the first one that acts is broken for good, in whatever process."""

    def __new__(cls, marker: str) -> Any:
        from soar.testing import FakeRobot

        class Arm(FakeRobot):
            broken = False

            def act(self, action: Action) -> None:
                if not Path(marker).exists():
                    Path(marker).touch()
                    self.broken = True
                    raise RobotFault("motor", "the gearbox is gone")
                super().act(action)

            def recover(self) -> None:
                if self.broken:
                    self.broken = False
                    raise RobotFault("unrecoverable", "the gearbox is gone")
                super().recover()

        return Arm(64)


class Closing:
    """An arm that leaves a file behind when it is closed."""

    def __new__(cls, folder: str) -> Any:
        from soar.testing import FakeRobot

        class Arm(FakeRobot):
            def close(self) -> None:
                Path(folder, f"closed{os.getpid()}").touch()

        return Arm(64)


class Hot:
    """An arm each of whose motions fails, and that any reboot brings back; it writes down that it was moved."""

    def __new__(cls, moves: str) -> Any:
        from soar.testing import FakeRobot

        class Arm(FakeRobot):
            def act(self, action: Action) -> None:
                with Path(moves).open("a") as file:
                    file.write("moved\n")
                raise RobotFault("motor", "joint 3 is hot")

        return Arm(32)
