"""A vision-language model whose mood a test decides."""

from __future__ import annotations

import numpy as np

from soar.testing import FakeRobot, FakeVLM

mood: dict[str, bool | None] = {"says": True}


def moody() -> FakeVLM:
    return FakeVLM(lambda image, question: mood["says"])


def moved() -> FakeVLM:
    """Sees success wherever the arm of `tests.robots.own` is not at home."""
    home = FakeRobot(64).observe().image_HWC
    return FakeVLM(lambda image, question: not np.array_equal(image, home))
