"""One robot of a fleet, whose coordinator is away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from soar.collect.models import Models
from soar.collect.preset import load_collection
from soar.fleet.config import FaultBudget
from soar.fleet.link import Link, MotionStoppedError, Orders
from soar.fleet.member import run_member
from soar.fleet.spool import Spool

CELL = """
robot: {{driver: "tests.fleet.work:Hot", options: {{moves: {moves}}}}}
workspace: {{low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}}
scene: {{name: bench, tasks: [put the carrot on the plate, put the carrot in the pot]}}
"""


class Alone(Link):
    """A line on which nobody answers; what was said last holds."""

    def __init__(self, robot: str) -> None:
        super().__init__("http://127.0.0.1:9", robot)
        self.said: list[dict[str, Any]] = []

    def join(self, lock: str = "") -> None:
        """Have the lease, for ever."""
        self.about = {
            "workcell": "",
            "models": asdict(
                Models(policy="soar.testing:FakePolicy", subgoals="soar.testing:FakeSubgoals", vlm="soar.testing:FakeVLM")
            ),
            "collection": asdict(load_collection("laptop", ()).improvement.collection),
            "faults": asdict(FaultBudget(most=2, of=5)),
            "lease_s": 60.0,
            "spool_mb": 10,
            "run": "run",
            "round": 0,
            "seed": 0,
        }
        self.epoch, self._until_s, self.orders = 1, float("inf"), Orders(do="go")

    def deliver(self, spool: Spool) -> None:
        """Nobody takes anything."""

    def show(self, live: Path) -> None:
        """Nobody looks."""

    def counts(self, scene: str) -> None:
        """Nobody knows."""

    def event(self, kind: str, **fields: Any) -> None:
        """Keep what was said."""
        self.said.append({"kind": kind, **fields})

    def end(self, last_s: float = 5.0) -> None:
        """Nobody hears it."""

    def kinds(self) -> list[str]:
        """What happened, in order, but for what models were asked."""
        return [str(event["kind"]) for event in self.said if event["kind"] != "asked"]


class Running:
    """A robot at work, until the test ends."""

    def __init__(self, folder: Path) -> None:
        self.moves, self.ended = folder / "moves", threading.Event()
        (folder / "cell.yaml").write_text(CELL.format(moves=self.moves))
        self.link = Alone(f"hot-{folder.name[-20:]}")
        self.thread = threading.Thread(target=self._run, args=(folder,))
        self.thread.start()

    def _run(self, folder: Path) -> None:
        cell = str(folder / "cell.yaml")
        run_member("", self.link.robot, workcell=cell, spool=folder, stopping=self.ended.is_set, link=self.link)

    def until(self, what: Callable[[], bool]) -> None:
        """Wait until something is so."""
        while not what():
            assert self.thread.is_alive()
            self.ended.wait(0.02)


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    made.ended.set()
    made.thread.join()


def test_a_robot_that_fails_too_often_stops_and_calls_a_person_by_itself_and_goes_on_when_that_person_agrees(
    robot: Running,
) -> None:
    link = robot.link
    robot.until(lambda: "person" in link.kinds())
    assert link.kinds() == ["fault", "fault", "fault", "person"]
    assert link.said[-1]["detail"].startswith("3 of its last 3 attempts ended with a fault: ")
    assert robot.moves.read_text().count("moved") == 3
    assert [event["feasible"] > 0 for event in link.said if event["kind"] == "asked"] == [True] * 3
    link.orders = Orders(do="go", released=1)
    robot.until(lambda: link.kinds().count("person") == 2)
    assert robot.moves.read_text().count("moved") == 6


def test_a_robot_that_is_held_may_not_move_and_one_that_is_told_to_go_may() -> None:
    link = Alone("one")
    link.join()
    link.gate()
    for do, words in (("hold", "waits for a person"), ("stop", "was told to stop")):
        link.orders = Orders(do=do)
        with pytest.raises(MotionStoppedError, match=words):
            link.gate()
