"""Processes that append the same ids to one store at the same moment."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

from soar.episodes import EpisodeStore
from soar.episodes.integrity import examine
from tests.episodes.writing import append_each

from .tally import Tally


def writers_of_one_id(folder: Path, processes: int, ids: int) -> Tally:
    """Have each process append all ids, and compare what they were told with what is there."""
    uri = str(folder / "one-id")
    EpisodeStore(uri, mode="create")
    context = get_context("forkserver")
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    writers = [context.Process(target=append_each, args=(uri, ids, writer)) for _, writer in pipes]
    for process in writers:
        process.start()
    stored = []
    for (reader, writer), process in zip(pipes, writers, strict=True):
        writer.close()
        stored += reader.recv()
        process.join()
    tally = Tally(what=f"one id appended by {processes} processes at once", count=ids)
    there = [record.id for record in EpisodeStore(uri).episodes()]
    tally.lost = len({f"e{index}" for index in stored} - set(there))
    tally.doubled = len(stored) - len(set(stored)) + len(there) - len(set(there))
    tally.half = len(examine(uri, check_frames=True))
    tally.unclear = sum(process.exitcode != 0 for process in writers)
    return tally


def soak(folder: Path, scale: float, seed: int) -> Iterator[Tally]:
    """Do all of it, at a scale of 1 for 200 ids."""
    del seed
    yield writers_of_one_id(folder, 8, round(200 * scale))
