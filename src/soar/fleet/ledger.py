"""What all robots of a fleet must agree on: how often each task was attempted, what is stored, and by `Leases` who drives what.

    commit(epoch n, episode) ─► store    an older epoch is refused; an id that is there already is told so

Deliveries that come at about the same time are one append (`commit_together`), since an append costs as much for ten episodes
as for one; what is wrong with one of them is told to whoever brought it, and the others are stored.

Everything but the epochs follows from the store, which is read at the beginning.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path

import numpy as np

from soar.episodes.encoded import EncodedEpisode
from soar.episodes.filters import quoted
from soar.episodes.schema import EpisodeRecord, resolve
from soar.episodes.store import EpisodeStore
from soar.errors import SoarError, StoreError
from soar.event_log import read_journal
from soar.fleet.episode_bytes import Delivery
from soar.fleet.leases import Leases, LedgerRefusedError


class Ledger(Leases):
    """Leases, shared attempt counts, and the one place where a fleet's episodes are stored. Safe to use from several threads.

    Args:
        path: Of the file of epochs; made when it does not exist.
        store: Where episodes go; made when it does not exist.
        robots: That there are.
        run: Name of the run.
        round: Whose attempts count; episodes of earlier rounds, which a robot kept on its way, are still stored.
        lease_s: How long a lease lasts [s].
        clock: Seconds, never going back.
        journal: Of the run; it knows epochs, too. None: there is none.

    Raises:
        StoreError: The file of epochs, or the store, cannot be read.
        SoarError: The journal cannot be read.
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
        journal: Path | None = None,
    ) -> None:
        super().__init__(path, robots, lease_s=lease_s, clock=clock)
        self.run, self.round, self._storing = run, round, threading.Lock()
        self._store = EpisodeStore(store, mode="open_or_create")
        self._stored: dict[str, tuple[int, int | None]] = {}
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._successes: Counter[tuple[str, str]] = Counter()
        self.stored: Counter[str] = Counter()
        for record in self._store.episodes(f"run = {quoted(run)} AND round <= {round}"):
            key = record.provenance
            self._stored[record.id] = record.length, key.seed
            self._know(key.robot, self._epoch_of(record.id, key.robot, key.round))
            if key.round == round:
                self._count(record, record.success)
        for event in [] if journal is None else read_journal(journal, "epoch"):
            self._know(event.get("robot"), event.get("epoch"))

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
            if not self._are_there(new):
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
            elif not _same(known or self._there(episode.id) or episode, episode):
                raise LedgerRefusedError(
                    f"another episode is stored as {episode.id[:80]!r}: its states, actions or task differ"
                )
        return new

    def _are_there(self, new: Mapping[str, EncodedEpisode]) -> bool:
        """Whether an append that ended with an error had stored everything by then; else they would be refused for ever."""
        try:
            return all((there := self._found(id)) is not None and _same(there, episode) for id, episode in new.items())
        except SoarError:
            return False

    def _there(self, id: str) -> EncodedEpisode | None:
        """Return what is stored under a known id; None when somebody deleted it since."""
        try:
            return self._found(id)
        except StoreError as error:  # whoever brings it keeps it aside, and goes on with the others
            raise LedgerRefusedError(f"what is stored as {id[:80]!r} cannot be read, to compare it: {error}") from error

    def _found(self, id: str) -> EncodedEpisode | None:
        """Return what is stored; None when somebody deleted it since."""
        return self._store.read_encoded(id, further=False) if self._store.episodes(f"id = {quoted(id)}") else None

    def _count(self, episode: EpisodeRecord | EncodedEpisode, success: bool | None) -> None:
        task = episode.scene, episode.instruction
        self.stored[episode.provenance.robot] += 1
        self._attempts[task] += 1
        self._successes[task] += success is True


def _what(episode: EncodedEpisode) -> tuple[int, int | None]:
    """Return what tells two episodes of one id apart."""
    return len(episode.actions_TD), episode.provenance.seed


def episode_prefix(run: str, round: int, robot: str, epoch: int) -> str:
    """Return what the id of a fleet's episode begins with; its number within the epoch follows."""
    return f"{run}-{round:03d}-{robot}-e{epoch}-"


def _same(one: EncodedEpisode, other: EncodedEpisode) -> bool:
    alike = (one.scene, one.instruction, one.provenance.policy) == (other.scene, other.instruction, other.provenance.policy)
    return alike and np.array_equal(one.actions_TD, other.actions_TD) and np.array_equal(one.states_TD, other.states_TD)
