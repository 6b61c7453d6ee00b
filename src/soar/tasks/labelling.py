"""A person says which episodes succeeded: in the terminal, or what they saw elsewhere."""

from __future__ import annotations

import time

import numpy as np

from soar.episodes import EpisodeStore
from soar.episodes.schema import PERSON
from soar.errors import ConfigError
from soar.seeding import generator
from soar.terminal import Terminal
from soar.types import Label

_CHOICES = ("y", "n", "?", "q")


def label_episode(store: EpisodeStore, id: str, *, name: str, verdict: str) -> None:
    """Store what a person saw in one episode: `success`, `failure` or `unclear`.

    Raises:
        ConfigError: The name is empty.
        StoreError: There is no such episode, or the store cannot be written.
    """
    success = {"success": True, "failure": False, "unclear": None}[verdict]
    store.add_label(id, _label(success, name, verdict))


def label_sample(
    store: EpisodeStore, terminal: Terminal, *, name: str, count: int, where: str, seed: int, episode: str | None = None
) -> tuple[int, int]:
    """Ask about a random sample of episodes, or about one, and store each answer at once.

    Returns:
        How many were labelled, and how many are left that this person has not labelled.

    Raises:
        ConfigError: The name is empty, or there is no terminal.
        StoreError: There is no such episode, or the store cannot be written; what was labelled is kept.
    """
    source = _label(None, name, "").source
    records = [r for r in store.episodes(where or None) if all(label.source != source for label in r.labels)]
    if episode is not None:
        store.read_encoded(episode, further=False)  # a wrong id is answered with a similar one
        records = [record for record in records if record.id == episode]
    order = generator(seed, "labelling").permutation(len(records))
    done = 0
    for number, index in enumerate(order[:count], start=1):
        record = records[index]
        frames = store.rows([record.first_row, record.first_row + record.length]).images_NHWC
        question = f"{number}/{min(count, len(order))}  Before, after. Done: {record.instruction}?"
        said = terminal.ask(np.concatenate(list(frames), axis=1), question, _CHOICES)
        if said == "q":
            break
        store.add_label(record.id, _label({"y": True, "n": False, "?": None}[said], name, said))
        done += 1
    return done, len(records) - done


def _label(success: bool | None, name: str, answer: str) -> Label:
    if not name.strip():
        raise ConfigError("--name says who labels; it must not be empty")
    return Label(success=success, probability=None, source=f"{PERSON}{name}", answer=answer, time_s=time.time())
