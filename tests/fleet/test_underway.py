"""Episodes that wait on a robot's disk: they count as collected while they come, and hold nobody up when they do not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from soar.event_log import Journal, read_journal
from soar.fleet.underway import PATIENCE_S, Underway
from tests.fleet.test_ledger import Clock
from tests.fleet.test_supervision import beat, supervisor


def test_what_a_robot_has_counts_until_nothing_came_for_long_and_again_when_something_does(tmp_path: Path) -> None:
    clock, stored, journal = Clock(), Counter[str](), Journal(tmp_path / "events.jsonl")
    boss = supervisor(clock=clock)
    underway = Underway(boss, stored, journal, clock)

    def counted(one: int, two: int) -> int:
        boss.hear("one", beat() | {"waiting": one})
        boss.hear("two", beat() | {"waiting": two})
        return underway.count()

    assert counted(3, 2) == 5
    clock.now_s += PATIENCE_S
    stored["two"] += 1
    assert counted(3, 2) == 5
    clock.now_s += 1.0
    assert counted(4, 2) == 2, "what comes on top is no sign that something comes"
    assert [(e["robot"], e["waiting"]) for e in read_journal(journal.path, "undelivered")] == [("one", 4)]
    clock.now_s += PATIENCE_S / 2
    assert counted(4, 1) == 1  # one of an earlier round came, which is not counted as stored
    clock.now_s += PATIENCE_S / 2 + 1.0
    assert counted(4, 1) == 1
    assert len(read_journal(journal.path, "undelivered")) == 1, "it is told once"
    assert counted(3, 0) == 3
    clock.now_s += PATIENCE_S + 1.0
    assert counted(3, 0) == 0
    assert len(read_journal(journal.path, "undelivered")) == 2


def test_on_a_full_disk_what_robots_have_goes_on_counting(tmp_path: Path) -> None:
    clock = Clock()
    boss = supervisor(clock=clock)
    (tmp_path / "events.jsonl").mkdir()
    underway = Underway(boss, Counter(), Journal(tmp_path / "events.jsonl"), clock)
    for _ in range(3):
        boss.hear("one", beat() | {"waiting": 3})
        assert underway.count() == 3
        clock.now_s += PATIENCE_S + 1.0
    (tmp_path / "events.jsonl").rmdir()
    boss.hear("one", beat() | {"waiting": 3})
    assert underway.count() == 0
    clock.now_s += 60.0  # nothing is heard of it
    assert underway.count() == 0
