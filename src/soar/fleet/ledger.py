"""What all robots of a fleet must agree on: who drives which robot, how often each task was attempted, what is stored.

    acquire ─► epoch n ─► renew, renew, …        one driver a robot: whoever has the newest epoch, and only until it expires
               commit(epoch n, episode) ─► store  an older epoch is refused; an id that is there already is told so

Deliveries that come at about the same time are one append (`commit_together`), since an append costs as much for ten episodes
as for one; what is wrong with one of them is told to whoever brought it, and the others are stored.

Everything but the epochs follows from the store, which is read at the beginning. Epochs are on disk before they are given.

Time. A lease lasts `lease_s` from the moment when its holder *asked* for it, by the holder's clock, and `GRACE_S` longer by the
ledger's: whoever gets the next one finds a robot that has stopped. A holder that has the robot's lock at the same place, which
is one computer, need not wait: the one before it is dead. Computers may have one name; places never do.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path

from soar.episodes.encoded import EncodedEpisode
from soar.episodes.filters import quoted
from soar.episodes.schema import EpisodeRecord, resolve
from soar.episodes.store import EpisodeStore
from soar.errors import SoarError, StoreError, UnknownNameError
from soar.files import write_json
from soar.fleet.episode_bytes import Delivery
from soar.untrusted import parse_json

GRACE_S = 5.0
"""How much longer than its holder the ledger believes in a lease [s]."""


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


class Ledger:
    """Leases, shared attempt counts, and the one place where a fleet's episodes are stored. Safe to use from several threads.

    Args:
        path: Of the file of epochs; made when it does not exist.
        store: Where episodes go; made when it does not exist.
        robots: That there are.
        run: Name of the run.
        round: Whose attempts count; episodes of earlier rounds, which a robot kept on its way, are still stored.
        lease_s: How long a lease lasts [s].
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        path: Path,
        store: str | Path,
        robots: Iterable[str],
        *,
        run: str,
        round: int = 0,
        lease_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._clock, self._robots = path, clock, tuple(robots)
        self.run, self.round, self.lease_s = run, round, lease_s
        self._lock, self._storing, self._giving = threading.RLock(), threading.Lock(), threading.Lock()
        self._store = EpisodeStore(store, mode="open_or_create")
        self._leases = self._read()
        self._stored: dict[str, tuple[int, int | None]] = {}
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._successes: Counter[tuple[str, str]] = Counter()
        self._doing: dict[str, tuple[str, str]] = {}
        self.stored: Counter[str] = Counter()
        self._newest: dict[str, int] = {}
        for record in self._store.episodes(f"run = {quoted(run)} AND round <= {round}"):
            key = record.provenance
            self._stored[record.id] = record.length, key.seed
            self._newest[key.robot] = max(self._newest.get(key.robot, 0), self._epoch_of(record.id, key.robot, key.round))
            if key.round == round:
                self._count(record, record.success)

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
                # The store knows of epochs, too: their file may have been deleted.
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
            LedgerRefusedError: There is a newer epoch, or none.
        """
        with self._lock:
            lease = self._current(robot, epoch)
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
            lease.renewed_s = -float("inf")
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

    def counts(self, scene: str, asking: str = "") -> tuple[dict[str, int], dict[str, int]]:
        """Return attempts and judged successes of each task of a scene (equation 1 of the paper, over all robots).

        Args:
            scene: Name of the scene.
            asking: The robot that asks; what others attempt at the moment counts as attempted.
        """
        with self._lock:
            attempts = Counter({task: count for (where, task), count in self._attempts.items() if where == scene})
            attempts.update(task for robot, (where, task) in self._doing.items() if where == scene and robot != asking)
            successes = {task: count for (where, task), count in self._successes.items() if where == scene}
            return dict(attempts), successes

    def commit(self, robot: str, epoch: int, episodes: Sequence[EncodedEpisode]) -> list[str]:
        """Store what one robot delivers; see `Delivery`. When this returns all of it is on disk.

        Returns:
            The ids of those that were there already; what is there stays as it is.

        Raises:
            LedgerRefusedError: There is a newer epoch, or an episode is another robot's or of an epoch that never was.
            StoreError: They cannot be written; none is stored then.
        """
        (answer,) = self.commit_together([Delivery(robot=robot, epoch=epoch, episodes=episodes)])
        if isinstance(answer, SoarError):
            raise answer
        return answer

    def commit_together(self, deliveries: Sequence[Delivery]) -> list[list[str] | SoarError]:
        """Store several deliveries in one append.

        Returns:
            For each what `commit` would return or raise if it came alone, after those before it.
        """
        with self._storing:  # one writer: what is new is decided and written in one
            return self._store_together(deliveries)

    def _store_together(self, deliveries: Sequence[Delivery]) -> list[list[str] | SoarError]:
        answers: list[list[str] | SoarError] = []
        new: dict[str, EncodedEpisode] = {}
        for delivery in deliveries:
            try:
                mine = self._new_of(delivery, new)
                answers.append([episode.id for episode in delivery.episodes if episode.id not in mine])
                new |= mine
            except SoarError as refused:
                answers.append(refused)
        try:
            if new:
                self._store.append(list(new.values()), checked=True)
        except SoarError as error:
            if len(deliveries) == 1:
                return [error]
            return [answer for delivery in deliveries for answer in self._store_together([delivery])]  # one may be at fault
        for episode in new.values():
            label = resolve(episode.labels)
            with self._lock:
                self._stored[episode.id] = _what(episode)
                if episode.provenance.round == self.round:
                    self._count(episode, label.success if label else None)
        return answers

    @property
    def ids(self) -> Set[str]:
        """Ids of all episodes of the run that are stored."""
        return self._stored.keys()

    def total(self) -> int:
        """Return how many episodes of this run and round are stored."""
        with self._lock:
            return self.stored.total()

    def compact(self) -> None:
        """Merge the small files that appends left lately, so that readers stay fast; episodes are stored meanwhile.

        Raises:
            StoreError: It cannot be written.
        """
        self._store.compact(lately=True)

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

    def _check_episode(self, robot: str, epoch: int, episode: EncodedEpisode) -> None:
        key = episode.provenance
        if (key.robot, key.run) != (robot, self.run) or not 0 <= key.round <= self.round:
            raise LedgerRefusedError(
                f"episode {episode.id[:80]!r} is of robot {key.robot[:40]!r}, run {key.run[:40]!r}, round {key.round}; "
                f"expected {robot!r}, {self.run!r}, at most {self.round}"
            )
        if not 1 <= self._epoch_of(episode.id, robot, key.round) <= epoch:
            raise LedgerRefusedError(f"episode {episode.id[:80]!r} names no epoch up to {epoch}")

    def _epoch_of(self, id: str, robot: str, round: int) -> int:
        """Return the epoch that an episode's id names, 0 when it names none."""
        prefix = episode_prefix(self.run, round, robot, 0).removesuffix("0-")
        epoch, _, number = id.removeprefix(prefix).partition("-")
        return int(epoch) if id.startswith(prefix) and epoch.isdecimal() and number.isdecimal() else 0

    def _new_of(self, delivery: Delivery, others: Mapping[str, EncodedEpisode]) -> dict[str, EncodedEpisode]:
        """Return what of a delivery is neither stored nor among others that are about to be."""
        with self._lock:
            self._current(delivery.robot, delivery.epoch)
        new: dict[str, EncodedEpisode] = {}
        for episode in delivery.episodes:
            self._check_episode(delivery.robot, delivery.epoch, episode)
            known = others.get(episode.id) or new.get(episode.id)
            there = self._stored.get(episode.id) if known is None else _what(known)
            if there is None:
                new[episode.id] = episode
            elif there != _what(episode):
                raise LedgerRefusedError(
                    f"another episode is stored as {episode.id[:80]!r}: (steps, seed) {there} there, {_what(episode)} here"
                )
        return new

    def _count(self, episode: EpisodeRecord | EncodedEpisode, success: bool | None) -> None:
        task = episode.scene, episode.instruction
        self.stored[episode.provenance.robot] += 1
        self._attempts[task] += 1
        self._successes[task] += success is True

    def _read(self) -> dict[str, _Lease]:
        """Return the leases of an earlier ledger; they count as renewed now, since nobody knows better."""
        try:
            kept = parse_json(self._path.read_text(encoding="utf-8"))
            now_s = self._clock()
            return {robot: _Lease(int(one["epoch"]), Holder(**one["holder"]), now_s) for robot, one in kept.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{self._path}: cannot be read ({error}). It says who drove which robot last; when no robot moves, delete it"
            ) from error


def _what(episode: EncodedEpisode) -> tuple[int, int | None]:
    """Return what tells two episodes of one id apart."""
    return len(episode.actions_TD), episode.provenance.seed


def episode_prefix(run: str, round: int, robot: str, epoch: int) -> str:
    """Return what the id of a fleet's episode begins with; its number within the epoch follows."""
    return f"{run}-{round:03d}-{robot}-e{epoch}-"
