from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest

from soar.episodes import EpisodeStore, reading, schema, tables
from soar.episodes.copying import merge
from soar.episodes.encoded import encode
from soar.episodes.integrity import examine
from soar.errors import SoarError, StoreError
from soar.types import Provenance

from .builders import goal_images, judged, make_episode
from .writing import append_each


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return EpisodeStore(tmp_path / "episodes", mode="create")


def test_an_episode_is_read_as_it_was_written(store: EpisodeStore) -> None:
    provenance = Provenance(
        policy="p", vlm="v", subgoal_model="s", robot="r", run="n", round=2, seed=2**40, faults=("camera", "motor")
    )
    labels = (judged(True, probability=0.75, time_s=3.5), judged(None))
    episode = make_episode(labels=labels, provenance=provenance)
    written = make_episode(labels=labels, provenance=provenance, subgoals=goal_images(episode))
    store.append(written)

    read = store.read("a")

    assert (read.id, read.scene, read.instruction) == (written.id, written.scene, written.instruction)
    assert (read.labels, read.provenance) == (labels, provenance)
    np.testing.assert_array_equal(read.states_TD, written.states_TD)
    np.testing.assert_array_equal(read.actions_TD, written.actions_TD)
    assert np.abs(read.images_THWC.astype(int) - written.images_THWC).max() <= 3
    assert [goal.step for goal in read.subgoals] == [0, 2]
    assert np.abs(read.subgoals[1].image_HWC.astype(int) - written.images_THWC[3]).max() <= 3


def test_episodes_come_in_the_order_of_insertion_even_after_labels_and_compaction(store: EpisodeStore) -> None:
    for id in "cab":
        store.append(make_episode(id))
    store.append([make_episode("z"), make_episode("y")])
    store.add_label("a", judged(True))
    store.compact()
    store.append(make_episode("d"))
    assert [record.id for record in store.episodes()] == list("cabzyd")


def test_a_record_says_what_the_episode_is_without_its_images(store: EpisodeStore) -> None:
    store.append([make_episode("a", steps=3), make_episode("b", steps=4, labels=(judged(False, probability=0.2),))])
    record = store.episodes("id = 'b'")[0]
    assert (record.id, record.scene, record.length, record.first_row) == ("b", "1", 4, 4)
    assert (record.success, record.probability, record.simulator_success) == (False, 0.2, None)
    assert record.provenance == Provenance(policy="base")
    assert record.created_s > 0


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, ["a", "b", "c"]),
        ("success", ["a"]),
        ("not success", ["b"]),
        ("success is null", ["c"]),
        ("simulator_success", ["b"]),
        ("round = 1 and policy = 'x'", ["c"]),
        ("probability > 0.5 or length > 5", ["a", "c"]),
        ("array_has(faults, 'motor')", ["c"]),
    ],
)
def test_sql_filters_episodes(store: EpisodeStore, where: str | None, expected: list[str]) -> None:
    store.append(make_episode("a", labels=(judged(True, probability=0.9),)))
    store.append(make_episode("b", labels=(judged(False, probability=0.1), judged(True, "simulator"))))
    store.append(make_episode("c", steps=7, provenance=Provenance(policy="x", round=1, faults=("motor",))))
    assert [record.id for record in store.episodes(where)] == expected
    assert store.count(where) == len(expected)


def test_rows_come_in_the_order_asked_for_with_repetitions(store: EpisodeStore) -> None:
    first, second = make_episode("a", steps=3, seed=1), make_episode("b", steps=2, seed=2)
    store.append(first)
    store.append(second)
    rows = store.rows([6, 0, 3, 0, 4])
    states = np.concatenate([first.states_TD, second.states_TD])
    np.testing.assert_array_equal(rows.states_ND, states[[6, 0, 3, 0, 4]])
    np.testing.assert_array_equal(rows.actions_ND[[1, 3, 4]], [first.actions_TD[0], first.actions_TD[0], second.actions_TD[0]])
    assert np.isnan(rows.actions_ND[[0, 2]]).all()
    assert np.abs(rows.images_NHWC[0].astype(int) - second.images_THWC[2]).max() <= 3


@pytest.mark.parametrize("indices", [[], [-1], [6]])
def test_rows_out_of_range_are_refused(store: EpisodeStore, indices: list[int]) -> None:
    store.append(make_episode("a", steps=5))
    with pytest.raises(StoreError, match="rows 0 to 5"):
        store.rows(indices)


def test_what_is_large_already_is_not_written_again_while_a_store_grows(
    store: EpisodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soar.episodes.store._LARGE", (12, 2))

    def files() -> list[str]:
        return [fragment.data_files()[0].path for fragment in lance.dataset(f"{store.uri}/steps.lance").get_fragments()]

    grown = []
    for number in range(6):
        store.append(make_episode(str(number)))  # of six rows
        if number % 2:
            store.compact(lately=True)
            grown.append(files())
    one, two, three = grown
    assert (len(one), len(two), len(three)) == (1, 2, 3)
    assert (two[:1], three[:2]) == (one, two)
    store.compact()
    assert len(files()) == 1
    assert [record.id for record in store.episodes()] == list("012345")


def test_rows_mean_the_same_after_compaction_and_labels(store: EpisodeStore) -> None:
    for index in range(4):
        store.append(make_episode(str(index), seed=index))
    before = store.rows(np.arange(24)).states_ND
    store.compact()
    store.add_label("0", judged(True))
    store.episodes()
    np.testing.assert_array_equal(store.rows(np.arange(24)).states_ND, before)


def test_steps_without_their_episode_are_seen_by_nobody(store: EpisodeStore) -> None:
    store.append(make_episode("a", seed=1))
    orphan = make_episode("b", seed=2)
    lance.write_dataset(schema.steps_table(encode(orphan), attempt=7), f"{store.uri}/steps.lance", mode="append")
    retried = make_episode("b", seed=3)
    store.append(retried)

    assert [record.id for record in store.episodes()] == ["a", "b"]
    np.testing.assert_array_equal(store.read("b").states_TD, retried.states_TD)
    np.testing.assert_array_equal(store.rows(np.arange(6, 12)).states_ND, retried.states_TD)
    with pytest.raises(StoreError, match="rows 0 to 11"):
        store.rows([12])


def test_an_episode_whose_steps_were_lost_is_reported_not_invented(store: EpisodeStore) -> None:
    store.append([make_episode("a"), make_episode("b")])
    lance.dataset(f"{store.uri}/steps.lance").delete("episode = 'a' and step = 2")
    with pytest.raises(StoreError, match=r"'a' lacks steps.*restore"):
        store.read("a")
    with pytest.raises(StoreError, match=r"12 rows, 11 were found.*restore"):
        store.rows([0])


def test_many_are_read_in_the_order_that_is_asked_for_with_few_looks(
    store: EpisodeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = {"side": make_episode(size=16).images_THWC}
    made = [make_episode(str(number), seed=number, extra_images=side if number == 3 else {}) for number in range(20)]
    for episode in made:
        store.append(episode)
    looks: list[int] = []
    real = reading.encoded_episodes

    def counting(steps: Any, rows: Any, view: Any, *, further: bool) -> Any:
        looks.append(len(rows))
        return real(steps, rows, view, further=further)

    monkeypatch.setattr("soar.episodes.store.encoded_episodes", counting)
    asked = ["7", "3", "19", "3", "0"]
    many = list(store.read_many(asked))
    assert looks == [1, 4]
    assert [one.id for one in many] == asked
    for one in many:
        alone = store.read_encoded(one.id)
        assert (one.frames, one.extra_frames, one.labels, one.created_s) == (
            alone.frames,
            alone.extra_frames,
            alone.labels,
            alone.created_s,
        )
        np.testing.assert_array_equal(one.states_TD, made[int(one.id)].states_TD)
        np.testing.assert_array_equal(one.actions_TD, made[int(one.id)].actions_TD)
        assert list(one.extra_frames) == (["side"] if one.id == "3" else [])
    assert [list(one.extra_frames) for one in store.read_many(asked, further=False)] == [[]] * 5
    assert list(store.read_many([])) == []
    read = store.read_many(["1", "none", "2"])
    assert next(read).id == "1"
    with pytest.raises(StoreError, match="has no episode 'none'"):
        next(read)


def test_labels_are_added_and_the_verdict_follows(store: EpisodeStore) -> None:
    store.append(make_episode("a", labels=(judged(True, probability=0.6),)))
    store.add_label("a", judged(False, "person:kim", time_s=1))
    store.add_label("a", judged(True, "vqa-2", time_s=2))
    record = store.episodes()[0]
    assert [label.source for label in record.labels] == ["vqa-1", "person:kim", "vqa-2"]
    assert (record.success, record.probability) == (False, None)
    assert store.count("not success") == 1
    assert len(store.read("a").images_THWC) == 6


def test_a_pinned_version_never_changes(store: EpisodeStore) -> None:
    store.append(make_episode("a"))
    version = store.version
    store.append(make_episode("b"))
    store.add_label("a", judged(True))
    store.compact()

    pinned = EpisodeStore(store.uri, version=version)
    assert [record.id for record in pinned.episodes()] == ["a"]
    assert pinned.episodes()[0].success is None
    assert pinned.version == version
    assert len(pinned.rows(np.arange(6)).states_ND) == 6
    for write in (lambda: pinned.append(make_episode("c")), lambda: pinned.add_label("a", judged(True)), pinned.compact):
        with pytest.raises(StoreError, match=r"pinned version.*without `version`"):
            write()
    assert store.count() == 2


def test_an_open_store_sees_what_others_append(store: EpisodeStore) -> None:
    other = EpisodeStore(store.uri)
    assert other.count() == 0
    store.append(make_episode("a", steps=2))
    assert other.episodes()[0].id == "a"
    assert len(other.rows([0, 1, 2]).states_ND) == 3


def test_many_appends_do_not_leave_as_many_files(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soar.episodes.appending._SMALL_FILES", 4)
    for index in range(9):
        store.append(make_episode(str(index), steps=1, size=8, seed=index))
    assert len(lance.dataset(f"{store.uri}/episodes.lance").get_fragments()) < 5
    assert [record.id for record in store.episodes()] == list("012345678")
    np.testing.assert_array_equal(store.rows([16]).states_ND[0], make_episode(steps=1, seed=8).states_TD[0])


def test_rows_see_what_others_appended_before_a_label_was_added(store: EpisodeStore) -> None:
    other = EpisodeStore(store.uri)
    store.append(make_episode("a", steps=1))
    assert len(store.rows([1]).states_ND) == 1
    other.append(make_episode("b", steps=1))
    store.add_label("a", judged(True))
    assert len(store.rows([3]).states_ND) == 1
    assert store.episodes("id = 'b'")[0].first_row == 2


def test_two_that_create_a_store_at_once_get_the_same_one(tmp_path: Path) -> None:
    for index in range(10):
        uri, start = str(tmp_path / str(index)), Barrier(2)

        def create_and_append(id: str, uri: str = uri, start: Barrier = start) -> None:
            start.wait()
            EpisodeStore(uri, mode="open_or_create").append(make_episode(id, steps=1, size=8))

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(create_and_append, "ab"))
        assert sorted(record.id for record in EpisodeStore(uri).episodes()) == ["a", "b"]
        assert sorted(os.listdir(uri)) == ["episodes.lance", "steps.lance"], "nothing is left aside"


def _append_ten(uri: str, name: str) -> None:
    store = EpisodeStore(uri, mode="open_or_create")
    for index in range(10):
        store.append(make_episode(f"{name}-{index}", steps=2, size=8, seed=index))
    store.add_label("shared", judged(True, name))


def test_eight_processes_that_append_and_label_at_once_lose_nothing(tmp_path: Path) -> None:
    uri = str(tmp_path / "episodes")
    EpisodeStore(uri, mode="create").append(make_episode("shared", size=8))
    names = [f"robot{number}" for number in range(8)]
    context = get_context("spawn")
    processes = [context.Process(target=_append_ten, args=(uri, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8

    store = EpisodeStore(uri)
    ids = [record.id for record in store.episodes()]
    assert sorted(ids) == sorted(["shared", *(f"{name}-{index}" for name in names for index in range(10))])
    assert [id for id in ids if id.startswith("robot3")] == [f"robot3-{index}" for index in range(10)]
    assert {label.source for label in store.episodes("id = 'shared'")[0].labels} == set(names)
    np.testing.assert_array_equal(store.read("robot7-4").states_TD, make_episode(steps=2, seed=4).states_TD)
    assert len(store.rows(np.arange(6 + 8 * 30)).states_ND) == 6 + 8 * 30


def test_of_processes_that_append_one_id_at_once_one_is_told_that_it_is_stored(tmp_path: Path) -> None:
    uri, count = str(tmp_path / "episodes"), 20
    EpisodeStore(uri, mode="create")
    context = get_context("forkserver")
    context.set_forkserver_preload(["soar.episodes"])
    pipes = [context.Pipe(duplex=False) for _ in range(4)]
    processes = [context.Process(target=append_each, args=(uri, count, writer)) for _, writer in pipes]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    stored = [index for reader, _ in pipes for index in reader.recv()]
    assert sorted(stored) == list(range(count))
    assert EpisodeStore(uri).count() == count
    assert not examine(uri), "those that came second took their rows back"


def _append_unasked(uri: str, id: str, steps: int) -> None:
    """What a writer leaves that came second and died before it took its rows back."""
    encoded = encode(make_episode(id, steps=steps, size=8))
    lance.write_dataset(schema.steps_table(encoded, steps), tables.path(uri, "steps"), mode="append")
    row = pa.Table.from_pylist([schema.episode_row(encoded, steps, 0.0)], schema.EPISODES)
    lance.write_dataset(row, tables.path(uri, "episodes"), mode="append")


def test_what_a_writer_that_came_second_left_behind_is_seen_by_nobody(store: EpisodeStore) -> None:
    store.append(make_episode("a", steps=2, size=8))
    _append_unasked(store.uri, "a", steps=7)
    store.append(make_episode("b", steps=3, size=8, labels=(judged(True),)))
    assert [(record.id, record.length, record.first_row) for record in store.episodes()] == [("a", 2, 0), ("b", 3, 3)]
    assert (store.count(), store.count("length > 6"), store.row_count, list(store.subgoals())) == (2, 0, 7, ["a", "b"])
    assert len(store.rows(np.arange(7)).states_ND) == 7
    store.add_label("a", judged(True))
    assert (len(store.read("a").actions_TD), [record.id for record in store.episodes("success")]) == (2, ["a", "b"])
    assert [finding.kind for finding in examine(store.uri)] == ["duplicate id"]
    store.delete("a")
    assert [record.id for record in store.episodes()] == ["b"], "it does not take the place of one that is deleted"
    assert not examine(store.uri)


# --- Bad input: one clear error each, and the store as it was.


def test_opening_a_missing_store_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no episode store at .*nowhere.*mode='create'"):
        EpisodeStore(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"x")
    with pytest.raises(StoreError, match=r"not an episode store \(steps.lance and episodes.lance missing\)"):
        EpisodeStore(tmp_path)
    for mode in ("create", "open_or_create"):
        with pytest.raises(StoreError, match="not empty and not an episode store"):
            EpisodeStore(tmp_path, mode=mode)
    assert os.listdir(tmp_path) == ["photo.png"]


def test_an_empty_folder_with_the_right_names_is_refused(tmp_path: Path) -> None:
    for table in ("steps", "episodes"):
        (tmp_path / f"{table}.lance").mkdir()
    with pytest.raises(StoreError, match="does not exist"):
        EpisodeStore(tmp_path)


def test_creating_over_a_store_is_refused_and_open_or_create_opens_it(store: EpisodeStore) -> None:
    store.append(make_episode("a"))
    with pytest.raises(StoreError, match="already holds an episode store; open it"):
        EpisodeStore(store.uri, mode="create")
    assert EpisodeStore(store.uri, mode="open_or_create").count() == 1


def test_a_creation_that_was_interrupted_is_completed(tmp_path: Path) -> None:
    lance.write_dataset(schema.STEPS.empty_table(), tmp_path / "steps.lance", schema=schema.STEPS)
    with pytest.raises(StoreError, match=r"episodes\.lance missing"):
        EpisodeStore(tmp_path)
    EpisodeStore(tmp_path, mode="open_or_create").append(make_episode("a"))
    assert EpisodeStore(tmp_path).count() == 1


@pytest.mark.parametrize(
    ("metadata", "message"),
    [({}, "SOAR did not write"), ({schema.VERSION_KEY: b"2.0"}, "format 2.0, this SOAR reads format 1")],
)
def test_foreign_tables_and_unknown_formats_are_refused(tmp_path: Path, metadata: dict[bytes, bytes], message: str) -> None:
    for table in ("steps", "episodes"):
        columns = pa.schema([("id", pa.string())], metadata=metadata)
        lance.write_dataset(columns.empty_table(), tmp_path / f"{table}.lance", schema=columns)
    with pytest.raises(StoreError, match=message):
        EpisodeStore(tmp_path)


def test_a_newer_minor_format_is_read(store: EpisodeStore) -> None:
    store.append(make_episode("a"))
    lance.dataset(f"{store.uri}/episodes.lance").update_schema_metadata({schema.VERSION_KEY.decode(): "1.9"})
    assert EpisodeStore(store.uri).count() == 1


def test_an_unknown_version_is_refused(store: EpisodeStore) -> None:
    with pytest.raises(StoreError, match="version that was asked for, does not exist"):
        EpisodeStore(store.uri, version={"steps": 99, "episodes": 99})


def test_an_id_names_one_episode_for_ever(store: EpisodeStore) -> None:
    store.append(make_episode("it's"))
    with pytest.raises(StoreError, match='duplicate episode id "it\'s"'):
        store.append([make_episode("b"), make_episode("it's")])
    with pytest.raises(StoreError, match="duplicate episode id 'c'"):
        store.append([make_episode("c"), make_episode("c")])
    assert store.count() == 1


def test_an_unknown_id_is_answered_with_a_similar_one(store: EpisodeStore) -> None:
    store.append([make_episode("run-0001"), make_episode("other")])
    for call in (lambda: store.read("run-001"), lambda: store.add_label("run-001", judged(True))):
        with pytest.raises(StoreError, match=r"no episode 'run-001'; did you mean 'run-0001'\?; it holds 2 episodes"):
            call()


@pytest.mark.parametrize("where", ["successful", "id ==== 'a'", "length = "])
def test_a_bad_filter_names_the_columns(store: EpisodeStore, where: str) -> None:
    store.append(make_episode("a"))
    for call in (store.episodes, store.count):
        with pytest.raises(StoreError, match=r"invalid filter .*Columns: id, .*success, .*probability") as caught:
            call(where)
        assert where in str(caught.value)
        assert ".rs:" not in str(caught.value)


@pytest.mark.parametrize(
    "where",
    [
        "success) and id = 'nothing'",
        "success) or (true",
        "success; delete",
        "success limit 3",
        "success order by id",
        "success group by id having false",
        "success scene = '1'",
        "success = true 'x'",
        "success\0and false",
        "success -- a comment\n) and false",
    ],
)
def test_a_filter_is_read_to_its_end_or_refused(store: EpisodeStore, tmp_path: Path, where: str) -> None:
    store.append(make_episode("a", labels=(judged(True),)))
    for call in (store.episodes, store.count, store.subgoals):
        with pytest.raises(StoreError, match="only its beginning is a condition, and what follows would be left out"):
            call(where)
    with pytest.raises(StoreError, match="only its beginning"):
        merge([store], tmp_path / "into", where=where)
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("success -- all that worked", ["a"]),
        ("success /* all; limit 3 */", ["a"]),
        ("(success) and (id = 'a')", ["a"]),
        ("instruction = 'a ) ; limit -- \"'", ["b"]),
        ("success\nand true", ["a"]),
        ("not success or id in ('b', 'c')", ["b"]),
    ],
)
def test_a_filter_that_looks_as_if_it_ended_early_is_read_whole(store: EpisodeStore, where: str, expected: list[str]) -> None:
    store.append(make_episode("a", labels=(judged(True),)))
    store.append(make_episode("b", labels=(judged(False),), instruction='a ) ; limit -- "'))
    assert [record.id for record in store.episodes(where)] == expected
    assert store.count(where) == len(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": ""}, "has no id"),
        ({"id": "a\0b"}, "without NUL"),
        ({"images_THWC": np.zeros((6, 8, 8, 3), np.float32)}, "uint8 RGB"),
        ({"images_THWC": np.zeros((6, 8, 8, 4), np.uint8)}, "uint8 RGB"),
        ({"states_TD": np.zeros((6, 8), np.float32)}, r"states must have shape \(steps, 7\)"),
        ({"actions_TD": np.full((5, 7), np.nan, np.float32)}, "actions are not finite at step 0"),
    ],
)
def test_malformed_episodes_are_refused(store: EpisodeStore, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        store.append([make_episode("good"), make_episode(**changes)])
    assert store.count() == 0


def test_an_episode_without_actions_is_refused(store: EpisodeStore) -> None:
    with pytest.raises(StoreError, match="has no actions"):
        store.append(make_episode(steps=0))


_AS_NOBODY = """
import os, sys
from soar.episodes import EpisodeStore
from soar.errors import StoreError
from tests.episodes.builders import judged, make_episode
store = EpisodeStore(sys.argv[1])
make_episode("warm-up")
if os.getuid() == 0:
    os.setuid(65534)
for write in (lambda: store.append(make_episode("b")), lambda: store.add_label("a", judged(True)),
              lambda: EpisodeStore(sys.argv[1] + "/deeper", mode="create")):
    try:
        write()
    except StoreError as error:
        print(error)
print(store.count())
"""

_FULL_DISK = """
import resource, signal, sys
from soar.episodes import EpisodeStore
from soar.errors import StoreError
from tests.episodes.builders import make_episode
store = EpisodeStore(sys.argv[1])
# Writing past the limit fails like a full disk: the write is refused, the process lives on.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    store.append(make_episode("b", steps=40, size=64))
except StoreError as error:
    print(error)
print(store.count())
"""


def _run(script: str, uri: str) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script, uri], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_read_only_folder_is_one_clear_error_and_still_readable(tmp_path: Path, store: EpisodeStore) -> None:
    store.append(make_episode("a"))
    for folder, _, files in os.walk(store.uri):
        os.chmod(folder, 0o555)
        for file in files:
            os.chmod(Path(folder, file), 0o444)
    for parent in (tmp_path, *tmp_path.parents):
        os.chmod(parent, 0o755)
        if parent.name.startswith("pytest-of-"):
            break
    try:
        *errors, count = _run(_AS_NOBODY, store.uri)
    finally:
        for folder, _, _ in os.walk(store.uri):
            os.chmod(folder, 0o755)
    assert [error.split(" the episode store")[0] for error in errors] == [
        "cannot append to",
        "cannot label in",
        "cannot create",
    ]
    assert all("Permission denied" in error and "choose a folder that you may write to" in error for error in errors)
    assert count == "1"


def test_a_full_disk_is_one_clear_error_and_the_store_is_as_it_was(store: EpisodeStore) -> None:
    store.append(make_episode("a"))
    error, count = _run(_FULL_DISK, store.uri)
    assert "cannot append to the episode store" in error
    assert "Free some space" in error
    assert count == "1"
    store.append(make_episode("b", steps=40, size=64))
    assert [record.id for record in store.episodes()] == ["a", "b"]
    assert len(store.read("b").actions_TD) == 40


def test_errors_are_ones_that_a_user_can_act_on() -> None:
    assert issubclass(StoreError, SoarError)


def test_the_steps_of_reflexes_are_kept_also_by_a_store_of_an_older_format(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append(make_episode("before"))
    lance.dataset(f"{store.uri}/episodes.lance").drop_columns(["reflex_steps"])
    older = EpisodeStore(store.uri)
    assert older.read("before").reflex_steps == ()
    older.append(make_episode("plain"))
    older.append(make_episode("with", reflex_steps=(1, 2)))
    assert [older.read(id).reflex_steps for id in ("before", "plain", "with")] == [(), (), (1, 2)]
    assert [record.reflex_steps for record in EpisodeStore(store.uri).episodes()] == [(), (), (1, 2)]


def test_the_steps_that_limits_changed_are_kept_and_no_others_are_not_the_same_as_nobody_knows(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append(make_episode("before"))
    lance.dataset(f"{store.uri}/episodes.lance").drop_columns(["limited_steps"])
    older = EpisodeStore(store.uri)
    older.append(make_episode("unknown"))
    assert "limited_steps" not in lance.dataset(f"{store.uri}/episodes.lance").schema.names
    older.append([make_episode("none", limited_steps=()), make_episode("some", limited_steps=(1, 2))])
    known = {"before": None, "unknown": None, "none": (), "some": (1, 2)}
    assert {id: older.read(id).limited_steps for id in known} == known
    assert {record.id: record.limited_steps for record in EpisodeStore(store.uri).episodes()} == known
    with pytest.raises(StoreError, match=r"limited steps increase and lie in 0\.\.4"):
        older.append(make_episode("wrong", steps=5, limited_steps=(5,)))


@pytest.mark.parametrize("steps", [(2, 1), (1, 1), (-1,), (5,)])
def test_steps_of_reflexes_that_are_not_in_the_episode_or_not_in_order_are_refused(
    store: EpisodeStore, steps: tuple[int, ...]
) -> None:
    with pytest.raises(StoreError, match=r"steps of reflexes increase and lie in 0\.\.4"):
        store.append(make_episode("wrong", steps=5, reflex_steps=steps))
