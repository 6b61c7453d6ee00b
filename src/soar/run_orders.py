"""What a person has told a run without a fleet, in a file of the run; who drives a robot reads it between two episodes.

    RUN/orders.json    {"schema": 1, "paused": {"by": "ada", "time_s": 1718000000.0}, "stopped": null, "deploy": null}

    paused    no episode and no trial begins; it holds until somebody resumes the run, also when the command is run again
    stopped   the command ends after the episodes that are under way, as by Ctrl-C; whoever runs it again wants it to go on. One
              that is still loading when somebody stops it does not begin
    deploy    with the number of a policy of the run (`policy`): robots are to use it from their next episode on, until that is
              done or refused and journaled (`soar improve`)

The console writes it, and needs not be there for it to hold. When it cannot be read, what was said last holds
(`soar.watched_file`). A fleet has a coordinator, who is told instead.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from soar.errors import SoarError
from soar.files import write_json
from soar.untrusted import printable
from soar.watched_file import WatchedFile

log = logging.getLogger(__name__)
FILE = "orders.json"
_SCHEMA = 1
_LOOKS_S = 0.5
_NAMES = ("paused", "stopped", "deploy")
_LONGEST_NAME = 80
_LATEST_S = 253_402_300_800.0  # the year 10000, which no clock and no page can show
_IMPORTED_S = time.time()
RESUME_IT = "Resume it on the page Live of `soar console`, or delete the file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one person said.

    Attributes:
        by: Their name.
        time_s: When, in seconds since the Unix epoch.
        policy: Number of the policy that robots are to use; None where it is about no policy.
        obeyed: Whether a command has ended by it: the next one is not meant.
    """

    by: str
    time_s: float
    policy: int | None = None
    obeyed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What holds now; see the module's docstring.

    Attributes:
        paused: Who lets the run wait; None: nobody.
        stopped: Who lets the command end.
        deploy: Who wants another policy.
    """

    paused: Order | None = None
    stopped: Order | None = None
    deploy: Order | None = None

    @property
    def ends(self) -> bool:
        """Whether a session of one policy ends."""
        return self.stopped is not None or self.deploy is not None

    @property
    def words(self) -> str:
        """What was said, in sentences; empty when nothing holds."""
        said = []
        if self.paused is not None:
            said.append(f"Paused by {self.paused.by} since {_when(self.paused)}: no episode begins until somebody resumes it.")
        if self.stopped is not None:
            said.append(
                f"Stopped by {self.stopped.by}: the command ends after what is under way, and goes on when it is run again."
            )
        if self.deploy is not None:
            said.append(f"{self.deploy.by} asked for policy {self.deploy.policy}: it is taken over before the next episode.")
        return " ".join(said)


class Orders:
    """What holds in a run.

    Args:
        folder: Of the run; it need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._file = WatchedFile(folder / FILE, _read, Standing(), "who has paused or stopped the run")

    def now(self) -> Standing:
        """Return what holds; the file is read when it has changed.

        Raises:
            SoarError: It cannot be read, and never was.
        """
        return self._file.now()

    def give(self, do: Literal["pause", "resume", "stop", "deploy"], by: str, policy: int | None = None) -> Standing:
        """Let an order hold from now on, and return what holds then.

        Args:
            do: What is to happen.
            by: Who says so.
            policy: Number of the one to deploy.

        Raises:
            SoarError: The file cannot be read or written.
        """
        order = Order(by=by, time_s=time.time(), policy=policy)
        with self._file.alone():
            standing = self.now()
            if do == "pause":
                standing = replace(standing, paused=standing.paused or order)
            elif do == "resume":
                standing = replace(standing, paused=None)
            elif do == "stop":
                standing = replace(standing, stopped=order)
            else:
                standing = replace(standing, deploy=order)
            return self._write(standing)

    def begin(self) -> Standing:
        """Take note that the command begins: it was stopped before, and is not now. Says who has paused it.

        Raises:
            SoarError: The file cannot be read or written; or a person has stopped this command while it was loading, which is
                the end of that order.
        """
        standing = self.now()
        if standing.stopped is not None:
            with self._file.alone():
                standing = self._write(replace(before := self.now(), stopped=None))
            if (stopped := before.stopped) is not None and stopped.time_s >= _started_s() and not stopped.obeyed:
                raise SoarError(
                    f"stopped by {stopped.by} before it began: nothing was done. Run the same command again to go on."
                )
        if standing.paused is not None:
            log.warning("%s %s: %s", standing.words, RESUME_IT, self._file.path)
        return standing

    def deployed(self, order: Order) -> None:
        """Take note that a policy that was asked for is deployed, or refused.

        Raises:
            SoarError: The file cannot be read or written.
        """
        with self._file.alone():
            if (standing := self.now()).deploy == order:  # another one may have been asked for meanwhile
                self._write(replace(standing, deploy=None))

    def wait(
        self,
        who: str,
        *,
        stopping: Callable[[], bool] = lambda: False,
        rest: Callable[[], None] | None = None,
        waiting: Callable[[Order | None], None] = lambda order: None,
    ) -> Standing:
        """Wait while the run is paused, and return what holds then.

        Args:
            who: Waits, for the log.
            stopping: Whether to wait no longer.
            rest: Called once, when the wait begins.
            waiting: Called again and again with who paused it, and with None at the end of a wait.

        Raises:
            SoarError: The file cannot be read, and never was.
        """
        paused = None
        while (standing := self.now()).paused is not None and not standing.stopped and not stopping():
            if paused != standing.paused:
                log.warning("%s waits. %s %s: %s", who, standing.words, RESUME_IT, self._file.path)
            if paused is None and rest is not None:
                rest()
            paused = standing.paused
            waiting(paused)
            time.sleep(_LOOKS_S)
        if paused is not None:
            waiting(None)
        return standing

    def check(self, kept: str) -> None:
        """End what is under way if a person has stopped it.

        Args:
            kept: What is there already, for the message.

        Raises:
            SoarError: Somebody has.
        """
        if (stopped := self.now().stopped) is not None:
            with contextlib.suppress(SoarError), self._file.alone():  # on a full disk it is not written down
                if (standing := self.now()).stopped == stopped and not stopped.obeyed:
                    self._write(replace(standing, stopped=replace(stopped, obeyed=True)))
            raise SoarError(f"stopped by {stopped.by}: {kept} and kept. Run the same command again to go on.")

    def _write(self, standing: Standing) -> Standing:
        write_json(self._file.path, {"schema": _SCHEMA} | asdict(standing))
        return standing


def _read(said: Any) -> Standing:
    if said["schema"] != _SCHEMA:
        raise ValueError(f"its schema is not {_SCHEMA}")
    if unknown := sorted(said.keys() - {"schema", *_NAMES}):  # a pause that is misspelt would be none
        raise ValueError(f"it knows {', '.join(_NAMES)}, and not {printable(unknown[0])[:_LONGEST_NAME]!r}")
    return Standing(
        **{name: None if said.get(name) is None else _order(said[name], deploys=name == "deploy") for name in _NAMES}
    )


def _order(said: Any, *, deploys: bool) -> Order:
    by, time_s, policy = said["by"], said["time_s"], said.get("policy")
    if not isinstance(by, str) or not by.strip():
        raise ValueError("an order says in `by` whose it is")
    if type(time_s) not in (int, float) or not 0 <= time_s < _LATEST_S:
        raise ValueError("an order's time_s is no time")
    if deploys and (type(policy) is not int or policy < 0):
        raise ValueError("an order to deploy names the number of a policy")
    obeyed = said.get("obeyed") is True
    return Order(by=_one_line(by), time_s=float(time_s), policy=policy if deploys else None, obeyed=obeyed)


def _started_s() -> float:
    """Return when this process began, in seconds since the Unix epoch; where no system says so, when this module was read."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return min(time.time() - age_s, _IMPORTED_S)
    except (OSError, ValueError, IndexError, AttributeError):
        return _IMPORTED_S


def _one_line(by: str) -> str:
    """Return a name that can be written into any sentence."""
    return " ".join(printable(by.encode(errors="replace").decode()).split())[:_LONGEST_NAME]


def _when(order: Order) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(order.time_s))
