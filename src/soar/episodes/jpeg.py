"""Camera frames as JPEG: quality 95 without chroma subsampling, encoded and decoded by a pool of threads.

The codec releases the GIL, so threads are enough; a store never starts a process (Lance is not safe under fork). The process
has one pool, with a thread for each core that it may use: several batches in the making share the cores instead of crowding
them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from soar.errors import StoreError
from soar.images import ImageFitter
from soar.types import Image

QUALITY = 95
_BLOCK = 32
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
        raise _not_a_jpeg(jpeg, error) from error
    return image


def is_whole(jpeg: bytes) -> bool:
    """Whether bytes begin and end as a JPEG does; looks at a few of them."""
    return jpeg.startswith(b"\xff\xd8") and b"\xff\xd9" in jpeg[-64:]


def size(jpeg: bytes) -> tuple[int, int] | None:
    """Return (height, width) from the header of a JPEG that also has its end, None when the bytes are something else."""
    if not is_whole(jpeg):
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


def decode_into(jpegs: Sequence[bytes], images_NHWC: Sequence[Image] | NDArray[np.uint8]) -> None:
    """Decode N JPEGs into `images_NHWC`, contiguous memory of N images; when this returns or raises, no thread writes there.

    Raises:
        StoreError: A frame is not a JPEG, or has another size than its place in `images_NHWC`.
    """

    def one(index: int) -> None:
        target_HWC = images_NHWC[index]
        try:
            # The header is read twice: a smaller image would fill a part of the memory without a word.
            found = simplejpeg.decode_jpeg_header(jpegs[index])[:2]
            if found == target_HWC.shape[:2]:
                simplejpeg.decode_jpeg(jpegs[index], colorspace="RGB", buffer=target_HWC)
                return
        except ValueError as error:
            raise _not_a_jpeg(jpegs[index], error) from error
        raise StoreError(
            f"frames of different sizes, {found[1]}x{found[0]} and {_size(target_HWC)} pixels, cannot be one array; "
            "select episodes of one size with a filter, for example by robot or run"
        )

    _for_each(one, len(jpegs))


def decode_fitted(jpegs: Sequence[bytes], images_NHWC: Sequence[Image] | NDArray[np.uint8], fitter: ImageFitter) -> None:
    """Decode N JPEGs of any size, and bring each to the size of its place in `images_NHWC`; as `decode_into` otherwise."""

    def one(index: int) -> None:
        images_NHWC[index][...] = fitter(decode(jpegs[index]))

    _for_each(one, len(jpegs))


def decode_all(jpegs: Sequence[bytes]) -> NDArray[np.uint8]:
    """Decode N > 0 JPEGs of one size to (N, H, W, 3) uint8 RGB."""
    images_NHWC = np.empty((len(jpegs), *decode(jpegs[0]).shape), np.uint8)
    decode_into(jpegs, images_NHWC)
    return images_NHWC


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _not_a_jpeg(jpeg: bytes, error: ValueError) -> StoreError:
    return StoreError(f"a stored frame of {len(jpeg)} bytes is not a JPEG ({error}); restore the store from a copy")


def _size(image_HWC: Image) -> str:
    return f"{image_HWC.shape[1]}x{image_HWC.shape[0]}"


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="jpeg")


def _for_each(function: Callable[[int], None], count: int) -> None:
    """Call `function` with every index; in threads, by blocks, when that pays."""
    if count <= _BLOCK or cores() == 1:
        _run(function, range(count))
        return
    blocks = [range(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
    running = [_pool().submit(_run, function, block) for block in blocks]
    wait(running)
    for block in running:
        block.result()


def _run(function: Callable[[int], None], indices: Iterable[int]) -> None:
    for index in indices:
        function(index)
