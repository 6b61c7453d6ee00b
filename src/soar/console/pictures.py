"""Pictures that pages show: stored frames as they are, and thumbnails; none that a browser or this process would choke on.

A stored frame is somebody's bytes. Its header is looked at before anything decodes it: what is no JPEG, or has more pixels than
any camera, is shown as a grey picture instead.
"""

from __future__ import annotations

import base64
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import simplejpeg

from soar.episodes import jpeg
from soar.episodes.browsing import Browser, Place
from soar.errors import StoreError
from soar.images import resized
from soar.types import Image

MOST_PIXELS = 2**25
"""Of a picture that is shown."""
THUMBNAIL_PX = 112
_KEPT_BYTES = 2**25


def shown(frame: bytes | None) -> bytes:
    """Return a stored frame as a page may show it, or a grey picture."""
    return frame if frame is not None and _harmless(frame) else placeholder()


def embeddable(picture: str) -> str:
    """Return a JPEG in base64 as a page may hold it; empty for what is none, or has too many pixels."""
    try:
        return picture if _harmless(base64.b64decode(picture, validate=True)) else ""
    except ValueError:
        return ""


def thumbnail(frames: list[bytes | None]) -> bytes:
    """Return small pictures of some frames, side by side, as one JPEG."""
    small = [_small(frame) for frame in frames]
    row = np.concatenate([picture for one in small for picture in (one, np.full((THUMBNAIL_PX, 2, 3), 128, np.uint8))][:-1], 1)
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(row), quality=82, colorspace="RGB", colorsubsampling="420")
    return data


class Thumbnails:
    """First and last frame of episodes, kept in memory up to a size. Safe to use from several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()

    def of(self, source: str, browser: Callable[[], Browser], attempt: int, first_row: int, length: int) -> bytes:
        """Return an episode's thumbnail.

        Raises:
            StoreError: The store cannot be read.
        """
        key = (source, attempt, length)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = thumbnail(browser().frames([Place(attempt, first_row, 0), Place(attempt, first_row, length)]))
        with self._lock:
            self._bytes += len(made) - len(self._kept.get(key, b""))
            self._kept[key] = made
            while self._bytes > _KEPT_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return made


@functools.cache
def placeholder() -> bytes:
    """Return the grey picture."""
    return jpeg.encode(np.full((64, 64, 3), 128, np.uint8))


def _harmless(frame: bytes) -> bool:
    size = jpeg.size(frame)
    return size is not None and size[0] * size[1] <= MOST_PIXELS


def _small(frame: bytes | None) -> Image:
    """Return a square picture of a frame, with bars where it has another shape."""
    square: Image = np.full((THUMBNAIL_PX, THUMBNAIL_PX, 3), 40, np.uint8)
    try:
        image = jpeg.decode(shown(frame))
    except StoreError:
        image = jpeg.decode(placeholder())
    height, width = image.shape[:2]
    factor = THUMBNAIL_PX / max(height, width)
    rows, columns = max(1, round(height * factor)), max(1, round(width * factor))
    top, left = (THUMBNAIL_PX - rows) // 2, (THUMBNAIL_PX - columns) // 2
    square[top : top + rows, left : left + columns] = resized(image, (columns, rows))
    return square
