"""A robot's line to its coordinator: what it brings there, and how long it may move without having heard of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from soar.collect.models import Models
from soar.collect.preset import load_collection
from soar.evaluation.canary import canary_verdict
from soar.event_log import Journal, read_journal
from soar.fleet.config import FleetConfig, FleetRobot
from soar.fleet.coordinator import Fleet, coordinator_application
from soar.fleet.deploying import Deployments
from soar.fleet.episode_bytes import unpack_episodes
from soar.fleet.link import LeaseOverError, Link
from soar.fleet.spool import Spool
from soar.fleet.tokens import Tokens
from soar.remote.wire import TOKEN
from tests.fleet.test_ledger import Clock, episode, ledger
from tests.fleet.test_supervision import supervisor
from tests.serving.running import running

SECRET = "the-token-of-all-who-ask"


@contextmanager
def coordinator(folder: Path) -> Iterator[tuple[Fleet, str]]:
    journal = Journal(folder / "events.jsonl")
    config = FleetConfig(robots={name: FleetRobot(workcell="sim:scene1", at="join") for name in ("one", "two")})
    fleet = Fleet(
        config=config,
        collection=load_collection("laptop", ()).improvement.collection,
        models=Models(policy="p", subgoals="s", vlm="v"),
        ledger=ledger(folder),
        supervisor=supervisor(),
        journal=journal,
        deployments=Deployments(folder / "deployed", journal, config.robots, round=0, first="old", decide=canary_verdict),
    )
    with running(coordinator_application(fleet, Tokens(operator=SECRET, others={}))) as url:
        yield fleet, url


def test_an_episode_that_cannot_be_read_keeps_none_behind_it_from_the_store_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, SECRET)
    spool = Spool(tmp_path / "spool", 100)
    (spool.folder / "000000000000.episode").mkdir()  # a folder cannot be read whoever asks
    for number in range(3):
        spool.append(episode(number))
    with coordinator(tmp_path) as (fleet, url):
        link = Link(url, "one")
        link.join("place")
        link.deliver(spool)
        link.end(60.0)
        assert (fleet.ledger.total(), spool.waiting()) == (3, [])
    (told,) = read_journal(tmp_path / "events.jsonl", "refused")
    assert told["detail"] == "cannot be read: Is a directory"
    assert told["file"] == str(spool.folder / "refused" / "000000000000.episode")
    assert Path(told["file"]).is_dir()


def test_one_that_cannot_be_moved_either_stays_where_it_is_and_counts_as_on_its_way_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, SECRET)
    spool = Spool(tmp_path / "spool", 100)
    (bad := spool.folder / "000000000000.episode").mkdir()
    (spool.folder / "refused").write_text("no folder")
    spool.append(episode(0))
    with coordinator(tmp_path) as (fleet, url):
        link = Link(url, "one")
        link.join("place")
        link.deliver(spool)
        link.end(60.0)
        assert (fleet.ledger.total(), spool.waiting()) == (1, [bad])
        assert fleet.supervisor.waiting() == 0
    (told,) = read_journal(tmp_path / "events.jsonl", "refused")
    assert (told["file"], "it cannot be moved into" in told["detail"]) == (str(bad), True)


def test_what_was_refused_in_several_processes_is_kept_whole(tmp_path: Path) -> None:
    for number in range(3):  # each process counts from 1
        spool = Spool(tmp_path, 100)
        spool.append(episode(number))
        (path,) = spool.waiting()
        spool.refuse(path)
    kept = sorted((tmp_path / "refused").iterdir())
    assert [path.name for path in kept] == ["000000000001-2.episode", "000000000001-3.episode", "000000000001.episode"]
    ids = sorted(unpack_episodes(path.read_bytes(), most=1)[0].id for path in kept)
    assert ids == [episode(number).id for number in range(3)]


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="no clock here counts while a computer is suspended")
def test_a_lease_ends_while_the_computer_is_suspended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, SECRET)
    clock, real, slept = Clock(), time.clock_gettime, 0.0
    # Linux' monotonic clock stands still in a suspended computer, and this one does not.
    monkeypatch.setattr(time, "clock_gettime", lambda which: real(which) + (slept if which == time.CLOCK_BOOTTIME else 0.0))
    with coordinator(tmp_path) as (fleet, url):
        link = Link(url, "one")
        link.join("place")
        link.gate()
        link.end(60.0)
        slept, clock.now_s = 660.0, clock.now_s + 660.0
        assert not link.may_begin(1.0)
        with pytest.raises(LeaseOverError, match="the coordinator was not heard of"):
            link.gate()
        assert fleet.ledger.held("one") is None
