"""A million actions through the safety shell, of a policy that wants out, for arms that lag and readings that lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np

from soar.errors import RobotFault
from soar.robots import SafeRobot, SafetyLimits
from soar.seeding import generator
from soar.testing.fakes import FAKE_WORKSPACE
from tests.robots.test_readings import NOISE_M, Lie, LyingRobot

from .tally import Tally

LIMITS = SafetyLimits()
MARGIN_M = 2 * LIMITS.translation_m
_LONGEST = 200


def shell_actions(count: int, seed: int = 0) -> list[Tally]:
    """Send so many actions, a row a lie; `unclear` counts grippers that were further than the margin from their box."""
    rows = {lie: Tally(what=f"shell actions, reading: {lie}") for lie in get_args(Lie)}
    left, number = count, 0
    while left > 0:
        rng = generator(seed, "shell", number)
        lie: Lie = get_args(Lie)[number % len(rows)]
        number += 1
        follow = float(rng.choice([0.5, 0.8, 1.0]))
        robot = LyingRobot(lie, int(rng.integers(0, 60)), follow, float(rng.choice([0.0, NOISE_M])), number)
        safe = SafeRobot(robot, FAKE_WORKSPACE, LIMITS)
        push = np.zeros(7)
        row = rows[lie]
        for step in range(min(_LONGEST, left)):
            if step % 9 == 0:
                push = rng.choice([-9.0, -0.05, -0.01, 0.0, 0.01, 0.05, 9.0], 7)
            left -= 1
            row.count += 1
            try:
                safe.act(push.astype(np.float32))
            except RobotFault:
                break
            row.unclear += not all(FAKE_WORKSPACE.contains(at, margin_m=MARGIN_M) for at in (robot.position, robot.target))
    return list(rows.values())


def soak(folder: Path, scale: float, seed: int) -> Iterator[Tally]:
    """Do all of it, at a scale of 1 for a million actions."""
    del folder
    yield from shell_actions(round(1_000_000 * scale), seed)
