"""One driver a robot, one copy of an episode."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from soar.episodes import schema
from soar.episodes.encoded import EncodedEpisode, encode
from soar.episodes.store import EpisodeStore
from soar.errors import SoarError, StoreError, UnknownNameError
from soar.event_log import Journal
from soar.files import write_json
from soar.fleet.episode_bytes import Delivery, pack_episodes, unpack_episodes
from soar.fleet.leases import GRACE_S, Holder, LedgerRefusedError
from soar.fleet.ledger import Ledger, episode_prefix
from soar.fleet.spool import Spool
from soar.types import Episode, Label, Provenance

HERE, THERE = Holder(host="here", pid=1, nonce="a"), Holder(host="there", pid=2, nonce="b")


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def ledger(folder: Path, clock: Callable[[], float] | None = None) -> Ledger:
    return Ledger(folder / "ledger.json", folder / "episodes", ["one", "two"], run="run", lease_s=60.0, clock=clock or Clock())


def episode(number: int, *, epoch: int = 1, robot: str = "one", task: str = "open the drawer", seed: int = 0) -> Episode:
    images = np.full((4, 8, 8, 3), number % 256, np.uint8)
    return Episode(
        id=f"{episode_prefix('run', 0, robot, epoch)}{number:05d}",
        scene="scene",
        instruction=task,
        images_THWC=images,
        states_TD=np.zeros((4, 7), np.float32),
        actions_TD=np.zeros((3, 7), np.float32),
        labels=(Label(success=number % 2 == 0, probability=0.5, source="vlm"),),
        provenance=Provenance(policy="policy", robot=robot, run="run", round=0, seed=seed),
    )


def encoded(number: int, **named: object) -> EncodedEpisode:
    return encode(episode(number, **named))  # type: ignore[arg-type]


def test_a_robot_that_is_driven_is_refused_to_another_until_its_lease_and_the_grace_are_over(tmp_path: Path) -> None:
    clock = Clock()
    shared = ledger(tmp_path, clock)
    assert shared.acquire("one", HERE) == 1
    clock.now_s += 50
    shared.renew("one", 1)
    clock.now_s += 60 + GRACE_S - 0.1
    with pytest.raises(LedgerRefusedError, match="driven by process 1 on here, epoch 1"):
        shared.acquire("one", THERE)
    clock.now_s += 0.2
    assert shared.held("one") is None
    assert shared.acquire("one", THERE) == 2
    with pytest.raises(LedgerRefusedError, match="epoch 1 is over; it is driven by process 2 on there"):
        shared.renew("one", 1)
    with pytest.raises(LedgerRefusedError, match="epoch 1 is over"):
        shared.commit("one", 1, [encoded(0)])
    assert EpisodeStore(tmp_path / "episodes").count() == 0


def test_who_holds_the_lock_of_the_same_computer_need_not_wait(tmp_path: Path) -> None:
    shared = ledger(tmp_path)
    shared.acquire("one", replace(HERE, lock="this place"))
    again = replace(HERE, pid=3, nonce="c")
    with pytest.raises(LedgerRefusedError):
        shared.acquire("one", again)
    with pytest.raises(LedgerRefusedError):
        shared.acquire("one", replace(THERE, lock="another place"))
    assert shared.acquire("one", replace(again, lock="this place")) == 2


def test_beats_do_not_wait_for_a_lease_that_is_written_and_the_driver_before_is_over_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    kept = ledger(tmp_path, clock)
    first, second = kept.acquire("one", HERE), kept.acquire("two", HERE)
    clock.now_s += kept.lease_s / 2
    kept.renew("two", second)
    clock.now_s += kept.lease_s / 2 + GRACE_S
    writing, written = threading.Event(), threading.Event()

    def slowly(path: Path, content: object) -> None:
        writing.set()
        assert written.wait(60)
        write_json(path, content)

    monkeypatch.setattr("soar.fleet.leases.write_json", slowly)
    with ThreadPoolExecutor(1) as pool:
        given = pool.submit(kept.acquire, "one", THERE)
        assert writing.wait(60)
        kept.renew("two", second)
        with pytest.raises(LedgerRefusedError, match="is over"):
            kept.renew("one", first)
        assert not given.done()
        written.set()
        assert given.result() == first + 1


def test_a_lease_that_cannot_be_written_is_not_given_and_the_one_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ledger(tmp_path)
    epoch = kept.acquire("one", HERE)

    def full(path: Path, content: object) -> None:
        raise SoarError(f"{path}: no space left")

    with monkeypatch.context() as patch:
        patch.setattr("soar.fleet.leases.write_json", full)
        for robot in ("one", "two"):
            with pytest.raises(SoarError, match="no space left"):
                kept.acquire(robot, HERE)
    kept.renew("one", epoch)
    assert kept.epoch("two") == 0
    assert kept.acquire("one", HERE) == epoch + 1


def test_a_lease_that_is_given_back_is_free_at_once(tmp_path: Path) -> None:
    shared = ledger(tmp_path)
    shared.release("one", shared.acquire("one", HERE))
    assert shared.acquire("one", THERE) == 2


def test_a_robot_that_the_fleet_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown robot 'three'"):
        ledger(tmp_path).acquire("three", HERE)


def test_a_ledger_that_begins_again_believes_in_the_old_lease_and_never_gives_an_epoch_twice(tmp_path: Path) -> None:
    clock = Clock()
    first = ledger(tmp_path, clock)
    first.acquire("one", HERE)
    first.commit("one", 1, [encoded(0)])
    second = ledger(tmp_path, clock)
    second.renew("one", 1)
    with pytest.raises(LedgerRefusedError, match="driven by"):
        second.acquire("one", THERE)
    (tmp_path / "ledger.json").unlink()  # the store knows of epoch 1, too
    assert ledger(tmp_path, clock).acquire("one", THERE) == 2


def test_a_file_of_epochs_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text('{"one": 3}')
    with pytest.raises(StoreError, match=r"ledger\.json: cannot be read"):
        ledger(tmp_path)


def test_what_is_delivered_twice_is_stored_once_and_said_to_be_there(tmp_path: Path) -> None:
    shared = ledger(tmp_path)
    shared.acquire("one", HERE)
    assert shared.commit("one", 1, [encoded(0), encoded(1)]) == []
    assert shared.commit("one", 1, [encoded(1), encoded(2)]) == [encoded(1).id]
    assert ledger(tmp_path).commit("one", 1, [encoded(2)]) == [encoded(2).id]
    assert EpisodeStore(tmp_path / "episodes").count() == 3
    with pytest.raises(LedgerRefusedError, match="another episode is stored as"):
        shared.commit("one", 1, [encoded(1, seed=9)])


def test_another_episode_under_a_known_id_is_refused_and_the_same_one_is_there_already(tmp_path: Path) -> None:
    kept = ledger(tmp_path)
    epoch = kept.acquire("one", HERE)
    first = encode(episode(0))
    kept.commit("one", epoch, [first])
    for other in (replace(first, instruction="close the drawer"), replace(first, actions_TD=first.actions_TD + 1)):
        for there in (kept, ledger(tmp_path)):
            with pytest.raises(LedgerRefusedError, match="another episode is stored as"):
                there.commit("one", epoch, [other])
    assert ledger(tmp_path).commit("one", epoch, [first]) == [first.id]


def test_a_known_id_whose_stored_steps_are_gone_is_refused_and_another_one_is_stored(tmp_path: Path) -> None:
    kept = ledger(tmp_path)
    epoch = kept.acquire("one", HERE)
    kept.commit("one", epoch, [encoded(0)])
    lance.dataset(str(tmp_path / "episodes" / "steps.lance")).delete("step = 1")
    again = ledger(tmp_path)
    with pytest.raises(LedgerRefusedError, match="cannot be read, to compare it"):
        again.commit("one", epoch, [encoded(0)])
    assert again.commit("one", epoch, [encoded(1)]) == []


def test_an_append_that_stored_all_and_then_failed_has_stored_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ledger(tmp_path)
    epoch = kept.acquire("one", HERE)
    append = EpisodeStore.append

    def fails_at_last(store: EpisodeStore, episodes: list[EncodedEpisode], *, checked: bool = False) -> None:
        append(store, episodes, checked=checked)
        raise StoreError("too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(EpisodeStore, "append", fails_at_last)
        assert kept.commit("one", epoch, [encoded(0), encoded(1)]) == []
    assert kept.total() == 2
    assert kept.commit("one", epoch, [encoded(0)]) == [encoded(0).id]


def test_epochs_that_the_journal_knows_are_not_given_again_when_their_file_was_deleted(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    journal.append("epoch", robot="one", epoch=7)
    journal.append("epoch", robot=["one"], epoch="9")
    kept = Ledger(tmp_path / "ledger.json", tmp_path / "episodes", ["one"], run="run", journal=journal.path)
    assert kept.acquire("one", HERE) == 8


def test_a_late_word_revives_no_lease_that_was_given_back(tmp_path: Path) -> None:
    kept = ledger(tmp_path)
    epoch = kept.acquire("one", HERE)
    kept.release("one", epoch)
    with pytest.raises(LedgerRefusedError, match="was given back"):
        kept.renew("one", epoch)
    assert kept.acquire("one", THERE) == epoch + 1


@pytest.mark.parametrize("epoch", ["1e999", "2.9", '"7"', "-3", "true"])
def test_an_epoch_that_is_none_is_refused(tmp_path: Path, epoch: str) -> None:
    holder = '{"host": "h", "pid": 1, "nonce": "n"}'
    (tmp_path / "ledger.json").write_text(f'{{"one": {{"epoch": {epoch}, "holder": {holder}}}}}')
    with pytest.raises(StoreError, match="the epoch of one must be a positive whole number"):
        ledger(tmp_path)


def test_a_delivery_that_is_compressed_is_refused_before_it_grows() -> None:
    rows = pa.Table.from_pylist([schema.episode_row(encoded(0), 0, 0.0)], schema.EPISODES)
    for compression in ("zstd", "lz4"):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(rows)
        head = sink.getvalue().to_pybytes()
        with pytest.raises(StoreError, match="it is compressed"):
            unpack_episodes(len(head).to_bytes(8, "big") + head + pack_episodes([encoded(0)])[8:], most=8)
    assert len(unpack_episodes(pack_episodes([encoded(0), encoded(1)]), most=8)) == 2


def test_what_an_earlier_epoch_kept_is_delivered_by_the_next_one(tmp_path: Path) -> None:
    shared = ledger(tmp_path)
    shared.release("one", shared.acquire("one", HERE))
    shared.acquire("one", THERE)
    assert shared.commit("one", 2, [encoded(0, epoch=1)]) == []
    with pytest.raises(LedgerRefusedError, match="names no epoch up to 2"):
        shared.commit("one", 2, [encoded(0, epoch=3)])
    with pytest.raises(LedgerRefusedError, match="is of robot 'two'"):
        shared.commit("one", 2, [encoded(0, robot="two")])


def test_what_a_robot_kept_from_an_earlier_round_is_stored_once_and_counts_in_its_own_round_alone(tmp_path: Path) -> None:
    def ledger_of(round: int) -> Ledger:
        return Ledger(tmp_path / "ledger.json", tmp_path / "episodes", ["one"], run="run", round=round, clock=Clock())

    before = ledger_of(0)
    before.release("one", before.acquire("one", HERE))
    second = ledger_of(1)
    epoch = second.acquire("one", HERE)
    assert second.commit("one", epoch, [encoded(0)]) == []
    assert second.commit("one", epoch, [encoded(0)]) == [encoded(0).id]
    assert (second.total(), second.counts("scene")[0]) == (0, {})
    assert ledger_of(0).total() == 1
    assert ledger_of(1).commit("one", epoch, [encoded(0)]) == [encoded(0).id]
    first, ahead = ledger_of(0), episode(1, epoch=epoch)
    ahead = replace(ahead, provenance=replace(ahead.provenance, round=1))
    with pytest.raises(LedgerRefusedError, match="round 1; expected 'one', 'run', at most 0"):
        first.commit("one", epoch, [encode(ahead)])


def test_eight_writers_that_deliver_the_same_episodes_store_each_once(tmp_path: Path) -> None:
    shared = ledger(tmp_path)
    shared.acquire("one", HERE)
    batches = [[encoded(number) for number in range(begin, begin + 4)] for begin in range(8)]
    threads = [threading.Thread(target=shared.commit, args=("one", 1, batch)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [record.id for record in EpisodeStore(tmp_path / "episodes").episodes()]
    assert sorted(ids) == sorted({encoded(number).id for number in range(11)})
    assert shared.total() == 11


def test_deliveries_that_come_together_are_one_append_and_each_is_told_what_became_of_its_own(tmp_path: Path) -> None:
    shared = ledger(tmp_path)
    shared.acquire("one", HERE)
    shared.acquire("two", THERE)
    assert shared.commit("one", 1, [encoded(0)]) == []
    before = EpisodeStore(tmp_path / "episodes").version

    def brings(*episodes: EncodedEpisode, robot: str = "one", epoch: int = 1) -> Delivery:
        return Delivery(robot=robot, epoch=epoch, episodes=episodes)

    answers = shared.commit_together(
        [
            brings(encoded(0), encoded(1)),
            brings(encoded(2), epoch=9),
            brings(encoded(3, robot="one"), robot="two"),
            brings(encoded(4, robot="two"), robot="two"),
            brings(encoded(1)),  # said again, since no answer came
            brings(encoded(1, seed=9)),
            brings(encoded(5), encoded(5)),
        ]
    )
    said = [str(answer) if isinstance(answer, SoarError) else answer for answer in answers]
    assert (said[0], said[3], said[4], said[6]) == ([encoded(0).id], [], [encoded(1).id], [])
    assert "epoch 9 is over" in said[1]
    assert "is of robot 'one'" in said[2]
    assert "another episode is stored as" in said[5]
    store = EpisodeStore(tmp_path / "episodes")
    assert {name: version - before[name] for name, version in store.version.items()} == {"steps": 1, "episodes": 1}
    new = [encoded(0), encoded(1), encoded(4, robot="two"), encoded(5)]
    assert [record.id for record in store.episodes()] == [one.id for one in new]
    assert dict(shared.stored) == {"one": 3, "two": 1}


def test_what_the_store_refuses_of_one_delivery_keeps_no_other_one_from_it(tmp_path: Path) -> None:
    shared = ledger(tmp_path)
    shared.acquire("one", HERE)
    EpisodeStore(tmp_path / "episodes").append(
        replace(episode(1), instruction="another")
    )  # by somebody whom the ledger does not know
    answers = shared.commit_together([Delivery(robot="one", epoch=1, episodes=[encoded(number)]) for number in range(3)])
    assert [isinstance(answer, StoreError) for answer in answers] == [False, True, False]
    assert "duplicate episode id" in str(answers[1])
    ids = [record.id for record in EpisodeStore(tmp_path / "episodes").episodes()]
    assert sorted(ids) == [encoded(number).id for number in range(3)]


def test_attempts_of_all_robots_count_and_what_others_attempt_now(tmp_path: Path) -> None:
    shared = ledger(tmp_path)
    shared.acquire("one", HERE)
    shared.acquire("two", THERE)
    shared.commit("one", 1, [encoded(0), encoded(1)])
    shared.commit("two", 1, [encoded(0, robot="two", task="close the drawer")])
    shared.renew("two", 1, ("scene", "open the drawer"))
    shared.renew("one", 1, ("elsewhere", "open the drawer"))
    assert shared.counts("scene", "one") == (
        {"open the drawer": 3, "close the drawer": 1},
        {"open the drawer": 1, "close the drawer": 1},
    )
    assert shared.counts("scene", "two")[0] == {"open the drawer": 2, "close the drawer": 1}
    assert ledger(tmp_path).counts("scene")[0] == {"open the drawer": 2, "close the drawer": 1}


def test_an_episode_arrives_as_it_was_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 1)
    spool.append(episode(3))
    (path,) = spool.waiting()
    (arrived,) = unpack_episodes(path.read_bytes(), most=1)
    sent = encoded(3)
    assert arrived.frames == sent.frames
    assert (arrived.id, arrived.labels, arrived.provenance) == (sent.id, sent.labels, sent.provenance)
    assert arrived.created_s is None  # the store says when
    assert arrived.limited_steps is None
    np.testing.assert_array_equal(arrived.states_TD, sent.states_TD)
    np.testing.assert_array_equal(arrived.actions_TD, sent.actions_TD)
    assert [path.stem for path in Spool(tmp_path / "spool", 1).waiting()] == ["000000000001"]


def test_an_episode_arrives_with_the_steps_that_limits_changed_and_one_of_an_older_version_without(tmp_path: Path) -> None:
    for steps in ((), (0, 2)):
        (arrived,) = unpack_episodes(pack_episodes([replace(encoded(1), limited_steps=steps)]), most=1)
        assert arrived.limited_steps == steps
    both = unpack_episodes(pack_episodes([encoded(1), replace(encoded(2), limited_steps=(1,))]), most=2)
    assert [one.limited_steps for one in both] == [None, (1,)]
    with pytest.raises(StoreError, match="limited steps"):
        unpack_episodes(pack_episodes([replace(encoded(1), limited_steps=(7,))]), most=1)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 8, b"\0" * 7 + b"\xff" + b"x" * 40, b"\x7f" * 400, pack_episodes([encoded(0)])[:-90]]
)
def test_bytes_that_are_no_episode_are_refused(data: bytes) -> None:
    with pytest.raises(StoreError):
        unpack_episodes(data, most=8)


def test_more_episodes_than_are_allowed_are_refused() -> None:
    with pytest.raises(StoreError, match="3 episodes at once; 2 are allowed"):
        unpack_episodes(pack_episodes([encoded(number) for number in range(3)]), most=2)


def test_a_spool_says_when_it_is_full(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1)
    assert not spool.full()
    (tmp_path / "000000000009.episode").write_bytes(b"0" * 2**20)
    assert spool.full()
