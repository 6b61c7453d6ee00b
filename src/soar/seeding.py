"""Random numbers: every draw derives from (seed, stream name, step), so that nothing depends on the order of calls."""

from __future__ import annotations

import zlib

import numpy as np


def derive_seed(seed: int, stream: str, step: int = 0) -> int:
    """Return a 63-bit seed that is a function of `seed`, the name of a stream, and a step in it."""
    words = np.random.SeedSequence([seed, zlib.crc32(stream.encode()), step]).generate_state(2, np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])


def generator(seed: int, stream: str, step: int = 0) -> np.random.Generator:
    """Return the NumPy generator of (seed, stream name, step)."""
    return np.random.default_rng(derive_seed(seed, stream, step))
