"""Episodes of one robot that are not delivered yet: one file each, whole or not there, in the order in which they were made.

SPOOL/000000000042.episode     see `soar.fleet.episode_bytes`; removed once the fleet's store has it
SPOOL/refused/…                what the coordinator will never take, kept for a person to look at
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from dataclasses import dataclass
from pathlib import Path

from soar.episodes.encoded import check, encode
from soar.errors import StoreError
from soar.files import replacing
from soar.fleet.episode_bytes import pack_episodes
from soar.types import Episode

_SUFFIX = ".episode"


@dataclass(frozen=True, slots=True)
class Kept:
    """An episode of this process that was kept or delivered; all that a collector asks of one."""

    id: str


class Spool:
    """A folder of episodes that wait; what a collector stores into (`soar.collect.collector.Storage`).

    Args:
        folder: Made when it does not exist; one process uses it at a time.
        most_mb: How much may wait [MB].
    """

    def __init__(self, folder: Path, most_mb: int) -> None:
        self.folder, self._most = folder, most_mb * 2**20
        self._lock = threading.Lock()
        self._kept: list[Kept] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._number = max((int(path.stem) for path in self.waiting()), default=0)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{folder} cannot be used to keep episodes: {error}. Free some space, or name another folder with --spool"
            ) from error

    def append(self, episodes: Episode) -> None:
        """Keep an episode; when this returns it is on disk.

        Raises:
            StoreError: It is malformed.
            SoarError: The disk is full, or the folder cannot be written.
        """
        encoded = encode(episodes)
        check(encoded)
        with self._lock:
            self._number += 1
            with replacing(self.folder / f"{self._number:012d}{_SUFFIX}") as path:
                path.write_bytes(pack_episodes([encoded]))
            self._kept.append(Kept(encoded.id))

    def episodes(self, where: str | None = None) -> list[Kept]:
        """Return the episodes of this process, delivered ones included."""
        return list(self._kept)

    def count(self, where: str | None = None) -> int:
        """Return how many episodes this process made."""
        return len(self._kept)

    def waiting(self) -> list[Path]:
        """Return the files that wait, oldest first."""
        return sorted(self.folder.glob(f"[0-9]*{_SUFFIX}"))

    def full(self) -> bool:
        """Whether nothing more may be kept."""
        total = 0
        for path in self.waiting():
            with contextlib.suppress(FileNotFoundError):  # it was delivered meanwhile
                total += path.stat().st_size
        return total >= self._most

    def refuse(self, path: Path) -> Path:
        """Put aside what the coordinator will never take; returns where it is now.

        Nothing that is there already is lost: each process counts its episodes from 1 when none wait.

        Raises:
            OSError: It cannot be moved.
        """
        refused = self.folder / "refused"
        refused.mkdir(exist_ok=True)
        names = itertools.chain([path.name], (f"{path.stem}-{number}{path.suffix}" for number in itertools.count(2)))
        return path.rename(next(aside for name in names if not (aside := refused / name).exists()))
