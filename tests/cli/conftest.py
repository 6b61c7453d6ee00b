from __future__ import annotations

from collections.abc import Callable

import pytest

from soar.cli import main


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail with one message, and return the message."""

    def run(*arguments: object) -> str:
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert status == 2
        assert captured.out == ""
        lines = [line for line in captured.err.strip().splitlines() if not line.startswith("Opening ")]
        assert len(lines) == 1, captured.err
        assert lines[0].startswith("error: ")
        return lines[0]

    return run
