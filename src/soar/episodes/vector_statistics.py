"""How the actions and states of a store are distributed, without reading an image and without reading any step twice.

What is known is kept in `statistics.safetensors` in the store's folder: distributions, and which episodes are in them. Whoever
asks later reads the episodes that came since. The file is only a memory: it can be deleted at any time, it is not written for
a store that cannot be written or is elsewhere, and it is made anew after an episode was deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from soar.episodes import schema, tables
from soar.episodes.store import EpisodeStore
from soar.episodes.store_errors import explaining
from soar.episodes.streaming_quantiles import Distribution, distribution, from_arrays
from soar.errors import SoarError
from soar.files import replacing
from soar.types import ACTION_DIM, STATE_DIM

FILE = "statistics.safetensors"
_FORMAT = 2
_BATCH_ROWS = 65536
_FEW = 1000
"""So many episodes are looked for by name; more are met while everything is read."""
_log = logging.getLogger(__name__)
_Known = dict[str, Distribution]
_DIMS = {"action": ACTION_DIM, "state": STATE_DIM}


def vector_statistics(store: EpisodeStore, where: str | None = None) -> dict[str, Any]:
    """Return how actions and states are distributed.

    Args:
        store: The episodes.
        where: SQL that selects some of them; these are read anew each time.

    Returns:
        `action` and `state`, each with `count` and, by dimension, `mean`, `std`, `min`, `max`, `q01`, `q10`, `q50`, `q90` and
        `q99`. Moments and extremes are exact, quantiles are within 0.1 % of their value.

    Raises:
        StoreError: The SQL is invalid, or the store cannot be read.
    """
    # The version first: what is appended meanwhile is in neither.
    version = store.version["steps"]
    attempts = np.sort(np.array([record.attempt for record in store.episodes(where)], np.int64))
    known = _known(store, version, attempts) if where is None else _read(store, version, attempts)
    return {name: part.summary() for name, part in known.items()}


def _known(store: EpisodeStore, version: int, attempts: NDArray[np.int64]) -> _Known:
    before, known = _load(store.uri)
    if np.setdiff1d(before, attempts).size:
        before, known = np.empty(0, np.int64), _nothing()
    missing = np.setdiff1d(attempts, before)
    if not missing.size:
        return known
    found = _read(store, version, missing)
    known = {name: part + found[name] for name, part in known.items()}
    _save(store.uri, attempts, known)
    return known


def _read(store: EpisodeStore, version: int, attempts: NDArray[np.int64]) -> _Known:
    known = _nothing()
    if not attempts.size:
        return known
    few = f"attempt in ({', '.join(map(str, attempts))})" if len(attempts) <= _FEW else None
    with explaining("read", store.uri):
        steps = tables.open_table(store.uri, "steps", version)
        for batch in steps.to_batches(columns=["attempt", "state", "action"], filter=few, batch_size=_BATCH_ROWS):
            table = pa.Table.from_batches([batch])
            if few is None:
                table = table.filter(pa.array(np.isin(np.asarray(table["attempt"]), attempts)))
            actions_ND = schema.actions(table)
            has_action = np.asarray(table["action"].is_valid())
            for name, values in (("action", actions_ND[has_action]), ("state", schema.states(table))):
                known[name] += distribution(values)
    return known


def _nothing() -> _Known:
    return {name: distribution(np.empty((0, dim), np.float32)) for name, dim in _DIMS.items()}


def _load(uri: str) -> tuple[NDArray[np.int64], _Known]:
    """Return the episodes that are in the file, and their distributions; nothing where there is no file that we can use."""
    path = Path(uri) / FILE
    try:
        arrays = load_file(path)
        if int(arrays["format"]) == _FORMAT:
            return arrays["attempts"], {name: from_arrays(_below(arrays, name)) for name in _DIMS}
    except FileNotFoundError:
        pass
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        _log.info("%s is made anew: %s", path, error)
    return np.empty(0, np.int64), _nothing()


def _below(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(f"{name}/"): arrays[key] for key in arrays if key.startswith(f"{name}/")}


def _save(uri: str, attempts: NDArray[np.int64], known: _Known) -> None:
    if "://" in uri:
        return
    parts = {f"{name}/{key}": array for name, part in known.items() for key, array in part.arrays().items()}
    try:
        with replacing(Path(uri) / FILE) as path:
            save_file({"format": np.array(_FORMAT), "attempts": attempts, **parts}, path)
    except SoarError as error:
        _log.info("what is known of %s is not kept: %s", uri, error)
