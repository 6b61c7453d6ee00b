"""A new policy for robots that run: who has it, when, and what becomes of one that is bad."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from soar.errors import CheckpointError, ConfigError, SoarError, UnknownNameError
from soar.evaluation.canary import canary_verdict
from soar.event_log import Journal, read_journal
from soar.fleet.deploying import CHUNK, Deployments
from soar.fleet.deployment import Tally, fetched, manifest_of, read_manifest, tally_of
from tests.fleet.tiny_policy import tiny_policy

ROBOTS = ("one", "two", "three")


def deployments(folder: Path, round: int = 0) -> Deployments:
    journal = Journal(folder / "events.jsonl")
    return Deployments(folder / "deployed", journal, ROBOTS, round=round, first="old", decide=canary_verdict)


def episodes(
    there: Deployments, policy: str, successes: int, failures: int, scene: str = "", limited: int | None = None
) -> None:
    """Let a policy make episodes of 20 steps, as a coordinator that stores them says."""
    for success in [True] * successes + [False] * failures:
        said = {"policy": policy, "success": success, "scene": scene, "steps": 20, "limited": limited}
        there._journal.append("episode", **said)
        there.count(policy, scene, tally_of(said))


def faults(there: Deployments, policy: str, count: int) -> None:
    for _ in range(count):
        there._journal.append("fault", policy=policy)
        there.count(policy, "", Tally(faults=1))


def versions(there: Deployments) -> list[str]:
    return [there.for_robot(robot) for robot in ROBOTS]


def test_a_policy_that_a_canary_does_not_find_worse_is_for_all_and_a_new_coordinator_knows_it(tmp_path: Path) -> None:
    there = deployments(tmp_path)
    episodes(there, "old", 10, 30)
    version = there.begin(tiny_policy(tmp_path / "new.onnx", "new"), "two", 8).version
    assert versions(there) == ["", version, ""]
    episodes(there, "new", 1, 4)
    faults(there, "new", 1)
    there = deployments(tmp_path)  # killed, and begun again, while the policy is tried
    assert versions(there) == ["", version, ""]
    episodes(there, "old", 1, 1)
    assert not there.now.done  # type: ignore[union-attr]
    episodes(there, "new", 1, 1)
    assert versions(there) == [version] * 3
    (event,) = read_journal(tmp_path / "events.jsonl", "deployed")
    assert event["done"] == "promoted"
    assert "candidate 2/7" in event["sentence"]
    assert "deployed 11/42" in event["sentence"]
    assert versions(deployments(tmp_path)) == [version] * 3
    assert versions(deployments(tmp_path, round=1)) == [""] * 3


@pytest.mark.parametrize("again", [False, True])
def test_a_canary_at_a_hard_scene_is_compared_with_robots_at_that_scene_alone(tmp_path: Path, again: bool) -> None:
    there = deployments(tmp_path)
    episodes(there, "old", 60, 0, "easy")
    episodes(there, "old", 1, 19, "hard")
    there.begin(tiny_policy(tmp_path / "new.onnx", "new"), "two", 20)
    episodes(there, "new", 1, 18, "hard")
    if again:
        there = deployments(tmp_path)
    episodes(there, "new", 0, 1, "hard")
    assert there.now is not None
    assert there.now.done == "promoted"
    assert "candidate 1/20" in there.now.sentence
    assert "deployed 1/20" in there.now.sentence


@pytest.mark.parametrize(
    ("successes", "failures", "faulty", "why"),
    [(0, 20, 0, "significantly worse"), (9, 4, 7, "7/20 = .35"), (15, 3, 2, "is not significantly worse")],
)
def test_a_canary_that_is_worse_or_faults_more_often_rolls_the_policy_back(
    tmp_path: Path, successes: int, failures: int, faulty: int, why: str
) -> None:
    there = deployments(tmp_path)
    episodes(there, "old", 30, 10)
    faults(there, "old", 1)
    there.begin(tiny_policy(tmp_path / "new.onnx", "new"), "one", 20)
    faults(there, "new", faulty)
    episodes(there, "new", successes, failures)
    assert there.now is not None
    assert why in there.now.sentence
    assert (there.now.done == "promoted") == why.startswith("is not")
    assert versions(there) == [there.now.version if why.startswith("is not") else ""] * 3


@pytest.mark.parametrize(
    ("usual", "met", "done", "why"),
    [
        (
            1,
            3,
            "rolled back",
            "Kept old: limits changed 12 of 80 actions (15.0 %) of one with new; before, 10 of 200 actions (5.0 %)",
        ),
        (1, 2, "promoted", "Limits changed 8 of 80 actions (10.0 %) of the canary; before, 10 of 200 actions (5.0 %)."),
        (0, 1, "promoted", "Limits changed 4 of 80 actions (5.0 %) of the canary; before, 0 of 200 actions (0.0 %)."),
        (
            None,
            20,
            "promoted",
            "Limits changed 80 of 80 actions (100.0 %) of the canary; before, an unknown share of the actions.",
        ),
        (
            1,
            None,
            "promoted",
            "Limits changed an unknown share of the actions of the canary; before, 10 of 200 actions (5.0 %).",
        ),
    ],
)
@pytest.mark.parametrize("again", [False, True])
def test_a_canary_that_meets_the_limits_far_more_often_than_robots_did_before_rolls_the_policy_back(
    tmp_path: Path, usual: int | None, met: int | None, done: str, why: str, again: bool
) -> None:
    there = deployments(tmp_path)
    episodes(there, "old", 5, 5, limited=usual)
    there.begin(tiny_policy(tmp_path / "new.onnx", "new"), "one", 4)
    episodes(there, "new", 2, 1, limited=met)
    if again:
        there = deployments(tmp_path)
    episodes(there, "new", 0, 1, limited=met)
    assert there.now is not None
    assert (there.now.done, why in there.now.sentence) == (done, True), there.now.sentence


def test_a_decision_that_a_full_disk_keeps_from_being_written_is_made_after_the_next_attempt(tmp_path: Path) -> None:
    there = deployments(tmp_path)
    there.begin(tiny_policy(tmp_path / "new.onnx", "new"), "two", 2)
    journal = tmp_path / "events.jsonl"
    kept = journal.rename(tmp_path / "kept.jsonl")
    journal.mkdir()
    for _ in range(2):
        there.count("new", "", Tally(episodes=1))
    assert there.now is not None
    assert there.now.done == ""
    journal.rmdir()
    kept.rename(journal)
    there.count("new", "", Tally(episodes=1))
    assert there.now.done == "promoted"


def test_a_policy_for_all_at_once_is_tried_by_nobody_however_full_the_disk_gets(tmp_path: Path) -> None:
    there, journal, source = deployments(tmp_path), tmp_path / "events.jsonl", tiny_policy(tmp_path / "new.onnx", "new")
    there._journal.append("note", text="x" * 10**6)  # longer than all that is copied
    size, before = journal.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 250, before[1]))  # room for one of two lines
    try:
        with pytest.raises(SoarError, match="cannot write the journal"):
            there.begin(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    for known in (there, deployments(tmp_path)):
        assert (versions(known), known.trying, journal.stat().st_size) == ([""] * 3, False, size)
    version = there.begin(source).version
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:50])  # the power went before all of it was there
    again = deployments(tmp_path)
    assert (versions(again), again.trying) == ([version] * 3, False)
    assert again.now == there.now


def test_a_policy_that_its_canary_cannot_use_is_rolled_back_and_one_that_another_robot_cannot_use_is_not(
    tmp_path: Path,
) -> None:
    there = deployments(tmp_path)
    first = there.begin(tiny_policy(tmp_path / "first.onnx", "first")).version
    there.refused("two", first, "came damaged")
    assert versions(there) == [first] * 3
    second = there.begin(tiny_policy(tmp_path / "second.onnx", "second"), "one")
    there.refused("one", second.version, "came damaged")
    assert versions(there) == [first] * 3
    assert second.sentence == "one cannot use it: came damaged"
    third = there.begin(tiny_policy(tmp_path / "third.onnx", "third"), "one")
    there.begin(tmp_path / "second.onnx", "two")  # another one is given up
    assert [event["done"] for event in read_journal(tmp_path / "events.jsonl", "deployed")][-1] == "rolled back"
    assert third.version not in versions(there)
    assert versions(there) == [first, second.version, first]


def test_a_policy_that_cannot_act_is_refused_before_any_robot_has_it(tmp_path: Path) -> None:
    there = deployments(tmp_path)
    (tmp_path / "torn.onnx").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="damaged or not in ONNX"):
        there.begin(tmp_path / "torn.onnx")
    with pytest.raises(CheckpointError, match=r"policy nan cannot act: it returned \(1, 7\)"):
        there.begin(tiny_policy(tmp_path / "nan.onnx", "nan", [float("nan")] * 7))
    with pytest.raises(ConfigError, match="no policy is there"):
        there.begin(tmp_path)
    with pytest.raises(ConfigError, match="already"):
        there.begin(tiny_policy(tmp_path / "old.onnx", "old"))
    with pytest.raises(UnknownNameError, match="unknown robot 'four'"):
        there.begin(tiny_policy(tmp_path / "new.onnx", "new"), "four")
    assert versions(there) == [""] * 3
    assert not read_journal(tmp_path / "events.jsonl")


def sent(there: Deployments, version: str) -> Callable[[int, int], bytes]:
    return lambda number, offset: there.chunk(version, number, offset)


def test_a_policy_arrives_whole_or_not_at_all(tmp_path: Path) -> None:
    there, cache = deployments(tmp_path), tmp_path / "cache"
    source = tiny_policy(tmp_path / "new.onnx", "new", [0.001] * 7)
    large = tmp_path / "large"
    large.mkdir()
    (large / "config.json").write_text("{}")
    (large / "weights").mkdir()
    (large / "weights" / "part").write_bytes(bytes(range(256)) * (CHUNK // 100))  # of several chunks
    version = there.begin(source).version
    asked: list[int] = []

    def manifest() -> Any:
        asked.append(1)
        return json.loads(json.dumps(asdict(there.manifest(version))))

    with pytest.raises(CheckpointError, match=r"new\.onnx came damaged"):
        fetched(version, cache, manifest, lambda number, offset: b"\0" + there.chunk(version, number, offset)[1:])
    with pytest.raises(CheckpointError, match="came damaged"):
        fetched(version, cache, manifest, lambda number, offset: b"")
    assert not list(cache.iterdir())
    copy = fetched(version, cache, manifest, sent(there, version))
    assert copy.read_bytes() == source.read_bytes()
    assert fetched(version, cache, manifest, sent(there, version)) == copy
    assert len(asked) == 3
    files = manifest_of(large)
    read = {number: (large / file.name).read_bytes() for number, file in enumerate(files.files)}
    copy = fetched(files.version, cache, lambda: asdict(files), lambda number, offset: read[number][offset : offset + CHUNK])
    assert manifest_of(copy) == files
    shutil.rmtree(tmp_path / "deployed")
    with pytest.raises(ConfigError, match="no number 1"):
        there.chunk(version, 1, 0)
    with pytest.raises(UnknownNameError, match="unknown policy"):
        there.chunk("../..", 0, 0)


@pytest.mark.parametrize("content", [b"", b"damaged", None])
@pytest.mark.parametrize("several", [False, True])
def test_a_copy_that_was_damaged_on_the_disk_is_fetched_again(tmp_path: Path, content: bytes | None, several: bool) -> None:
    source, cache = tiny_policy(tmp_path / "new.onnx", "new"), tmp_path / "cache"
    base = tmp_path / "several"
    if several:
        (base / "weights").mkdir(parents=True)
        (base / "config.json").write_text("{}")
        source = source.rename(base / "weights" / "part")
    manifest, asked = manifest_of(base if several else source), list[int]()

    def read(number: int, offset: int) -> bytes:
        asked.append(number)
        return ((base if several else tmp_path) / manifest.files[number].name).read_bytes()[offset:]

    def get() -> Path:
        return fetched(manifest.version, cache, lambda: asdict(manifest), read)

    copy, name = get(), "weights/part" if several else ""
    part = copy / name if name else copy
    for _ in range(2):
        assert part.read_bytes() == source.read_bytes()
        assert asked == list(range(len(manifest.files))), "once, and not while it is whole"
        asked.clear()
        if content is None:
            part.unlink()
        else:
            part.write_bytes(content)
        assert get() == copy
        assert get() == copy
    assert manifest_of(copy) == manifest
    assert [path.name for path in cache.iterdir()] == [manifest.version], "nothing else is left"


def test_a_copy_is_on_the_disk_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, synced = tiny_policy(tmp_path / "new.onnx", "new"), list[int]()
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    manifest = manifest_of(source)
    copy = fetched(manifest.version, tmp_path / "cache", lambda: asdict(manifest), lambda number, at: source.read_bytes()[at:])
    assert synced == [path.stat().st_ino for path in (copy, copy.parent, tmp_path / "cache")]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", "a\\x", "a\0x"])
def test_a_file_that_would_not_lie_in_the_policys_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="would not lie in its folder"):
        read_manifest({"files": [{"name": name, "size": 1, "sha256": "0"}]})
    with pytest.raises(CheckpointError, match="no version"):
        fetched("../../etc", tmp_path, dict, lambda number, offset: b"")
