"""Whether two episodes of one id are one episode, for whoever brings episodes into a store.

An id comes from the name of a folder, a file or a run, and names meet: two laboratories call their data `pick_cube`. Where an
id is there already, the source decides, else the content: frames, states, actions, instruction and subgoals, not labels, which
grow where they are, nor the frames of further cameras, which an older copy may lack. The same episode is left out. Another one
gets an id of its own, `ID~DIGEST`, always the same for the same content, so that a repeated call finds it again; its `origin`
says `renamed_from`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from soar.episodes import jpeg
from soar.episodes.encoded import EncodedEpisode
from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore
from soar.types import Label

SOURCE, RENAMED = "source", "renamed_from"
"""Keys of an episode's origin: what it was imported from (`id` and `fingerprint`), and the id that was taken."""
_DIGITS = 8
_DARKER_LEVELS = 2.0


def content_digest(episode: EncodedEpisode) -> str:
    """Return what two episodes share when all that was recorded is the same; ids and labels do not count."""
    found = hashlib.blake2b(digest_size=16)
    for part in (*episode.frames, *(goal for _, goal in episode.subgoals)):
        found.update(len(part).to_bytes(8, "little") + part)
    for array in (episode.states_TD, episode.actions_TD):
        found.update(np.ascontiguousarray(array, np.float32).tobytes())
    found.update(repr((len(episode.frames), [step for step, _ in episode.subgoals], episode.instruction)).encode())
    return found.hexdigest()


def lacks_labels(there: Sequence[Label], brought: Sequence[Label]) -> bool:
    """Whether a verdict of somebody is missing."""
    known = {(label.source, label.success) for label in there}
    return any((label.source, label.success) not in known for label in brought)


def moment(created_s: float, length: int) -> str:
    """Return what tells an episode that was copied from store to store from any other of its id."""
    return f"created {created_s!r} {length}"


def source_of(record: EpisodeRecord) -> tuple[str, str]:
    """Return the id of a stored episode before any renaming, and its moment."""
    return str(record.origin.get(RENAMED, record.id)), moment(record.created_s, record.length)


class KnownEpisodes:
    """What a store holds while episodes are added to it.

    Args:
        store: Gets them; whoever adds to it says so by `add` and, when they are on disk, by `stored`.

    Attributes:
        other_labels: Ids of episodes that are there without labels that the same ones had that were to be placed.
        fewer_cameras: The same of further cameras.
    """

    def __init__(self, store: EpisodeStore) -> None:
        self._store = store
        self._pending: dict[str, EncodedEpisode] = {}
        self._ids: set[str] = set()
        self._sources: set[tuple[str, str]] = set()
        self.other_labels: list[str] = []
        self.fewer_cameras: list[str] = []
        for record in store.episodes():
            self._ids.add(record.id)
            self._sources |= {source_of(record), *_imported_from(record.origin)}

    def has(self, id: str, fingerprint: str) -> bool:
        """Whether an episode is there that its source calls `id`, from a source that has not changed since; reads nothing."""
        return (id, fingerprint) in self._sources

    def place(self, episode: EncodedEpisode) -> EncodedEpisode | None:
        """Return the episode, under another id if its own is taken by another one; None where it is there."""
        if episode.id not in self._ids:
            return episode
        digest, size = content_digest(episode), _DIGITS
        id = episode.id
        while id in self._ids:
            there = self._pending[id] if id in self._pending else self._store.read_encoded(id)
            if content_digest(there) == digest or _older_import(there, episode):
                if lacks_labels(there.labels, episode.labels):
                    self.other_labels.append(id)
                if set(episode.extra_frames) - set(there.extra_frames):
                    self.fewer_cameras.append(id)
                return None
            id, size = f"{episode.id}~{digest[:size]}", size + _DIGITS
        return replace(episode, id=id, origin={RENAMED: episode.id, **episode.origin})

    def add(self, episode: EncodedEpisode) -> None:
        """Note an episode that will be appended."""
        self._ids.add(episode.id)
        self._pending[episode.id] = episode
        self._sources |= set(_imported_from(episode.origin))

    def stored(self) -> None:
        """Note that all that was added is on disk."""
        self._pending.clear()


def _older_import(there: EncodedEpisode, brought: EncodedEpisode) -> bool:
    """Whether an episode was imported before sources were noted, when videos were decoded a level darker."""
    if "format" not in there.origin or SOURCE in there.origin or there.instruction != brought.instruction:
        return False
    arrays = ((there.states_TD, brought.states_TD), (there.actions_TD, brought.actions_TD))
    if len(there.frames) != len(brought.frames) or not all(np.array_equal(one, other) for one, other in arrays):
        return False
    for one, other in zip(there.frames, brought.frames, strict=True):
        if jpeg.size(one) != jpeg.size(other):
            return False
        if one != other and np.abs(jpeg.decode(one).astype(int) - jpeg.decode(other)).mean() > _DARKER_LEVELS:
            return False
    return True


def _imported_from(origin: Mapping[str, Any]) -> list[tuple[str, str]]:
    source = origin.get(SOURCE)
    return [(source["id"], source["fingerprint"])] if isinstance(source, Mapping) else []
