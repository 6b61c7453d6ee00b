"""Figure 5 as a picture: a group of bars for each scene, one bar an arm, with 95 % intervals, beside the paper's mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from soar.evaluation.statistics import Rate, short
from soar.files import write_text

COLOURS = ("#9aa5b1", "#2f6fae", "#e08a2e", "#5b9a57", "#8a5fa8")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 980, 360, 46, 54, 46
PAPER_MEANS: Mapping[str, float] = {"pretrained": 0.28, "scene": 0.57}
"""Means over the paper's ten scenes (paper §4, Fig. 5)."""


def rates(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Rate]:
    """Return the pooled rate of each (scene, arm) of the rows of a results file, in their order."""
    found: dict[tuple[str, str], Rate] = {}
    for row in rows:
        key = str(row["scene"]), str(row["arm"])
        found[key] = found.get(key, Rate(successes=0, trials=0)) + Rate(successes=row["successes"], trials=row["trials"])
    return found


def mean(found: Mapping[tuple[str, str], Rate], arm: str, scenes: Sequence[str]) -> float | None:
    """Return the mean over scenes of an arm's success rate; None when a scene lacks it."""
    values = [found[scene, arm].value for scene in scenes if (scene, arm) in found]
    return sum(values) / len(values) if values and len(values) == len(scenes) else None


def draw(rows: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Write the figure as SVG.

    Args:
        rows: Of a results file with success rates.
        title: Above the bars.
        path: Of the SVG file; written atomically.
    """
    found = rates(rows)
    scenes = list(dict.fromkeys(scene for scene, _ in found))
    arms = list(dict.fromkeys(arm for _, arm in found))
    groups = [*scenes, "mean", "paper"]
    room, base = (WIDTH - LEFT - 10) / len(groups), HEIGHT - BOTTOM
    bar = 0.8 * room / max(1, len(arms))
    scale = base - TOP

    def text(x: float, y: float, what: str, more: str = "") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(what)}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(LEFT, 20, title, 'font-size="15"'),
    ]
    for index, arm in enumerate(arms):
        left = LEFT + 150 * index
        parts.append(f'<rect x="{left}" y="30" width="12" height="12" fill="{COLOURS[index % len(COLOURS)]}"/>')
        parts.append(text(left + 17, 40, arm))
    for tick in range(0, 101, 25):
        y = base - scale * tick / 100
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(text(LEFT - 8, y + 4, f"{tick} %", 'text-anchor="end"'))
    for place, group in enumerate(groups):
        x0 = LEFT + room * (place + 0.1)
        parts.append(text(LEFT + room * (place + 0.5), base + 18, group.replace("scene", "scene "), 'text-anchor="middle"'))
        for index, arm in enumerate(arms):
            rate = found.get((group, arm))
            value = None if rate is None else rate.value
            if group == "mean":
                value = mean(found, arm, scenes)
            elif group == "paper":
                value = PAPER_MEANS.get(arm)
            if value is None:
                continue
            x, top = x0 + bar * index, base - scale * value
            colour = COLOURS[index % len(COLOURS)]
            parts.append(f'<rect x="{x:.1f}" y="{top:.1f}" width="{bar - 1:.1f}" height="{base - top:.1f}" fill="{colour}"/>')
            parts.append(text(x + bar / 2, base + 34, short(value), 'text-anchor="middle" font-size="10" fill="#555"'))
            if rate is not None:
                low, high = (base - scale * end for end in rate.interval)
                middle = x + bar / 2
                parts.append(f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="#222"/>')
    write_text(path, "\n".join([*parts, "</svg>", ""]))
