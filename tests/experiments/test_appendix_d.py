from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from soar.collect.models import Models
from soar.episodes import EpisodeStore
from soar.errors import ConfigError
from soar.experiments.appendix_d import PAPER, appendix_d, collection_caption, collector_rows
from soar.types import Label, Provenance
from tests.baselines.tiny import store
from tests.conftest import Pretrained

TASK = "put the mushroom in the blue bowl"


def collected(folder: Path) -> EpisodeStore:
    """Six attempts of each collector: those of SOAR all fail, those of LCBC all succeed, and all are judged successes."""
    source = EpisodeStore(store(folder / "made", tasks=(TASK,)))
    episodes = EpisodeStore(folder / "episodes", mode="create")
    for collector in ("soar", "lcbc"):
        labels = (
            Label(success=True, probability=0.9, source="judge"),
            Label(success=collector == "lcbc", probability=None, source="simulator"),
        )
        made_by = Provenance(policy="p", run=f"run-scene6-{collector}")
        for record in source.episodes():
            one = dataclasses.replace(source.read(record.id), id=f"{collector}-{record.id}", labels=labels, provenance=made_by)
            episodes.append(one)
    return episodes


def test_collectors_stand_beside_the_paper_and_what_contradicts_it_is_said(tmp_path: Path) -> None:
    soar, lcbc, *paper = collector_rows(collected(tmp_path), "run", ["scene6"])
    assert (soar["collector"], soar["objects"], soar["success in truth"][:3], soar["judged a success"][:3]) == (
        "soar",
        "seen",
        "0/6",
        "6/6",
    )
    assert lcbc["success in truth"].startswith("6/6")
    assert lcbc["better in truth, p"] == ".001"
    assert (soar["precision"][:3], lcbc["precision"][:3]) == ("0/6", "6/6")
    assert tuple(paper) == PAPER
    assert collection_caption([soar, lcbc]).startswith("Ours contradicts the paper: in scene6 the policy that follows")
    assert collection_caption([soar]).startswith("In no scene LCBC does more than SOAR")


def test_what_was_done_before_an_attempt_is_counted_apart(tmp_path: Path) -> None:
    store = collected(tmp_path)
    before = Label(success=True, probability=None, source="simulator", answer="done before it began")
    for record in store.episodes("run = 'run-scene6-lcbc'")[:2]:
        store.add_label(record.id, before)
    _, lcbc, *_ = collector_rows(store, "run", ["scene6"])
    assert (lcbc["success in truth"][:3], lcbc["done before"]) == ("4/6", 2)
    assert lcbc["precision"][:3] == "6/6", "the judge is asked whether it is done"


def test_other_scenes_are_none_of_the_appendix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scene2 is none of its scenes, scene6, scene1, scene9"):
        appendix_d(
            models=Models(policy="", subgoals="", vlm=""),
            language="",
            preset="laptop",
            run=tmp_path,
            results=tmp_path / "results.json",
            scenes=("scene2",),
            report=lambda *_: None,
        )


def test_a_scene_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    assert [row["scene"] for row in collector_rows(collected(tmp_path), "run", ["scene6", "scene6"])[: -len(PAPER)]] == [
        "scene6"
    ] * 2


def test_episodes_of_another_policy_are_not_counted_as_a_collectors(tmp_path: Path, pretrained: Pretrained) -> None:
    collected(tmp_path / "run")  # by the policy `p`
    weights = pretrained.weights
    with pytest.raises(ConfigError, match=r"run-scene6-soar .*by policy p, not by .*another --run"):
        appendix_d(
            models=Models(policy=f"{weights}/policy", subgoals=f"{weights}/subgoal", vlm=f"{weights}/vqa"),
            language=f"{weights}/language",
            preset=pretrained.preset,
            run=tmp_path / "run",
            results=tmp_path / "results.json",
            scenes=("scene6",),
            report=lambda *_: None,
        )
