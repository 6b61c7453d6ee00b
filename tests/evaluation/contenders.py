"""Policies that are told apart by their names and by where they go."""

from __future__ import annotations

from collections.abc import Sequence

from soar.testing import FakePolicy


class Wanderer(FakePolicy):
    def __init__(self, id: str, action: Sequence[float]) -> None:
        super().__init__(action)
        self.id, self.conditioning = id, "language"


def ambrosia() -> Wanderer:
    return Wanderer("ambrosia-policy", (-0.001, 0, 0, 0, 0, 0, 1))


def basilikum() -> Wanderer:
    return Wanderer("basilikum-policy", (0, 0.001, 0, 0, 0, 0, 1))
