"""The figure is a picture of the rows."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from soar.reproduce.figure import draw, mean, rates

ROWS = [
    {"arm": "pretrained", "scene": "scene1", "task": "a", "successes": 1, "trials": 10},
    {"arm": "pretrained", "scene": "scene1", "task": "b", "successes": 3, "trials": 10},
    {"arm": "scene", "scene": "scene1", "task": "a", "successes": 12, "trials": 20},
    {"arm": "pretrained", "scene": "scene2", "task": "c", "successes": 8, "trials": 20},
]


def test_tasks_of_a_scene_are_pooled_and_a_mean_needs_every_scene() -> None:
    found = rates(ROWS)
    assert str(found["scene1", "pretrained"]).startswith("4/20 = .20")
    assert mean(found, "pretrained", ["scene1", "scene2"]) == pytest.approx(0.3)
    assert mean(found, "scene", ["scene1", "scene2"]) is None


def test_a_bar_is_as_high_as_its_rate(tmp_path: Path) -> None:
    draw(ROWS, "a < b", tmp_path / "figure.svg")
    root = ElementTree.fromstring((tmp_path / "figure.svg").read_text())
    space = "{http://www.w3.org/2000/svg}"
    bars = [float(r.get("height", 0)) for r in root.iter(f"{space}rect") if float(r.get("y", 0)) > 45]
    # scene1: .2 and .6, scene2: .4, mean: .3, paper: .28 and .57
    assert [round(height / bars[0] * 0.2, 2) for height in bars] == [0.2, 0.6, 0.4, 0.3, 0.28, 0.57]
    assert "a < b" in [text.text for text in root.iter(f"{space}text")]
