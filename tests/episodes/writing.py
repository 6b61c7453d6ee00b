"""A process that writes to a store until it is killed, and says what it has finished."""

from __future__ import annotations

import itertools
import time
from multiprocessing.connection import Connection
from typing import Literal

import numpy as np

from soar.episodes import EpisodeStore
from soar.errors import StoreError
from soar.seeding import generator
from soar.types import Episode, Label

from .builders import judged, make_episode

Done = tuple[Literal["append", "label", "compact"], tuple[str, ...], float]
"""What was done, to which episodes, and how many seconds it took."""


def episode_named(id: str) -> Episode:
    """The episode of a name `PROCESS-NUMBER`: always the same one."""
    process, number = (int(part) for part in id.split("-"))
    return make_episode(id, steps=1 + number % 4, size=8, seed=1000 * process + number)


def label_of(id: str) -> Label:
    return judged(True, f"person:{id}", time_s=1.0)


def write_until_killed(uri: str, seed: int, process: int, said: Connection) -> None:
    """Append, alone and in batches, label and compact, in an order that `seed` and `process` decide."""
    rng = generator(seed, "writer", process)
    store = EpisodeStore(uri)
    said.send(("append", (), 0.0))
    numbers = (f"{process}-{number}" for number in itertools.count())
    written: list[str] = []
    while True:
        begin_s = time.monotonic()
        kind = rng.choice(np.array(["one", "batch", "label", "compact"]), p=[0.5, 0.15, 0.25, 0.1])
        if kind == "label" and written:
            id = written.pop(0)
            store.add_label(id, label_of(id))
            said.send(("label", (id,), time.monotonic() - begin_s))
        elif kind == "compact":
            store.compact()
            said.send(("compact", (), time.monotonic() - begin_s))
        else:
            ids = tuple(itertools.islice(numbers, 3 if kind == "batch" else 1))
            store.append([episode_named(id) for id in ids])
            written.extend(ids)
            said.send(("append", ids, time.monotonic() - begin_s))


def append_each(uri: str, count: int, stored: Connection) -> None:
    """Append ids that others append at the same time, and say which of them were stored by this process."""
    store, mine = EpisodeStore(uri), []
    for index in range(count):
        try:
            store.append(make_episode(f"e{index}", steps=1, size=8))
            mine.append(index)
        except StoreError as error:
            if f"duplicate episode id 'e{index}'" not in str(error):
                raise
        ids = [record.id for record in store.episodes()]
        assert len(ids) == len(set(ids)), "a reader sees an episode once, while others append it, too"
    stored.send(mine)
