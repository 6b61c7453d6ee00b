from __future__ import annotations

from pathlib import Path

import pytest

from soar.errors import ConfigError
from soar.training.cotraining import AutonomousData


@pytest.mark.parametrize(
    ("changes", "sql"),
    [
        ({}, "success"),
        ({"success_only": False}, None),
        ({"label": "simulator"}, "simulator_success"),
        ({"threshold": 0.9}, "success AND probability >= 0.9"),
        ({"where": "round = 0 OR round = 1"}, "(round = 0 OR round = 1) AND success"),
    ],
)
def test_the_filter_says_what_is_learned_from(changes: dict[str, object], sql: str | None) -> None:
    assert AutonomousData(store=Path("s"), **changes).filter() == sql  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"label": "simulator"}, {"success_only": False}])
def test_a_threshold_without_judged_successes_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        AutonomousData(store=Path("s"), threshold=0.9, **changes)  # type: ignore[arg-type]
