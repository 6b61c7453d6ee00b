"""What a fleet's run came to."""

from __future__ import annotations

from pathlib import Path

import pytest

from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError
from soar.event_log import Journal, read_journal
from soar.fleet.telemetry import PHASES_EVERY_S, PhaseTimes
from soar.prometheus import Histogram
from soar.reports.fleet_report import fleet_report
from tests.fleet.test_ledger import Clock, episode
from tests.fleet.test_supervision import beat, supervisor


def test_hours_rates_and_calls_are_those_of_store_and_journal(tmp_path: Path) -> None:
    store, journal = EpisodeStore(tmp_path / "episodes", mode="open_or_create"), Journal(tmp_path / "events.jsonl")
    for number in range(12):
        store.append(episode(number, robot="one"))
    store.append(episode(1, robot="two"))
    for _ in range(2):
        journal.append(
            "phases", robots={"one": {"collecting": 3600, "resting": 1800}, "two": {"not started": 50, "waiting": 3600}}
        )
    journal.append("fault", robot="two", fault="motor", kind="fault")
    journal.append("person_needed", robot="two", detail="hot")
    journal.append("deployed", done="promoted", sentence="it is not worse")
    for took_s in (0.03, 0.04, 3.0):
        waits = Histogram()
        waits.add(took_s)
        journal.append("asked", robot="one", fallbacks=1, ended=1, saved=600, waits={"subgoal": waits.plain()})
    report = fleet_report(tmp_path)
    one, two, everybody = report.robots
    assert (one.hours, one.episodes, one.an_hour, one.calls_a_day) == (3.0, 12, 4.0, 0.0)
    assert (two.hours, two.faults, two.calls, two.calls_a_day) == (2.0, 1, 1, 12.0)
    assert (everybody.hours, everybody.episodes, everybody.judged.successes) == (5.0, 13, 6)
    assert report.lost_s == {"waiting": 7200, "resting": 3600}
    assert sum(piece.judged.trials for piece in report.over_time) == 13
    assert len(report.over_time) == 7
    text = "\n".join(report.tables())
    assert "all    5.00   13        2.6      6/13 = .46 [.23, .71]  1       1      4.8" in text
    assert "waiting       2.00   40.0%" in text
    assert "promoted: it is not worse" in text
    assert "subgoal  3        0.05 s       5 s" in text
    assert "3 answers of models that were away" in text
    assert "0.10 robot-hours saved, by 3 attempts that ended when success was seen" in text


def test_hours_that_nobody_journaled_are_unknown_and_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no fleet's run"):
        fleet_report(tmp_path)
    EpisodeStore(tmp_path / "episodes", mode="open_or_create").append(episode(0))
    Journal(tmp_path / "events.jsonl").append("episode", robot="one")
    assert fleet_report(tmp_path).robots[0].an_hour is None
    assert "unknown" in fleet_report(tmp_path).tables()[0]


def test_the_journal_holds_each_second_of_a_robot_once(tmp_path: Path) -> None:
    clock, journal = Clock(), Journal(tmp_path / "events.jsonl")
    boss = supervisor(clock=clock)
    times = PhaseTimes(boss, journal, clock)
    boss.hear("one", beat())
    for _ in range(10):
        clock.now_s += PHASES_EVERY_S / 4
        boss.hear("one", beat())
        times.tick()
    times.write()
    written = [event["robots"]["one"].get("collecting", 0.0) for event in read_journal(journal.path, "phases")]
    assert written == [PHASES_EVERY_S, PHASES_EVERY_S, PHASES_EVERY_S / 2]
