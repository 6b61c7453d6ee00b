"""Work in several processes: a list of items, some workers, and a parent that outlives their deaths.

    parent ── one pipe a worker ──►  {"item": 3, "value": {…}}  {"stop": true}
           ◄───────────────────────  {"report": {…}}  {"result": {…}}  {"error": …}

Ownership. The parent hands out one item at a time; the worker that has it reports small JSON objects while it works and one
at the end. Heavy data goes through the episode store. Every worker has a pipe of its own and there is no shared lock, so
that a worker killed at the worst moment blocks nobody.

Failure. A worker that dies is noticed at once, journaled and replaced, and its item starts again: work must leave what is
finished in a store and skip it the second time. An exception in the work itself would only happen again: no new items are
handed out, the others finish theirs, and `WorkerError` is raised.

Ctrl-C. Workers ignore it; the parent asks them to stop, waits for them, and raises `KeyboardInterrupt`. A second one kills
them. A parent that is killed takes its workers along: each watches it, closes what workcells it has open, and exits.

Processes are spawned, never forked (Lance, OpenGL and CUDA do not survive a fork), with few threads each. What is costly to
load belongs in a `functools.cache`d function beside the work function: it then loads once a process.
"""

from __future__ import annotations

import importlib
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from soar.errors import SoarError
from soar.event_log import Journal

log = logging.getLogger(__name__)
_FEW_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1") | {"LANCE_IO_THREADS": "4"}
_LAST_S = 60.0
"""How long the end of a process may take, arms that are left safe included; then it is killed."""


class WorkerError(SoarError):
    """Work failed in a worker process, or workers died too often; finished items are in the store, so run again to resume."""


class Reporter:
    """What work in a worker process talks to its parent with."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._stopping = False

    def __call__(self, **fields: Any) -> None:
        """Report progress: small, JSON-able."""
        _send(self._pipe, {"report": fields})

    @property
    def stopping(self) -> bool:
        """Whether the parent asked to stop: finish or drop what is at hand, and return."""
        if not self._stopping and self._pipe.poll():
            try:
                self._stopping = "stop" in _receive(self._pipe)
            except EOFError:
                self._stopping = True
        return self._stopping


class Work(Protocol):
    """A function at the top level of an importable module."""

    def __call__(self, item: dict[str, Any], report: Reporter) -> dict[str, Any]:
        """Do one item and return its result; both are JSON-able."""
        ...


def run_workers(
    work: Work | str,
    items: Sequence[Mapping[str, Any]],
    *,
    workers: int,
    restarts: int = 3,
    journal: Journal | None = None,
    on_report: Callable[[int, dict[str, Any]], None] | None = None,
    stop_timeout_s: float = 60.0,
) -> list[dict[str, Any]]:
    """Do all items in worker processes.

    Args:
        work: The function, or its `package.module:name`.
        items: JSON-able.
        workers: Processes; never more than there are items.
        restarts: Dead workers that are replaced, in all, before giving up.
        journal: Where deaths are written.
        on_report: Called in this process with the item's index and what its work reported.
        stop_timeout_s: How long workers may go on after Ctrl-C before they are killed.

    Returns:
        The results, in the order of the items.

    Raises:
        WorkerError: Work raised an exception, or too many workers died.
        KeyboardInterrupt: Ctrl-C, after the workers stopped.
    """
    pool = _Pool(_path_of(work), items, restarts, journal, on_report)
    try:
        pool.start(min(workers, len(items)))
        pool.run()
    except KeyboardInterrupt:
        log.info("stopping %d workers after what they are at; press Ctrl-C again to kill them", len(pool.busy))
        pool.stop(stop_timeout_s)
        raise
    finally:
        pool.kill()
    if pool.error is not None:
        raise pool.error
    return [pool.results[index] for index in range(len(items))]


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self, path: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_main, args=(theirs, path), daemon=False)
        with _inherited_by_worker():
            self.process.start()
        theirs.close()  # so that the worker's death is the end of the pipe
        self.item: int | None = None


class _Pool:
    """The parent's state: who works at what, what is left, what is done."""

    def __init__(
        self,
        path: str,
        items: Sequence[Mapping[str, Any]],
        restarts: int,
        journal: Journal | None,
        on_report: Callable[[int, dict[str, Any]], None] | None,
    ) -> None:
        self._path, self._items, self._restarts = path, items, restarts
        self._journal, self._on_report = journal, on_report
        self._pending = deque(range(len(items)))
        self._workers: dict[Connection, _Worker] = {}
        self.results: dict[int, dict[str, Any]] = {}
        self.error: WorkerError | None = None

    @property
    def busy(self) -> list[_Worker]:
        return [worker for worker in self._workers.values() if worker.item is not None]

    def start(self, count: int) -> None:
        for _ in range(count):
            self._add()

    def run(self, deadline_s: float | None = None) -> None:
        """Serve the workers until none is busy."""
        while self.busy:
            timeout_s = None if deadline_s is None else deadline_s - time.monotonic()
            if timeout_s is not None and timeout_s <= 0:
                return
            for pipe in connection.wait(list(self._workers), timeout_s):
                assert isinstance(pipe, Connection)  # for the type checker
                self._serve(self._workers[pipe])

    def stop(self, timeout_s: float) -> None:
        """Ask all workers to stop, and wait for them."""
        self._pending.clear()
        self._restarts = 0
        for worker in self._workers.values():
            _try_send(worker.pipe, {"stop": True})
        self.run(time.monotonic() + timeout_s)

    def kill(self) -> None:
        """End all workers: idle ones see the end of their pipe and return, others are killed."""
        for worker in self._workers.values():
            if worker.item is not None:
                worker.process.kill()
            worker.pipe.close()
        for worker in self._workers.values():
            worker.process.join(_LAST_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    def _add(self) -> None:
        with _interrupts_wait():  # a half-started worker would be in nobody's list, and complain
            worker = _Worker(self._path)
            self._workers[worker.pipe] = worker
            self._hand_out(worker)

    def _hand_out(self, worker: _Worker) -> None:
        worker.item = None
        if self._pending:
            worker.item = self._pending.popleft()
            _try_send(worker.pipe, {"item": self._items[worker.item]})  # a dead worker is noticed when its pipe is read

    def _serve(self, worker: _Worker) -> None:
        try:
            message = _receive(worker.pipe)
        except (EOFError, OSError):
            return self._bury(worker)
        assert worker.item is not None  # idle workers say nothing
        if "report" in message:
            if self._on_report is not None:
                self._on_report(worker.item, message["report"])
            return
        if "result" in message:
            self.results[worker.item] = message["result"]
        else:
            log.error("worker %s failed:\n%s", worker.process.pid, message["traceback"])
            self._fail(f"item {worker.item} failed: {message['error']}", worker)
        self._hand_out(worker)

    def _bury(self, worker: _Worker) -> None:
        """Journal a dead worker, and replace it when there is work left."""
        del self._workers[worker.pipe]
        worker.pipe.close()
        worker.process.join()
        code, pid = worker.process.exitcode, worker.process.pid
        log.warning("worker %s died with exit code %s", pid, code)
        if self._journal is not None:
            self._journal.append("worker_died", pid=pid, exit_code=code, item=worker.item, restarts_left=self._restarts)
        if worker.item is None and not self._pending:
            return
        if self._restarts == 0:
            self._fail(f"worker {pid} died with exit code {code} and no restarts are left", worker)
            return
        self._restarts -= 1
        if worker.item is not None:
            self._pending.appendleft(worker.item)
        self._add()

    def _fail(self, message: str, worker: _Worker) -> None:
        self._pending.clear()
        if self._journal is not None:
            self._journal.append("worker_failed", pid=worker.process.pid, item=worker.item, message=message)
        self.error = self.error or WorkerError(f"{message} (`{self._path}`). What is finished is kept; run it again to resume.")


def _main(pipe: Connection, path: str) -> None:
    """The worker process: take items until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    report = Reporter(pipe)
    module, _, name = path.partition(":")
    while True:
        try:
            message = _receive(pipe)
        except EOFError:
            return
        if "stop" in message:
            return
        try:
            work: Work = getattr(importlib.import_module(module), name)
            answer: dict[str, Any] = {"result": work(message["item"], report)}
        except BrokenPipeError:
            return  # the parent is gone
        except Exception as error:  # noqa: BLE001 - it crosses the process boundary and is raised again in the parent
            text = str(error) if isinstance(error, SoarError) else f"{type(error).__name__}: {error}"
            answer = {"error": text, "traceback": traceback.format_exc()}
        _send(pipe, answer)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # workers are spawned
    connection.wait([parent.sentinel])
    # At once: stores and journals survive that, and nobody is left to tell. But an arm is left safe, if it lets itself.
    if (workcells := sys.modules.get("soar.robots.workcell")) is not None:
        closing = threading.Thread(target=workcells.close_all, daemon=True)
        closing.start()
        closing.join(_LAST_S)
    os._exit(1)


@contextmanager
def _inherited_by_worker() -> Iterator[None]:
    """Few threads, and no Ctrl-C while it is still importing."""
    resource_tracker.ensure_running()  # else its start, inside ours, unblocks the signal
    before = {name: os.environ.get(name) for name in _FEW_THREADS}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(_FEW_THREADS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block is done. Blocking is not enough: another thread may receive the signal."""
    if threading.current_thread() is not threading.main_thread():
        yield  # interrupts go to the main thread
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    waiting = {number: handler for number, handler in before.items() if callable(handler)}  # others end the process, or nothing
    for number in waiting:
        signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in waiting.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _path_of(work: Work | str) -> str:
    if isinstance(work, str):
        return work
    module, name = getattr(work, "__module__", None), getattr(work, "__qualname__", "<object>")
    if module in (None, "__main__") or "." in name or "<" in name:
        raise SoarError(
            f"{module}:{name} cannot be imported by a worker; use a function at the top level of an importable module"
        )
    return f"{module}:{name}"


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message).encode())


def _try_send(pipe: Connection, message: dict[str, Any]) -> None:
    try:
        _send(pipe, message)
    except OSError:
        log.debug("a worker died before it was told %s", message)


def _receive(pipe: Connection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(pipe.recv_bytes())
    return message
