from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from soar.collect.config import CollectConfig
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError, RobotFault
from soar.event_log import Journal, read_journal
from soar.fleet.processes import run_workers
from soar.robots import Fault
from soar.testing import FakePolicy
from soar.types import Episode

from .collecting import OPEN, PROVENANCE, PUT, STEPS, collect_and_die_once, collector


def stored(folder: Path) -> list[Episode]:
    store = EpisodeStore(folder / "episodes")
    return [store.read(record.id) for record in store.episodes()]


def events(folder: Path) -> list[str]:
    return [entry["event"] for entry in read_journal(folder / "events.jsonl")]


def assert_equal_episodes(first: list[Episode], second: list[Episode]) -> None:
    assert [episode.id for episode in first] == [episode.id for episode in second]
    for one, other in zip(first, second, strict=True):
        assert (one.instruction, one.provenance, one.labels) == (other.instruction, other.provenance, other.labels)
        np.testing.assert_array_equal(one.actions_TD, other.actions_TD)
        np.testing.assert_array_equal(one.images_THWC, other.images_THWC)
        for a, b in zip(one.subgoals, other.subgoals, strict=True):
            np.testing.assert_array_equal(a.image_HWC, b.image_HWC)


def test_an_episode_is_stored_whole_with_its_label_and_provenance(tmp_path: Path) -> None:
    seen = []
    assert collector(tmp_path, truth=lambda task: task == PUT).run(2, on_episode=seen.append) == 2
    first, second = stored(tmp_path)
    assert [episode.id for episode in seen] == [first.id, second.id]
    assert {first.instruction, second.instruction} == {PUT.instruction, OPEN.instruction}  # UCB spreads the attempts
    assert first.images_THWC.shape == (STEPS + 1, 16, 16, 3)
    assert [subgoal.step for subgoal in first.subgoals] == [0, STEPS // 2]
    assert first.provenance.seed != second.provenance.seed
    assert dataclasses.replace(first.provenance, seed=7) == PROVENANCE
    judged, truth, done = first.labels
    assert (judged.source, judged.success) == ("fake-vlm", False)
    assert (truth.source, truth.success) == ("simulator", first.instruction == PUT.instruction)
    # Whatever was commanded: what is done at the end is written down, and is no verdict.
    assert (done.source, done.success, done.answer) == ("instruction:simulator", None, PUT.instruction)
    assert events(tmp_path) == ["proposal", "episode"] * 2


@pytest.mark.parametrize(
    ("truths", "said", "achieved"),
    [
        ((False, True), "undone before it began", True),
        ((True, True), "done before it began", False),
        ((None, True), "", True),  # nobody knew
        ((True, False), "done before it began", False),
    ],
)
def test_what_was_done_before_an_attempt_began_is_not_its_doing(
    tmp_path: Path, truths: tuple[bool | None, bool], said: str, achieved: bool
) -> None:
    asked = iter(truths)
    collector(tmp_path, truth=lambda task: next(asked, False)).run(1)
    (record,) = EpisodeStore(tmp_path / "episodes").episodes()
    assert record.labels[1].answer == said
    assert (record.simulator_success, record.achieved) == (truths[1], achieved)


def test_the_judge_sees_the_final_frame(tmp_path: Path) -> None:
    frames: list[np.ndarray] = []
    collector(tmp_path, script=lambda image, question: bool(frames.append(image)) or None).run(1)
    (episode,) = stored(tmp_path)
    assert episode.labels[0].success is None
    difference = np.abs(episode.images_THWC[-1].astype(int) - frames[-1].astype(int))
    assert difference.mean() < 5  # the stored one went through JPEG
    assert np.abs(episode.images_THWC[0].astype(int) - frames[-1].astype(int)).mean() > difference.mean()


@pytest.mark.parametrize("kind", ["motor", "camera", "connection"])
def test_a_fault_drops_the_episode_and_collection_goes_on(tmp_path: Path, kind: str) -> None:
    def always_move(seed: int) -> FakePolicy:
        return FakePolicy((0.01, 0, 0, 0, 0, 0, 1))

    fault = Fault(kind=kind, step=STEPS + 3, reboots=1)
    assert collector(tmp_path, faults=[fault], policy=always_move).run(3) == 3
    episodes = stored(tmp_path)
    assert [len(episode.actions_TD) for episode in episodes] == [STEPS] * 3
    assert [len(episode.provenance.faults) for episode in episodes] == [0, 1, 0]
    assert episodes[1].provenance.faults[0].startswith(f"{kind}: ")
    (dropped,) = read_journal(tmp_path / "events.jsonl", "fault")
    assert (dropped["kind"], dropped["index"]) == (kind, 1)
    (recovered,) = read_journal(tmp_path / "events.jsonl", "recovered")
    assert recovered["reboots"] == 1


def test_a_fault_that_needs_several_reboots_gets_them(tmp_path: Path) -> None:
    assert collector(tmp_path, faults=[Fault(kind="motor", step=0, reboots=3)]).run(1) == 1
    assert read_journal(tmp_path / "events.jsonl", "recovered")[0]["reboots"] == 3


@pytest.mark.parametrize("reboots", [None, 4])
def test_a_robot_beyond_recovery_ends_the_collection_and_keeps_what_is_stored(tmp_path: Path, reboots: int | None) -> None:
    with pytest.raises(RobotFault) as raised:
        collector(tmp_path, faults=[Fault(kind="motor", step=STEPS + 1, reboots=reboots)]).run(3)
    assert raised.value.kind == "unrecoverable"
    assert len(stored(tmp_path)) == 1
    assert events(tmp_path)[-2:] == ["fault", "unrecoverable"]


def test_a_policy_that_went_mad_is_given_up_without_storing_anything(tmp_path: Path) -> None:
    with pytest.raises(RobotFault, match="4 episodes in a row were dropped: unsafe: refused an action"):
        collector(tmp_path, policy=lambda seed: FakePolicy([float("nan")] * 7)).run(1)
    assert stored(tmp_path) == []
    assert events(tmp_path).count("fault") == 4


def test_a_dropped_episode_is_tried_again_with_other_random_numbers(tmp_path: Path) -> None:
    faulty = collector(tmp_path / "a", faults=[Fault(kind="motor", step=3)])
    faulty.run(1)
    collector(tmp_path / "b").run(1)
    assert stored(tmp_path / "a")[0].provenance.seed != stored(tmp_path / "b")[0].provenance.seed


def test_resumed_collection_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    assert collector(tmp_path / "a").run(4) == 4
    asked = iter([False, False, True])
    assert collector(tmp_path / "b").run(4, stopping=lambda: next(asked)) == 2
    assert collector(tmp_path / "b").run(4) == 4
    assert_equal_episodes(stored(tmp_path / "a"), stored(tmp_path / "b"))


@pytest.mark.parametrize("deleted", [0, 1, 2])
def test_a_deleted_episode_is_made_up_for_by_a_new_one_at_the_first_attempt(tmp_path: Path, deleted: int) -> None:
    assert collector(tmp_path).run(3) == 3
    ids = [episode.id for episode in stored(tmp_path)]
    EpisodeStore(tmp_path / "episodes").delete(ids[deleted])
    assert collector(tmp_path).run(3) == 3
    left = [id for id in ids if id != ids[deleted]]
    last = max(int(id[-5:]) for id in left) + 1
    assert [episode.id for episode in stored(tmp_path)] == [*left, f"{ids[0][:-5]}{last:05d}"]
    assert events(tmp_path).count("proposal") == 4, "none was rolled out in vain"


def test_a_killed_collector_repeats_nothing_and_loses_nothing_finished(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "workers.jsonl")
    item = {"folder": str(tmp_path / "a"), "episodes": 4}
    reported: list[str] = []
    results = run_workers(
        collect_and_die_once, [item], workers=1, journal=journal, on_report=lambda i, fields: reported.append(fields["id"])
    )
    assert results == [{"collected": 4}]
    assert len(read_journal(journal.path, "worker_died")) == 1
    collector(tmp_path / "b").run(4)
    assert_equal_episodes(stored(tmp_path / "a"), stored(tmp_path / "b"))
    assert reported == [episode.id for episode in stored(tmp_path / "b")[2:]]


def test_only_episodes_of_the_same_run_round_and_robot_count(tmp_path: Path) -> None:
    collector(tmp_path).run(1)
    for change in ({"run": "other"}, {"round": 1}, {"robot": "other"}):
        other = collector(tmp_path, provenance=dataclasses.replace(PROVENANCE, **change))  # type: ignore[arg-type]
        assert other.collected() == 0
        assert other.run(1) == 1
    assert collector(tmp_path).collected() == 1


def test_tasks_of_missing_objects_are_off_limits(tmp_path: Path) -> None:
    def no_block(image: np.ndarray, question: str) -> bool | None:
        return "Is there a" in question and "green block" not in question

    collector(tmp_path, script=no_block, watch_objects=True).run(3)
    assert {episode.instruction for episode in stored(tmp_path)} == {OPEN.instruction}
    (missing,) = read_journal(tmp_path / "events.jsonl", "missing")
    assert missing["objects"] == ["green block"]


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        CollectConfig(reboots=0)
