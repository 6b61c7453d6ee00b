"""How a scripted policy moves: pace, path, aim, and mistakes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How an expert moves.

    Attributes:
        pace_m: Speed of free motion, per step.
        hover_m: Height above an object from which it is approached.
        carry_height_m: Height at which objects are carried.
        tolerance_m: Horizontal error at which the descent begins.
        aim_m: Constant error of the aim, (x, y): people do not grasp at the centre.
        noise_m: Standard deviation of the noise on each step's motion.
        mistake_probability: Chance at each step to begin a short wrong move.
        keeps_hold: Never lets go of what it holds, and lingers where it should.
    """

    pace_m: float = 0.013
    hover_m: float = 0.055
    carry_height_m: float = 0.085
    tolerance_m: float = 0.007
    aim_m: tuple[float, float] = (0.0, 0.0)
    noise_m: float = 0.0
    mistake_probability: float = 0.0
    keeps_hold: bool = False

    @staticmethod
    def draw(rng: np.random.Generator) -> Style:
        """Return a random style: pace, path and grasp vary as between people."""
        return Style(
            pace_m=float(rng.uniform(0.010, 0.017)),
            hover_m=float(rng.uniform(0.045, 0.07)),
            carry_height_m=float(rng.uniform(0.075, 0.11)),
            tolerance_m=float(rng.uniform(0.005, 0.009)),
            aim_m=(float(rng.normal(0, 0.002)), float(rng.normal(0, 0.002))),
        )

    @staticmethod
    def clumsy(rng: np.random.Generator) -> Style:
        """Return a random style that does badly, as a weak policy does: slow, off the mark, hesitant to let go."""
        return replace(
            Style.draw(rng),
            pace_m=float(rng.uniform(0.005, 0.017)),
            aim_m=(float(rng.normal(0, 0.007)), float(rng.normal(0, 0.007))),
            noise_m=float(rng.choice([0.002, 0.004, 0.006])),
            mistake_probability=float(rng.choice([0.0, 0.01, 0.03])),
            keeps_hold=bool(rng.random() < 0.5),
        )
