"""How long models behind servers kept this process waiting, told to whoever listens.

    client of a model ── waiting(kind) ──► whoever listens within `heard()`; nobody listens: it is dropped

A wait is a request with all its retries, answered or not. Kinds are `subgoal`, `policy` and `vlm`.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from soar.prometheus import Histogram

_lock = threading.Lock()
_ears: list[defaultdict[str, Histogram]] = []


@contextmanager
def waiting(kind: str) -> Iterator[None]:
    """Tell the innermost listener how long it took to do what is done within; requests may come from several threads."""
    begins = time.perf_counter()
    try:
        yield
    finally:
        took_s = time.perf_counter() - begins
        with _lock:
            if _ears:
                _ears[-1][kind].add(took_s)


@contextmanager
def heard() -> Iterator[dict[str, Histogram]]:
    """Collect what is waited for within, by kind."""
    found: defaultdict[str, Histogram] = defaultdict(Histogram)
    _ears.append(found)
    try:
        yield found
    finally:
        _ears[:] = [ear for ear in _ears if ear is not found]
