"""The page about a run: what the journal and the store say, read as they grow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from soar.console.run_facts import changes_of, lineage_of, phase_of, pieces_of, tasks_of
from soar.console.run_journal import RunJournals
from soar.console.sources import open_sources
from soar.episodes import EpisodeStore
from soar.episodes.browsing import Browser
from soar.episodes.encoded import encode
from soar.evaluation.practice import attempts_of
from soar.event_log import Journal
from soar.progress import ProgressFile
from soar.tasks.selection import UCBSelector
from tests.console.building import NOW_S, TASKS, Client, console, episode, make_run


def test_a_journal_is_read_as_it_grows_and_torn_lines_are_left_out(tmp_path: Path) -> None:
    source = open_sources([str(make_run(tmp_path, 10))])["run"]
    journals = RunJournals()
    first = journals.of(source)
    assert first is not None
    assert (first.counts["proposal"], first.sums["asked"], first.fault_kinds["motor"]) == (10, 30, 1)
    read = first.read
    path = tmp_path / "run" / "events.jsonl"
    with path.open("ab") as file:
        file.write(b'{"schema": 1, "event": "fau')
    assert journals.of(source) is first
    assert first.read == read
    with path.open("ab") as file:
        file.write(b'lt", "time_s": 5, "kind": "camera"}\nnonsense\n[1]\n{"event": 3}\n')
    Journal(path).append("looks", robot="arm-0", index=4, steps="no list")
    again = journals.of(source)
    assert again is not None
    assert again.fault_kinds == {"motor": 1, "camera": 1}
    path.unlink()
    Journal(path).append("fault", kind="other")
    fresh = journals.of(source)
    assert fresh is not None
    assert fresh.fault_kinds == {"other": 1}


def test_tasks_have_their_rates_their_course_and_their_place_in_equation_1(tmp_path: Path) -> None:
    run = make_run(tmp_path, 31)
    records = EpisodeStore(run / "episodes").episodes()
    facts = tasks_of(attempts_of(Browser(run / "episodes")))
    assert [one.task for one in facts] == list(TASKS)
    counts = {task: sum(record.instruction == task for record in records) for task in TASKS}
    for one in facts:
        mine = [record for record in records if record.instruction == one.task]
        assert one.judged.trials == len(mine)
        assert one.judged.successes == sum(record.success is True for record in mine)
        assert one.undecided == sum(record.success is None for record in mine)
        assert one.ucb == UCBSelector().scores(TASKS, counts)[one.task]
        assert sum(rate.trials for _, rate in one.pieces) == len(mine)
    pieces = pieces_of(Browser(run / "episodes").table())
    assert [rate.trials for _, rate in pieces] == [4] * 7 + [3]


def test_what_happened_since_yesterday_stands_beside_the_day_before(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    ages_h = [1, 2, 30, 40, 41, 100]
    store.append([replace(encode(episode(n)), created_s=NOW_S - 3600 * age) for n, age in enumerate(ages_h)])
    rows = {name: (now, before) for name, now, before in changes_of(Browser(tmp_path / "s").table(), None, NOW_S)}
    assert rows["episodes"] == ("2", "3")


def test_how_far_a_run_is_and_how_long_it_will_take(tmp_path: Path) -> None:
    run = make_run(tmp_path, 2)
    source = open_sources([str(run)])["run"]
    assert phase_of(source) is None
    ProgressFile(run, lambda *said, **more: None)("collect, round 1", 5, 50, "3 judged successes")
    path = run / "live" / "progress.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"done": 15, "time_s": said["begun_s"] + 100}))
    phase = phase_of(source, clock=lambda: said["begun_s"] + 101)
    assert phase is not None
    assert (phase.left_s, phase.fresh, phase.done) == (350.0, True, 15)
    later = phase_of(source, clock=lambda: said["begun_s"] + 100_000)
    assert later is not None
    assert not later.fresh
    path.write_text('{"done": []}')
    assert phase_of(source) is None


@pytest.mark.parametrize(
    ("config", "threshold"),
    [
        ("command: soar improve\npreset: {improvement: {collection: {threshold: 0.3}}}\nfleet: {preset: laptop, set: []}", 0.3),
        ("command: soar collect\nsettings: {collection: {threshold: 0.2}}", 0.2),
        ("command: soar fleet up\nfleet: {preset: laptop, set: [improvement.collection.threshold=0.4]}", 0.4),
        ("command: soar fleet up\nfleet: {preset: /dev/zero, set: []}", 0.5),
        ("command: soar improve\npreset: 3", 0.5),
    ],
)
def test_the_audit_asks_near_the_threshold_that_the_run_uses(tmp_path: Path, config: str, threshold: float) -> None:
    run = make_run(tmp_path, 1)
    (run / "config.yaml").write_text(config)
    with console(run) as url:
        assert f'data-threshold="{threshold}"' in Client(url).page("/s/run/audit")


def test_policies_are_named_as_they_name_themselves(tmp_path: Path) -> None:
    from soar.policies.learned import LearnedPolicy
    from tests.improve.tiny import random_policy

    run = make_run(tmp_path, 3)
    policy = random_policy(run / "policies" / "000")
    source = open_sources([str(run)])["run"]
    nodes = lineage_of(source, None, None)
    assert [node["id"] for node in nodes] == [LearnedPolicy.load(policy).id]
    assert nodes[0]["state"] == "deployed before"


def test_the_page_says_what_the_run_came_to(tmp_path: Path) -> None:
    run = make_run(tmp_path, 30)
    with console(run) as url:
        text = Client(url).page("/s/run/run")
    for part in (
        "Judged success over 30 episodes",
        *TASKS,
        "Candidate 1 is promoted: .6 and .4.",
        "joint 3 is hot",
        "120 (90 what is feasible, 0 on the way, 30 at the end)",
        "tokens",
        "unknown",
        "5 min 21 s",
        "sim:scene1",
        "last 24 h",
    ):
        assert part in text
    with console(run / "nothing-yet", wait=True) as url:
        assert "There are no episodes yet" in Client(url).page("/s/nothing-yet/run")


def test_a_store_that_is_being_made_has_no_episodes_yet(tmp_path: Path) -> None:
    run = make_run(tmp_path, 1)
    (run / "episodes" / "episodes.lance").rename(tmp_path / "later")  # the table that is made last
    with console(run) as url:
        client = Client(url)
        assert "There are no episodes yet" in client.page("/s/run/run")
        (tmp_path / "later").rename(run / "episodes" / "episodes.lance")
        assert "There are no episodes yet" not in client.page("/s/run/run")


def test_what_models_and_computers_cost_is_added_up_and_what_nobody_told_is_said_to_be_unknown(tmp_path: Path) -> None:
    run = make_run(tmp_path, 2)
    journal = Journal(run / "events.jsonl")
    journal.append("spent", robot="arm-0", index=0, calls=3, tokens=1200, untold=0)
    of_a_fleet = {"feasible": 4, "looks": 2, "ended": 1, "saved": 90, "calls": 2, "tokens": 800, "untold": 1}
    journal.append("asked", robot="there", **of_a_fleet)
    journal.append("phase", name="train, round 1", seconds=7200.0, cpu_seconds=1800.0, device="cuda")
    for index, (ended, saved) in enumerate([(True, 60), (True, 30), (False, 0)]):
        about = {"robot": "arm-9", "index": index, "steps": [], "probabilities": []}
        journal.append("looks", **about, ended=ended, saved=saved)
    with console(run) as url:
        text = Client(url).page("/s/run/run")
    for part in (
        "2,000 in 4 calls; 1 more told none, prompts included",
        "14 (10 what is feasible, 2 on the way, 2 at the end)",
        "<dt>robot-hours saved</dt><dd>0.01 h, by 3 attempts that looks ended",
        "<dt>CPU-hours</dt><dd>0.50, of phases that have ended",
        "<dt>GPU-hours (cuda)</dt><dd>2.00, of phases that have ended",
    ):
        assert part in text
