"""The figure is a picture of the rows."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from soar.reports.plots import bars, mean, rates, round_curve, save

ROWS = [
    {"variant": "pretrained", "scene": "scene1", "task": "a", "successes": 1, "trials": 10},
    {"variant": "pretrained", "scene": "scene1", "task": "b", "successes": 3, "trials": 10},
    {"variant": "scene", "scene": "scene1", "task": "a", "successes": 12, "trials": 20},
    {"variant": "pretrained", "scene": "scene2", "task": "c", "successes": 8, "trials": 20},
]


def test_tasks_of_a_scene_are_pooled_and_a_mean_needs_every_scene() -> None:
    found = rates(ROWS)
    assert str(found["scene1", "pretrained"]).startswith("4/20 = .20")
    assert mean(found, "pretrained", ["scene1", "scene2"]) == pytest.approx(0.3)
    assert mean(found, "scene", ["scene1", "scene2"]) is None


def test_a_bar_is_as_high_as_its_rate_and_an_interval_stands_on_each_of_a_scene() -> None:
    (axes,) = bars(ROWS, "a < b").axes
    # All four of `pretrained`, then scene1 and paper of `scene`: what has no trials has no bar.
    assert [round(bar.get_height(), 2) for bar in axes.patches] == [0.2, 0.4, 0.3, 0.28, 0.6, 0.57]
    ends = [line.get_segments()[0][:, 1] for line in axes.collections]
    assert [(round(low, 2), round(high, 2)) for low, high in ends] == [(0.08, 0.42), (0.22, 0.61), (0.39, 0.78)]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["scene1", "scene2", "mean", "paper"]


def test_a_round_is_where_its_episodes_are_and_hollow_if_it_was_not_promoted() -> None:
    rows = [
        {
            "variant": f"round {n}",
            "scene": "scene1",
            "task": task,
            "successes": n + extra,
            "trials": 10,
            "episodes": 700 * n,
            "promoted": n < 2,
        }
        for n in range(3)
        for task, extra in (("a", 0), ("b", 4))
    ]
    (axes,) = round_curve(rows, "rounds").axes
    curve, *points = axes.lines
    assert curve.get_xydata().tolist() == [[0, 0.2], [700, 0.3], [1400, 0.4]]
    assert [point.get_markerfacecolor() for point in points] == ["tab:blue", "tab:blue", "white"]
    assert [text.get_text() for text in axes.texts] == [".20", ".30", ".40"]


def test_equal_figures_are_equal_files_and_titles_are_escaped(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        save(bars(ROWS, "a < b"), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    texts = [text.text for text in ElementTree.parse(tmp_path / "one.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert "a < b" in texts
