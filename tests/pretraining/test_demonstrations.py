"""Worlds are recorded: what is kept, from which states, and with which answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from soar.configuration import load
from soar.episodes.store import EpisodeStore
from soar.instruction_grammar import presence_question
from soar.pretraining import expert_corrections
from soar.pretraining.demonstrations import record_world
from soar.pretraining.vqa_frames import questions_about
from soar.pretraining.worlds import DemonstrationConfig, draw_world
from soar.sim.catalogue import objects
from soar.sim.scene import load_scene

PICTURES = """\
{pretraining_only: false, varied: false, prelude_steps: 30, answers: true, per_world: 6, drawer_share: 0, cloth_share: 0}
"""


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
    rows = pq.read_table(pictures / "worlds" / "5-000000.parquet").to_pylist()
    assert {row["episode"] for row in rows} == set(lengths)
    assert all(0 <= row["step"] <= lengths[row["episode"]] for row in rows)
    assert {row["answer"] for row in rows} == {True, False}


def test_a_recorded_world_is_not_recorded_again(pictures: Path) -> None:
    before = EpisodeStore(pictures / "episodes").count()
    item = {"config": str(pictures / "kind.yaml"), "folder": str(pictures), "seed": 5, "index": 0}
    assert record_world(item, lambda **_fields: None) == {"kept": 0, "resumed": True}
    assert EpisodeStore(pictures / "episodes").count() == before


def test_a_share_of_cloths_leaves_the_other_worlds_as_they_were() -> None:
    config = load(DemonstrationConfig, "demonstrations", "demonstrations")
    without, with_cloths = ([draw_world(replace(config, cloth_share=share), 3, i) for i in range(60)] for share in (0.0, 0.2))
    changed = [i for i in range(60) if without[i] != with_cloths[i]]
    assert 4 < len(changed) < 25
    for i in changed:
        (cloth,) = with_cloths[i].objects
        assert objects()[cloth].is_cloth
        assert objects()[cloth].pretraining
        assert with_cloths[i].tasks == (f"fold the {cloth} from right to left", f"unfold the {cloth} from left to right")
    assert not any(objects()[name].is_cloth for world in without for name in world.objects)


def test_worlds_of_things_that_look_alike_have_more_of_one_colour_and_leave_the_others_as_they_were() -> None:
    config = replace(load(DemonstrationConfig, "demonstrations", "words"), drawer_share=0.0, alike_share=0.0)
    plain, alike = ([draw_world(replace(config, alike_share=share), 3, i) for i in range(80)] for share in (0.0, 0.5))
    changed = [i for i in range(80) if plain[i] != alike[i]]
    assert 25 < len(changed) < 55
    away: dict[bool, list[float]] = {True: [], False: []}
    for i in range(80):
        things = [name for name in alike[i].objects if objects()[name].is_graspable]
        assert len(things) == len(set(things))
        assert set(things[:1]) == {name for name in plain[i].objects if objects()[name].is_graspable} & set(things[:1])
        assert all(any(name in task for task in alike[i].tasks) for name in things)
        for other in things[1:]:
            away[i in changed].append(float(np.linalg.norm(np.subtract(objects()[other].rgb, objects()[things[0]].rgb))))
    assert np.median(away[True]) < 0.6 * np.median(away[False])


def test_the_same_picture_is_shown_with_what_comes_next_for_every_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expert_corrections, "ATTEMPT_STEPS", 6)
    kind = "{pretraining_only: false, answers: true, per_world: 0, corrections: 1, " + (
        "every_task: true, alike_share: 1.0, drawer_share: 0}"
    )
    (tmp_path / "kind.yaml").write_text(kind)
    item = {"config": str(tmp_path / "kind.yaml"), "folder": str(tmp_path), "seed": 5, "index": 1}
    record_world(item, lambda **_fields: None)
    store = EpisodeStore(tmp_path / "episodes")
    start = [store.read(record.id) for record in store.episodes() if "-correction-0-0-" in record.id]
    assert len({pair.instruction for pair in start}) == len(start) >= 2
    assert all(np.array_equal(pair.images_THWC[0], start[0].images_THWC[0]) for pair in start)
    assert len({pair.images_THWC[1].tobytes() for pair in start}) >= 2
    looks = store.read(next(record.id for record in store.episodes() if record.id.endswith("-looks")))
    assert len(looks.images_THWC) == 3, "steps 0 and 5, and the frame that every episode ends with"


def test_only_where_cloths_occur_may_one_be_missing() -> None:
    scene = load_scene("scene5")
    asked = [
        {q for seed in range(60) for q in questions_about(scene, np.random.default_rng(seed), cloths=cloths)}
        for cloths in (False, True)
    ]
    cloths = {presence_question(name) for name, spec in objects().items() if spec.is_cloth}
    assert not cloths & asked[0]
    assert cloths & asked[1]
