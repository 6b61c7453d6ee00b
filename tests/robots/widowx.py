"""A WidowX server and a workcell in front of it, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from soar.robots.base import Robot
from soar.robots.workcell import Workcell, open_workcell
from soar.testing import FakeRobot
from soar.testing.widowx_server import WidowXServer

HOME = [0.27, 0.0, 0.12, 0.0, 0.0, 0.0, 1.0]
BOX = "workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}\n"


def workcell_file(folder: Path, port: int, options: str = "", rest: str = "") -> str:
    """Write a workcell's file, and return its path."""
    path = folder / "bench.yaml"
    path.write_text(
        "robot:\n  driver: widowx\n"
        f"  options: {{host: 127.0.0.1, port: {port}, home: {HOME}, period_s: 0, {options}}}\n"
        f"scene: {{tasks: [put the carrot on the plate]}}\n{BOX}{rest}"
    )
    return str(path)


@contextmanager
def widowx(
    folder: Path, make: Callable[[], Robot] = FakeRobot, options: str = "", **server: Any
) -> Iterator[tuple[WidowXServer, Workcell]]:
    """A server, and the workcell that drives it."""
    with WidowXServer(make, **server) as running, open_workcell(workcell_file(folder, running.port, options)) as workcell:
        yield running, workcell
