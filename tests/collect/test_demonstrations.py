"""Worlds are recorded: what is kept, from which states, and with which answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from soar.collect.demonstrations import record_world
from soar.episodes.store import EpisodeStore

PICTURES = "{pretraining_only: false, varied: false, prelude_steps: 30, answers: true, per_world: 6, drawer_share: 0}\n"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "kind.yaml").write_text(PICTURES)
    item = {"config": str(folder / "kind.yaml"), "folder": str(folder), "seed": 5, "index": 0}
    record_world(item, lambda **_fields: None)
    return folder


def test_a_demonstration_begins_where_its_prelude_ended(pictures: Path) -> None:
    store = EpisodeStore(pictures / "episodes")
    records = {record.id: record for record in store.episodes()}
    preludes = [id for id in records if id.endswith("-prelude")]
    assert preludes
    assert all(records[id].instruction == "" and records[id].simulator_success is None for id in preludes)
    for id in preludes:
        record = records[id.removesuffix("-prelude")]
        assert record.instruction
        before, start = (store.rows(np.array([records[name].first_row])).states_ND[0] for name in (id, record.id))
        assert not np.array_equal(before, start)


def test_answers_are_about_frames_that_were_kept(pictures: Path) -> None:
    lengths = {record.id: record.length for record in EpisodeStore(pictures / "episodes").episodes()}
    rows = pq.read_table(pictures / "worlds" / "000000.parquet").to_pylist()
    assert {row["episode"] for row in rows} == set(lengths)
    assert all(0 <= row["step"] <= lengths[row["episode"]] for row in rows)
    assert {row["answer"] for row in rows} == {True, False}


def test_a_recorded_world_is_not_recorded_again(pictures: Path) -> None:
    before = EpisodeStore(pictures / "episodes").count()
    item = {"config": str(pictures / "kind.yaml"), "folder": str(pictures), "seed": 5, "index": 0}
    assert record_world(item, lambda **_fields: None) == {"kept": 0, "resumed": True}
    assert EpisodeStore(pictures / "episodes").count() == before
