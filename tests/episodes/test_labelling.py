"""Labels that several people and processes change at once: none is lost, none comes back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from soar.episodes import EpisodeStore
from soar.episodes.labelling import Labels, change_labels
from soar.episodes.tables import open_table
from soar.errors import StoreError
from tests.episodes.builders import judged, make_episode


def test_a_label_can_be_taken_back_and_the_one_before_counts_again(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append(make_episode("a", labels=(judged(False, probability=0.2),)))
    before = store.version
    said = judged(True, source="person:ada", time_s=5.0)
    store.add_label("a", said)
    store.take_back_label("a", said)
    record = store.episodes()[0]
    assert (record.success, record.probability, len(record.labels)) == (False, 0.2, 1)
    with pytest.raises(StoreError, match="has no such label by person:ada"):
        store.take_back_label("a", said)
    with pytest.raises(StoreError, match="read-only"):
        EpisodeStore(tmp_path / "s", version=before).take_back_label("a", said)


ADA, KIM, LEE = (judged(True, f"person:{name}", time_s=1.0) for name in ("ada", "kim", "lee"))


def add_and_take_back_and_add(store: EpisodeStore) -> None:
    store.add_label("a", KIM)
    store.take_back_label("a", KIM)
    store.add_label("a", LEE)


@pytest.mark.parametrize(
    ("meanwhile", "then"),
    [
        (lambda store: store.add_label("a", KIM), {KIM, ADA}),
        (add_and_take_back_and_add, {LEE, ADA}),
        (lambda store: store.append(make_episode("b")), {ADA}),
        (lambda store: store.compact(), {ADA}),
    ],
    ids=["added", "added, taken back, added", "appended", "compacted"],
)
def test_what_others_did_since_the_labels_were_read_is_kept(
    tmp_path: Path, meanwhile: Callable[[EpisodeStore], object], then: set[object]
) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append([make_episode("a"), make_episode("c")])
    store.append(make_episode("d"))
    others = [meanwhile]

    def add(labels: Labels) -> Labels:
        while others:
            others.pop()(EpisodeStore(store.uri))
        return (*labels, ADA)

    change_labels(open_table(store.uri, "episodes", None), store.uri, {"a": add})
    assert set(store.episodes("id = 'a'")[0].labels) == then
    assert {record.id for record in store.episodes()} >= {"a", "c", "d"}


def test_of_an_episode_that_was_deleted_meanwhile_nothing_comes_back(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append([make_episode("a"), make_episode("c")])

    def add(labels: Labels) -> Labels:
        if store.episodes("id = 'a'"):
            store.delete("a")
        return (*labels, ADA)

    with pytest.raises(StoreError, match="has no episode"):
        change_labels(open_table(store.uri, "episodes", None), store.uri, {"a": add})
    assert [record.id for record in EpisodeStore(store.uri).episodes()] == ["c"]


def _label_and_take_back(uri: str, name: str) -> None:
    store = EpisodeStore(uri)
    for time_s in range(6):
        label = judged(time_s % 2 == 0, f"person:{name}", time_s=time_s)
        store.add_label("a", label)
        if time_s % 2:
            store.take_back_label("a", label)


def labels_said(store: EpisodeStore) -> list[tuple[str, float]]:
    return sorted((label.source, label.time_s) for label in store.episodes()[0].labels)


def test_threads_of_one_store_and_processes_lose_no_label(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append(make_episode("a", labels=()))
    processes = [get_context("spawn").Process(target=_label_and_take_back, args=(store.uri, f"p{n}")) for n in range(3)]
    for process in processes:
        process.start()

    def in_a_thread(name: str) -> None:
        for time_s in range(6):
            store.add_label("a", judged(True, f"person:{name}", time_s=time_s))
            store.episodes()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(in_a_thread, ("t0", "t1", "t2")))
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    kept = [(f"person:p{n}", float(time_s)) for n in range(3) for time_s in (0, 2, 4)]
    kept += [(f"person:t{n}", float(time_s)) for n in range(3) for time_s in range(6)]
    assert labels_said(EpisodeStore(store.uri)) == sorted(kept)


def test_many_labels_share_a_commit_and_of_one_that_is_not_there_nothing_is_written(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    ids = [f"e'{number}" for number in range(300)]
    store.append([make_episode(id, labels=(KIM,)) for id in ids])
    before, seen = store.version["episodes"], []
    store.add_labels({id: [ADA, LEE] for id in ids}, lambda done, total: seen.append((done, total)))
    assert store.version["episodes"] - before == 2
    assert seen == [(256, 300), (300, 300)]
    assert all(record.labels == (KIM, ADA, LEE) for record in EpisodeStore(store.uri).episodes())
    with pytest.raises(StoreError, match="has no episode"):
        store.add_labels({ids[0]: [ADA], "e'299x": [ADA]})
    assert store.episodes()[0].labels == (KIM, ADA, LEE)
    store.add_labels({})


def test_of_many_labels_none_is_lost_when_others_label_too(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append([make_episode(id, labels=()) for id in "abc"])
    others = [KIM, LEE]

    def add(labels: Labels) -> Labels:
        if others:
            EpisodeStore(store.uri).add_label("b", others.pop())
        return (*labels, ADA)

    change_labels(open_table(store.uri, "episodes", None), store.uri, dict.fromkeys("abc", add))
    assert [set(record.labels) for record in store.episodes()] == [{ADA}, {ADA, KIM, LEE}, {ADA}]
