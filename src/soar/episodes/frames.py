"""Camera frames as JPEG: quality 95 without chroma subsampling, encoded and decoded by a pool of threads.

The codec releases the GIL, so threads are enough; a store never starts a process (Lance is not safe under fork).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from soar.errors import StoreError
from soar.types import Image

QUALITY = 95
_BLOCK = 128
"""Frames that a thread handles at a time; fewer are not worth one."""


def encode(image_HWC: Image) -> bytes:
    """Encode one uint8 RGB image as JPEG (quality 95, 4:4:4)."""
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image_HWC), quality=QUALITY, colorspace="RGB", colorsubsampling="444"
    )
    return data


def decode(jpeg: bytes) -> Image:
    """Decode one JPEG to (H, W, 3) uint8 RGB.

    Raises:
        StoreError: The bytes are not a JPEG.
    """
    try:
        image: Image = simplejpeg.decode_jpeg(jpeg, colorspace="RGB")
    except ValueError as error:
        raise StoreError(
            f"a stored frame of {len(jpeg)} bytes is not a JPEG ({error}); restore the store from a copy"
        ) from error
    return image


def size(jpeg: bytes) -> tuple[int, int] | None:
    """Return (height, width) from the header of a JPEG that also has its end, None when the bytes are something else."""
    if not jpeg.startswith(b"\xff\xd8") or b"\xff\xd9" not in jpeg[-64:]:
        return None
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
    except ValueError:
        return None
    return int(height), int(width)


def encode_all(images_NHWC: NDArray[np.uint8]) -> list[bytes]:
    """Encode (N, H, W, 3) uint8 RGB images, in order."""
    jpegs = [b""] * len(images_NHWC)

    def one(index: int) -> None:
        jpegs[index] = encode(images_NHWC[index])

    _for_each(one, len(jpegs))
    return jpegs


def decode_into(jpegs: Sequence[bytes], images_NHWC: NDArray[np.uint8]) -> None:
    """Decode N JPEGs into `images_NHWC`.

    Raises:
        StoreError: A frame is not a JPEG, or has another size than `images_NHWC`.
    """

    def one(index: int) -> None:
        image = decode(jpegs[index])
        if image.shape != images_NHWC.shape[1:]:
            raise StoreError(
                f"frames of different sizes, {_size(image)} and {_size(images_NHWC[0])} pixels, cannot be one array; "
                "select episodes of one size with a filter, for example by robot or run"
            )
        images_NHWC[index] = image

    _for_each(one, len(jpegs))


def decode_all(jpegs: Sequence[bytes]) -> NDArray[np.uint8]:
    """Decode N > 0 JPEGs of one size to (N, H, W, 3) uint8 RGB."""
    images_NHWC = np.empty((len(jpegs), *decode(jpegs[0]).shape), np.uint8)
    decode_into(jpegs, images_NHWC)
    return images_NHWC


def _size(image_HWC: Image) -> str:
    return f"{image_HWC.shape[1]}x{image_HWC.shape[0]}"


def _for_each(function: Callable[[int], None], count: int) -> None:
    """Call `function` with every index; in threads, by blocks, when that pays."""
    workers = os.cpu_count() or 1
    if count <= _BLOCK or workers == 1:
        _run(function, range(count))
        return
    blocks = [range(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(lambda block: _run(function, block), blocks):
            pass


def _run(function: Callable[[int], None], indices: Iterable[int]) -> None:
    for index in indices:
        function(index)
