"""Real processes, really killed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from soar.errors import SoarError
from soar.event_log import Journal, read_journal
from soar.fleet.processes import WorkerError, _interrupts_wait, run_workers
from tests.interrupts import heard

from . import work

PARENT = """
import logging, sys
from soar.fleet.processes import run_workers
sys.path.insert(0, {root!r})
if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    items = [{{"stopped": f"{{sys.argv[2]}}/stopped{{i}}"}} for i in range(2)]
    try:
        run_workers(sys.argv[1], items, workers=2, on_report=lambda i, fields: print(fields["pid"], flush=True))
    except KeyboardInterrupt:
        sys.exit(130)
"""


class Parent:
    """A process that runs two workers, and handles by which to see when they end."""

    def __init__(self, tmp_path: Path, function: str) -> None:
        script = tmp_path / "parent.py"
        script.write_text(PARENT.format(root=str(Path(__file__).parents[2])))
        command = [sys.executable, str(script), f"tests.fleet.work:{function}", str(tmp_path)]
        self.process = subprocess.Popen(
            command,
            start_new_session=True,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=heard,  # noqa: PLW1509
        )
        self.workers = [os.pidfd_open(int(self.read_line())) for _ in range(2)]

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def workers_end(self) -> bool:
        """Wait until both workers have ended; False when one is still there after ten minutes."""
        return all(select.select([handle], [], [], 600)[0] for handle in self.workers)

    def close(self) -> None:
        """Whatever the test found, leave nothing behind."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]
        for handle in self.workers:
            os.close(handle)


@pytest.fixture
def start_parent(tmp_path: Path) -> Iterator[Callable[[str], Parent]]:
    with contextlib.ExitStack() as stack:

        def start(function: str) -> Parent:
            parent = Parent(tmp_path, function)
            stack.callback(parent.close)
            return parent

        yield start


def test_results_come_in_the_order_of_the_items_from_single_threaded_processes() -> None:
    reports: list[tuple[int, dict[str, Any]]] = []
    results = run_workers(
        work.square, [{"x": x} for x in range(5)], workers=2, on_report=lambda i, fields: reports.append((i, fields))
    )
    assert [result["square"] for result in results] == [0, 1, 4, 9, 16]
    assert sorted(reports) == [(x, {"half": x / 2}) for x in range(5)]
    assert os.getpid() not in {result["pid"] for result in results}
    assert {result["threads"] for result in results} == {"1"}


def test_a_worker_starts_without_heavy_libraries() -> None:
    assert run_workers(work.light, [{}], workers=1) == [{"heavy": []}]


def test_no_items_need_no_workers() -> None:
    assert run_workers(work.square, [], workers=2) == []


def test_a_killed_worker_is_journaled_and_replaced_and_its_item_starts_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    assert run_workers(work.die_once, [{"marker": str(tmp_path / "marker")}], workers=1, journal=journal) == [
        {"survived": True}
    ]
    (event,) = read_journal(journal.path)
    assert (event["event"], event["exit_code"], event["item"]) == ("worker_died", -signal.SIGKILL, 0)


def test_workers_that_keep_dying_are_given_up(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    with pytest.raises(WorkerError, match=r"no restarts are left.*run it again to resume"):
        run_workers(work.die, [{}], workers=1, restarts=1, journal=journal)
    assert [entry["event"] for entry in read_journal(journal.path)] == ["worker_died", "worker_died", "worker_failed"]


@pytest.mark.parametrize(("fails", "message"), [("soar", "item 0 failed: no such robot"), ("bug", "ZeroDivisionError: oh")])
def test_an_exception_in_the_work_is_raised_and_nothing_new_is_started(fails: str, message: str) -> None:
    with pytest.raises(WorkerError, match=message):
        run_workers(work.fail, [{"fails": fails}, {"fails": None}], workers=1)


def test_a_function_that_no_worker_can_import_is_refused() -> None:
    with pytest.raises(SoarError, match="top level of an importable module"):
        run_workers(lambda item, report: {}, [{}], workers=1)


def test_ctrl_c_waits_until_a_worker_has_started() -> None:
    started = []

    def start() -> None:
        with _interrupts_wait():
            signal.raise_signal(signal.SIGINT)
            started.append(True)

    with pytest.raises(KeyboardInterrupt):
        start()
    assert started


def test_ctrl_c_lets_the_workers_finish_what_they_are_at(tmp_path: Path, start_parent: Callable[[str], Parent]) -> None:
    parent = start_parent("wait_until_stopped")
    os.killpg(parent.process.pid, signal.SIGINT)  # as a terminal does: the parent and the workers
    assert parent.process.wait() == 130
    assert all((tmp_path / f"stopped{i}").exists() for i in range(2))
    assert parent.workers_end()


def test_a_second_ctrl_c_kills_workers_that_do_not_stop(start_parent: Callable[[str], Parent]) -> None:
    parent = start_parent("never_stop")
    os.kill(parent.process.pid, signal.SIGINT)
    assert "press Ctrl-C again" in parent.read_line()
    os.kill(parent.process.pid, signal.SIGINT)
    assert parent.process.wait() == 130
    assert parent.workers_end()


def test_workers_close_their_workcells_when_their_parent_is_killed(
    tmp_path: Path, start_parent: Callable[[str], Parent]
) -> None:
    (tmp_path / "bench.yaml").write_text(
        f"robot: {{driver: 'tests.fleet.work:Closing', options: {{folder: '{tmp_path}'}}}}\n"
        "workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}\nscene: {tasks: [put the carrot on the plate]}\n"
    )
    parent = start_parent("hold_an_arm")
    parent.process.kill()
    assert parent.workers_end()
    assert len(list(tmp_path.glob("closed*"))) == 2


def test_workers_die_with_a_parent_that_is_killed(start_parent: Callable[[str], Parent]) -> None:
    parent = start_parent("never_stop")
    parent.process.kill()
    assert parent.workers_end()
