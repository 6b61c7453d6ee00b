"""Images that stay in the store until somebody asks for them.

`StoredImages` reads like the array of all images of some episodes, `images_NHWC[rows]`, but each call takes the JPEGs of its
rows from the store in one batch and decodes them by the pool of threads of `soar.episodes.jpeg`. What it holds in memory is
a cache of decoded images of a fixed size: it fills with the images that are asked for first, and then stays as it is. Draws
are random, so any other choice of what to keep would be hit as often and would only cost copies. When all images fit, each is
decoded once, and reading is from memory.

Shape suffixes: N images, B images that are asked for, H height, W width, C channels.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from soar.datasets.buffers import Buffers
from soar.episodes import jpeg as frames
from soar.episodes.store import EpisodeStore
from soar.errors import StoreError
from soar.images import ImageFitter
from soar.types import Image

_SHARE = 0.5
"""Of the free memory that a cache may take; the next one gets this share of what that leaves."""
_CHECKED = 512
"""Frames whose size is looked at when images are opened; a deviation of others shows when they are read."""
_CHUNK = 4096
"""Rows read at once: enough for speed, little enough that their JPEGs never weigh against the decoded images."""
_UNLIMITED = 1 << 60
Targets: TypeAlias = Sequence[Image] | NDArray[np.uint8]
"""Contiguous memory of B images."""
_caches: weakref.WeakSet[FrameCache] = weakref.WeakSet()


class Images(Protocol):
    """N images, uint8 RGB: an array in memory, or `StoredImages`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows_B: NDArray[np.int64], /) -> NDArray[np.uint8]: ...


class FrameCache:
    """Decoded images of some rows of a store, in memory that is fixed from the start.

    Args:
        rows: How many rows the store has.
        shape: (H, W, C) of an image.
        limit: Bytes that it may take; by default half of the memory that is free, less what other caches may yet take.
    """

    def __init__(self, rows: int, shape: tuple[int, ...], limit: int | None = None) -> None:
        size = math.prod(shape)
        self.capacity = min(rows, (free_bytes() if limit is None else limit) // size)
        # The operating system gives this memory page by page, when it is written to.
        self._images = np.empty((self.capacity, *shape), np.uint8)
        self._slots = np.full(rows if self.capacity else 0, -1, np.int32)
        self._used = 0
        self._lock = threading.Lock()
        _caches.add(self)

    @property
    def unfilled_bytes(self) -> int:
        """Memory that it will still take."""
        return (self.capacity - self._used) * math.prod(self._images.shape[1:])

    def copy_to(self, rows_B: NDArray[np.int64], targets: Targets) -> NDArray[np.int64]:
        """Copy the images that are here, and return the places (in 0 … B - 1) of those that are not."""
        if not self.capacity:
            return np.arange(len(rows_B))
        slots_B = self._slots[rows_B]
        for place in np.flatnonzero(slots_B >= 0).tolist():
            targets[place][...] = self._images[slots_B[place]]
        return np.flatnonzero(slots_B < 0)

    def keep(self, rows_B: NDArray[np.int64], images: Sequence[Image]) -> None:
        """Keep images, as long as there is room."""
        if self._used == self.capacity:
            return
        with self._lock:
            for row, image_HWC in zip(rows_B, images, strict=True):
                if self._used < self.capacity and self._slots[row] < 0:
                    self._images[self._used] = image_HWC
                    # Readers look here first, without the lock: the image is in its place by now.
                    self._slots[row] = self._used
                    self._used += 1


class StoredImages:
    """The images of N rows of a store, decoded when they are asked for. Threads may share it.

    Args:
        store: Opened at a version, so that rows stay what they are.
        rows_N: Of the store, see `EpisodeStore.rows`.
        cache_bytes: Memory for decoded images; None lets it size itself from the memory that is free, 0 is none.
        fitter: Brings images to a network's size as they are decoded; None leaves them as the camera gave them.

    Raises:
        StoreError: There are no rows, a row is missing or not a JPEG, or the frames that were looked at differ in size.
    """

    def __init__(
        self,
        store: EpisodeStore,
        rows_N: NDArray[np.int64],
        *,
        cache_bytes: int | None = None,
        fitter: ImageFitter | None = None,
    ) -> None:
        self._store, self._rows_N = store, rows_N
        looked_at = np.unique(np.linspace(0, len(rows_N) - 1, min(len(rows_N), _CHECKED)).astype(np.int64))
        jpegs = store.table(rows_N[looked_at], ["frame"])["frame"].to_pylist()
        found_HWC = frames.decode(jpegs[0]).shape
        self._fitter = fitter if fitter is not None and fitter.shape != found_HWC else None
        self._shape: tuple[int, ...] = found_HWC if self._fitter is None else self._fitter.shape
        sizes = {size for jpeg in jpegs if (size := frames.size(jpeg)) is not None}
        if len(sizes) > 1:
            found = " and ".join(f"{width}x{height}" for height, width in sorted(sizes))
            raise StoreError(
                f"{store.uri}: frames of different sizes, {found} pixels, cannot be one array; "
                "select episodes of one size with a filter, for example by robot or run"
            )
        self._cache = FrameCache(store.row_count, self._shape, cache_bytes)
        self._buffers = Buffers()

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return (len(self._rows_N), *self._shape)

    @property
    def cached(self) -> int:
        """How many decoded images the cache can hold."""
        return self._cache.capacity

    def __len__(self) -> int:
        return len(self._rows_N)

    def __getitem__(self, rows_B: NDArray[np.int64], /) -> NDArray[np.uint8]:
        images_BHWC = self._buffers.empty((len(rows_B), *self._shape))
        self.read_into(rows_B, images_BHWC)
        return images_BHWC

    def select(self, rows_B: NDArray[np.int64]) -> StoredImages:
        """Return some of the images, nothing decoded, with the same cache."""
        selected = object.__new__(StoredImages)
        selected.__dict__ = self.__dict__ | {"_rows_N": self._rows_N[rows_B]}
        return selected

    def read_into(self, rows_B: NDArray[np.int64], targets: Targets) -> None:
        """Decode B images, each into an array of its size.

        Raises:
            StoreError: A frame is not a JPEG, has another size than the others, or cannot be read.
        """
        stored_B = self._rows_N[np.asarray(rows_B, np.int64)]
        missing = self._cache.copy_to(stored_B, targets)
        for start in range(0, len(missing), _CHUNK):
            places = missing[start : start + _CHUNK]
            jpegs = self._store.table(stored_B[places], ["frame"])["frame"].to_pylist()
            images = [targets[place] for place in places.tolist()]
            if self._fitter is None:
                frames.decode_into(jpegs, images)
            else:
                frames.decode_fitted(jpegs, images, self._fitter)
            self._cache.keep(stored_B[places], images)


def read_into(images: Images, rows_B: NDArray[np.int64], targets: Targets) -> None:
    """Copy or decode B images, each into an array of its size."""
    if isinstance(images, StoredImages):
        images.read_into(rows_B, targets)
        return
    for target_HWC, image_HWC in zip(targets, images[rows_B], strict=True):
        target_HWC[...] = image_HWC


def select(images: Images, rows_B: NDArray[np.int64]) -> Images:
    """Return some of the images: a copy of those in memory, only the rows of stored ones."""
    return images.select(rows_B) if isinstance(images, StoredImages) else images[rows_B]


def free_bytes() -> int:
    """Return what one more cache may take: half of the memory that is free and that no other cache may yet take."""
    return int(_SHARE * max(0, available_bytes() - promised_bytes()))


def promised_bytes() -> int:
    """Return the memory that the caches of this process may still take."""
    return sum(cache.unfilled_bytes for cache in _caches)


def available_bytes() -> int:
    """Return the memory that this process could take without another one suffering: of the machine, or of its container."""
    found = [_UNLIMITED]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        limit, used, stat = (
            Path(f"/sys/fs/cgroup/memory.{name}").read_text(encoding="utf-8").strip() for name in ("max", "current", "stat")
        )
        if limit != "max":
            # Files that were read and may be forgotten count as used there.
            files = sum(int(line.split()[1]) for line in stat.splitlines() if line.startswith("inactive_file "))
            found.append(int(limit) - int(used) + files)
    except OSError:
        # Not Linux, or no container: what was found until here counts.
        pass
    return min(found) if min(found) < _UNLIMITED else 4 << 30
