"""The pictures of experiments: bars with 95 % intervals beside the paper's means, curves over samples and over rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from soar.evaluation.statistics import Rate, short
from soar.files import replacing

PAPER_MEANS: Mapping[str, float] = {"pretrained": 0.28, "scene": 0.57}
"""Means over the paper's ten scenes (paper §4, Fig. 5)."""
PANELS: tuple[tuple[str, str], ...] = (
    ("held-out loss", "held-out loss"),
    ("held-out gripper accuracy", "gripper accuracy"),
    ("success of rollouts, 95 %", "rate"),
)
"""Title and row of each panel of a learning curve; `rate` has `low` and `high` beside it."""


def rates(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Rate]:
    """Return the pooled rate of each (scene, variant) of the rows of a results file, in their order."""
    found: dict[tuple[str, str], Rate] = {}
    for row in rows:
        key = str(row["scene"]), str(row["variant"])
        found[key] = found.get(key, Rate(successes=0, trials=0)) + Rate(successes=row["successes"], trials=row["trials"])
    return found


def mean(found: Mapping[tuple[str, str], Rate], variant: str, scenes: Sequence[str]) -> float | None:
    """Return the mean over scenes of a variant's success rate; None when a scene lacks it."""
    values = [found[scene, variant].value for scene in scenes if (scene, variant) in found]
    return sum(values) / len(values) if values and len(values) == len(scenes) else None


def bars(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Return a group of bars for each scene, one bar a variant, then the means over scenes, ours and the paper's.

    Args:
        rows: Of a results file with success rates.
        title: Above the bars.
    """
    found = rates(rows)
    scenes, variants = ([*dict.fromkeys(key[i] for key in found)] for i in (0, 1))
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(variants))
    for index, variant in enumerate(variants):
        ours = {scene: found[scene, variant].value for scene in scenes if (scene, variant) in found}
        values = {**ours, "mean": mean(found, variant, scenes), "paper": PAPER_MEANS.get(variant)}
        groups = [*scenes, "mean", "paper"]
        places = [(place, value) for place, group in enumerate(groups) if (value := values.get(group)) is not None]
        x = [place + (index - (len(variants) - 1) / 2) * width for place, _ in places]
        drawn = axes.bar(x, [value for _, value in places], width, label=variant)
        axes.bar_label(drawn, [short(value) for _, value in places], label_type="center", color="white", fontsize=7)
        intervals = [
            (at, found[groups[place], variant]) for at, (place, _) in zip(x, places, strict=True) if place < len(scenes)
        ]
        for at, rate in intervals:
            axes.vlines(at, *rate.interval, color="black", linewidth=1)
    axes.set_xticks(range(len(scenes) + 2), [*scenes, "mean", "paper"])
    axes.set_ylim(0, 1)
    axes.set_title(title)
    axes.legend(ncols=max(1, len(variants)), fontsize=8)
    return figure


def curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the panels of a learning curve, over samples on a logarithmic axis."""
    figure = Figure(figsize=(11, 3), layout="constrained")
    samples = [row["samples"] for row in rows]
    for axes, (title, name) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        axes.semilogx(samples, [row[name] for row in rows], marker="o", base=2)
        if name == "rate":
            axes.fill_between(samples, *([row[end] for row in rows] for end in ("low", "high")), alpha=0.2)
            axes.set_ylim(0, 1)
        axes.set_xticks(samples, [f"{count / 1000:.0f}k" for count in samples])
        axes.set_title(title)
        axes.set_xlabel("samples seen")
    return figure


def round_curve(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Return success against autonomous episodes of a scene over rounds, with 95 % intervals; scenes are pooled.

    Args:
        rows: A variant a round, see `soar.improve.run_report.round_rows`; a policy that was not promoted is drawn hollow.
        title: Above the curve.
    """
    found = rates([{**row, "scene": ""} for row in rows])
    made = {str(row["variant"]): row for row in rows}
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    episodes = [made[variant]["episodes"] for _, variant in found]
    values = [rate.value for rate in found.values()]
    axes.plot(episodes, values, color="tab:blue")
    low, high = ([rate.interval[end] for rate in found.values()] for end in (0, 1))
    axes.fill_between(episodes, low, high, alpha=0.2)
    for at, value, (_, variant) in zip(episodes, values, found, strict=True):
        axes.plot(at, value, marker="o", color="tab:blue", markerfacecolor="tab:blue" if made[variant]["promoted"] else "white")
        axes.annotate(short(value), (at, value), textcoords="offset points", xytext=(0, 7), ha="center", fontsize=8)
    axes.set_ylim(0, 1)
    axes.set_xticks(episodes)
    axes.set_xlabel("autonomous episodes of a scene")
    axes.set_ylabel("success rate, 95 %")
    axes.set_title(title)
    return figure


def hour_curves(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Return a curve a method: success against hours of the robot, with 95 % intervals; scenes and training seeds are pooled.

    Args:
        rows: With `methods` (those of which it is a point), `hours`, `successes` and `trials`.
        title: Above the curves.
    """
    points: dict[str, dict[float, Rate]] = {}
    for row in rows:
        hours, rate = float(row["hours"]), Rate(successes=row["successes"], trials=row["trials"])
        for method in row["methods"]:
            own = points.setdefault(str(method), {})
            own[hours] = own.get(hours, Rate(successes=0, trials=0)) + rate
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for method, own in points.items():
        hours_sorted = sorted(own)
        (line,) = axes.plot(hours_sorted, [own[at].value for at in hours_sorted], marker="o", label=method)
        low, high = ([own[at].interval[end] for at in hours_sorted] for end in (0, 1))
        axes.fill_between(hours_sorted, low, high, alpha=0.15, color=line.get_color())
    axes.set_ylim(0, 1)
    axes.set_xlabel("hours of the robot (simulated)")
    axes.set_ylabel("success rate, 95 %")
    axes.set_title(title)
    axes.legend(fontsize=8)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, atomically; equal figures are equal files."""
    with replacing(path) as temporary, mpl.rc_context({"svg.hashsalt": "soar", "svg.fonttype": "none"}):
        figure.savefig(temporary, format="svg", metadata={"Date": None})
