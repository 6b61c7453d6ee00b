from __future__ import annotations

from typing import Any

import pytest

from soar.formats.lerobot import _success


@pytest.mark.parametrize(
    ("values", "verdict", "said"),
    [
        ([False, False, True], True, False),
        ([False, False, False], False, False),
        ([False, True, False], None, True),
        ([True, None], None, True),
        ([False, None], None, False),
    ],
)
def test_a_success_that_does_not_last_is_no_verdict_and_it_is_said(
    values: list[Any], verdict: bool | None, said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert _success(values, "here") is verdict
    assert ("next.success is true at step" in caplog.text) is said
