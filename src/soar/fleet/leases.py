"""Who drives which robot: a lease with an epoch, which is on disk before it is given.

    acquire ─► epoch n ─► renew, renew, …        one driver a robot: whoever has the newest epoch, and only until it expires

Time. A lease lasts `lease_s` from the moment when its holder *asked* for it, by the holder's clock, and `GRACE_S` longer by the
ledger's: whoever gets the next one finds a robot that has stopped. A holder that has the robot's lock at the same place, which
is one computer, need not wait: the one before it is dead. Computers may have one name; places never do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from soar.errors import SoarError, StoreError, UnknownNameError
from soar.files import write_json
from soar.untrusted import parse_json

GRACE_S = 5.0
"""How much longer than its holder the ledger believes in a lease [s]."""
_GIVEN_BACK = -float("inf")


class LedgerRefusedError(SoarError):
    """Whoever asks does not drive this robot, or may not yet; the message says who does, and how long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who drives a robot.

    Attributes:
        host: Name of the computer.
        pid: Of the process.
        nonce: Drawn by the process when it began, so that it is not taken for another one.
        lock: Names the place of the robot's lock, which the process holds; empty when it holds none.
    """

    host: str
    pid: int
    nonce: str
    lock: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(slots=True)
class _Lease:
    epoch: int
    holder: Holder
    renewed_s: float


class Leases:
    """Gives epochs. Safe to use from several threads.

    Args:
        path: Of the file of epochs; made when it does not exist.
        robots: That there are.
        lease_s: How long a lease lasts [s].
        clock: Seconds, never going back.

    Raises:
        StoreError: The file cannot be read.
    """

    def __init__(
        self, path: Path, robots: Iterable[str], *, lease_s: float = 600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._clock, self._robots = path, clock, tuple(robots)
        self.lease_s = lease_s
        self._lock, self._giving = threading.RLock(), threading.Lock()
        self._doing: dict[str, tuple[str, str]] = {}
        self._leases = self._read()
        self._newest: dict[str, int] = {}

    def acquire(self, robot: str, holder: Holder) -> int:
        """Return a new epoch, in which the holder alone drives the robot.

        Args:
            robot: Which.
            holder: Who asks.

        Raises:
            UnknownNameError: The fleet has no such robot.
            LedgerRefusedError: Somebody else drives it.
            SoarError: The epoch cannot be written.
        """
        with self._giving:  # beats of others do not wait until it is written
            with self._lock:
                self._check(robot)
                self._refuse_if_driven(robot, holder)
                # Store and journal know of epochs, too: their file may have been deleted.
                epoch, earlier = max(self.epoch(robot), self._newest.get(robot, 0)) + 1, self._leases
                self._leases = earlier | {robot: _Lease(epoch, holder, self._clock())}
                self._doing.pop(robot, None)
            epochs = {name: {"epoch": one.epoch, "holder": asdict(one.holder)} for name, one in self._leases.items()}
            try:
                write_json(self._path, epochs)
            except BaseException:
                self._leases = earlier
                raise
            return epoch

    def renew(self, robot: str, epoch: int, doing: tuple[str, str] | None = None) -> None:
        """Prolong a lease.

        Args:
            robot: Which.
            epoch: That its holder was given.
            doing: Scene and instruction of what it attempts now, if anything; it counts for other robots' choices.

        Raises:
            LedgerRefusedError: There is a newer epoch, or none, or it was given back.
        """
        with self._lock:
            lease = self._current(robot, epoch)
            if lease.renewed_s == _GIVEN_BACK:  # a late word of who is gone
                raise LedgerRefusedError(f"robot {robot!r}: epoch {epoch} was given back; ask for another one")
            lease.renewed_s = self._clock()
            if doing is None:
                self._doing.pop(robot, None)
            else:
                self._doing[robot] = doing

    def release(self, robot: str, epoch: int) -> None:
        """Give a lease back: the next one may begin at once.

        Raises:
            LedgerRefusedError: It was somebody else's already.
        """
        with self._lock:
            lease = self._current(robot, epoch)
            lease.renewed_s = _GIVEN_BACK
            self._doing.pop(robot, None)

    def check(self, robot: str, epoch: int) -> None:
        """Refuse whoever does not drive a robot.

        Raises:
            LedgerRefusedError: There is a newer epoch, or none.
        """
        with self._lock:
            self._current(robot, epoch)

    def epoch(self, robot: str) -> int:
        """Return the newest epoch of a robot, 0 when there was none."""
        with self._lock:
            return self._leases[robot].epoch if robot in self._leases else 0

    def held(self, robot: str) -> Holder | None:
        """Return who drives a robot now; None when nobody does, or nobody has been heard of for too long."""
        with self._lock:
            lease = self._leases.get(robot)
            alive = lease is not None and self._clock() < lease.renewed_s + self.lease_s + GRACE_S
            return lease.holder if lease is not None and alive else None

    def _know(self, robot: object, epoch: object) -> None:
        """Take note of an epoch that somebody else knows was given; the file may have been deleted."""
        if isinstance(robot, str) and isinstance(epoch, int):
            self._newest[robot] = max(self._newest.get(robot, 0), epoch)

    def _check(self, robot: str) -> None:
        if robot not in self._robots:
            raise UnknownNameError("robot", robot, self._robots, "The fleet's file lists them.")

    def _refuse_if_driven(self, robot: str, holder: Holder) -> None:
        lease = self._leases.get(robot)
        if lease is None or lease.holder == holder or (holder.lock and lease.holder.lock == holder.lock):
            return
        if (left_s := lease.renewed_s + self.lease_s + GRACE_S - self._clock()) > 0:
            said = f"robot {robot!r} is driven by {lease.holder}, epoch {lease.epoch}. Unless it is heard of, its lease ends in"
            raise LedgerRefusedError(f"{said} {left_s:.0f} s")

    def _current(self, robot: str, epoch: int) -> _Lease:
        self._check(robot)
        lease = self._leases.get(robot)
        if lease is None or lease.epoch != epoch:
            newest = "nobody" if lease is None else f"{lease.holder}, epoch {lease.epoch}"
            raise LedgerRefusedError(f"robot {robot!r}: epoch {epoch} is over; it is driven by {newest}")
        return lease

    def _read(self) -> dict[str, _Lease]:
        """Return the leases of an earlier ledger; they count as renewed now, since nobody knows better."""
        try:
            kept = parse_json(self._path.read_text(encoding="utf-8"))
            now_s = self._clock()
            leases = {robot: _Lease(one["epoch"], Holder(**one["holder"]), now_s) for robot, one in kept.items()}
            if wrong := [robot for robot, one in leases.items() if type(one.epoch) is not int or one.epoch < 1]:
                raise ValueError(f"the epoch of {wrong[0]} must be a positive whole number")
            return leases
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{self._path}: cannot be read ({error}). It says who drove which robot last; when no robot moves, delete it"
            ) from error
