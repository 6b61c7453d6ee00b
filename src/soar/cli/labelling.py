"""A person labels episodes in the terminal."""

from __future__ import annotations

import time

import numpy as np

from soar.episodes import EpisodeStore
from soar.episodes.schema import PERSON
from soar.errors import ConfigError
from soar.seeding import generator
from soar.types import Label
from soar.vlm.terminal import Terminal

_CHOICES = ("y", "n", "?", "q")


def label_sample(store: EpisodeStore, terminal: Terminal, *, name: str, count: int, where: str, seed: int) -> tuple[int, int]:
    """Ask about a random sample of episodes, and store each answer at once.

    Returns:
        How many were labelled, and how many are left that this person has not labelled.

    Raises:
        ConfigError: The name is empty, or there is no terminal.
        StoreError: The store cannot be written; what was labelled is kept.
    """
    if not name.strip():
        raise ConfigError("--name says who labels; it must not be empty")
    source = f"{PERSON}{name}"
    records = [r for r in store.episodes(where or None) if all(label.source != source for label in r.labels)]
    order = generator(seed, "labelling").permutation(len(records))
    done = 0
    for number, index in enumerate(order[:count], start=1):
        record = records[index]
        frames = store.rows([record.first_row, record.first_row + record.length]).images_NHWC
        question = f"{number}/{min(count, len(order))}  Before, after. Done: {record.instruction}?"
        said = terminal.ask(np.concatenate(list(frames), axis=1), question, _CHOICES)
        if said == "q":
            break
        success = {"y": True, "n": False, "?": None}[said]
        store.add_label(record.id, Label(success=success, probability=None, source=source, answer=said, time_s=time.time()))
        done += 1
    return done, len(records) - done
