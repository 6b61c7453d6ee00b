from __future__ import annotations

import io

from rich.console import Console

from soar.cli.progress import progress_bars


def test_a_long_instruction_takes_no_place_from_counter_and_time_left() -> None:
    screen = io.StringIO()
    with progress_bars(Console(file=screen, force_terminal=True, width=80)) as report:
        report(
            "episodes", 3, 700, "12 judged successes, remove the green block from the wooden bowl and put it on the table " * 2
        )
    last = next(line for line in reversed(screen.getvalue().splitlines()) if "episodes" in line)
    assert "3/700" in last
    assert "left" in last
    assert "-:--:--" in last
    assert "12 judged successes" in last
    assert "…" in last
