"""What calls to models cost, told to whoever listens; a model that knows no tokens of its own tells nothing.

    a model ── spend(tokens) ──► whoever listens within `counted()`; nobody listens: it is dropped

The caps on calls and tokens are something else (`soar.vlm.response_cache`): they hold for a file, over runs and processes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_lock = threading.Lock()


@dataclass(slots=True)
class Spending:
    """What was spent.

    Attributes:
        calls: That were answered, or at least paid for.
        tokens: Of prompts, thoughts and answers together, as far as it was said.
        untold: Calls of which nobody said how many tokens they took.
    """

    calls: int = 0
    tokens: int = 0
    untold: int = 0


_ears: list[Spending] = []


def spend(tokens: int, calls: int = 1) -> None:
    """Tell the innermost listener what calls took; no tokens: nobody said so. Calls may come from several threads."""
    with _lock:
        if _ears:
            _ears[-1].calls += calls
            _ears[-1].tokens += tokens
            _ears[-1].untold += 0 if tokens else calls


@contextmanager
def counted() -> Iterator[Spending]:
    """Count what is spent within."""
    spending = Spending()
    _ears.append(spending)
    try:
        yield spending
    finally:
        _ears.remove(spending)
