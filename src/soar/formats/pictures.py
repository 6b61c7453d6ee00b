"""Encoded images of foreign files become the JPEGs of a store.

A JPEG stays the same bytes. 8-bit colour and grey of other formats is encoded once. What has more bits, as depth has, would be
black or white to an eye: it is refused, or scaled from a range that whoever imports it names.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from soar.episodes import jpeg as frames
from soar.errors import ConfigError, FormatError
from soar.types import Image

ImageRange = tuple[float, float]
"""Values that become black and white."""
_EIGHT_BITS = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
_PNG, _START, _END = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd9"
_PNG_BITS = 24
"""Where a PNG says how many bits a channel has."""
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, struct.error, Pillow.DecompressionBombError)
"""What Pillow and the encoder say of images that are damaged, or larger than a JPEG may be."""
_SCAN = 0xDA
_ALONE = {0x01, *range(0xD0, 0xD8)}
"""Markers of a JPEG that no length follows."""


class DeepImageError(FormatError):
    """An image has more than 8 bits, and nobody said what of it is black and white."""


def check_range(image_range: ImageRange | None) -> None:
    """Refuse a range that is none.

    Raises:
        ConfigError: It is empty or turned round.
    """
    if image_range is not None and not image_range[0] < image_range[1]:
        raise ConfigError(f"--image-range needs LOW below HIGH, for example 0 2000; got {image_range[0]} {image_range[1]}")


def jpeg(image: bytes, place: str, image_range: ImageRange | None = None) -> bytes:
    """Return an encoded image as JPEG: unchanged if it is one, otherwise encoded as the store does.

    Args:
        image: Any format that Pillow reads; a JPEG may be padded after its end.
        place: File and place, for messages.
        image_range: Of an image of more than 8 bits.

    Raises:
        FormatError: It is no image, or has more than 8 bits and there is no range. What is wrong within a JPEG is found when
            the episode is checked, or decoded.
    """
    if frames.is_whole(image):
        # Its header is read when the episode is checked.
        return image
    if not image:
        raise FormatError(f"{place}: an image is empty, 0 bytes; is there such a camera in this episode?")
    if image.startswith(_START):
        whole = image[: _jpeg_end(image)]
        if not frames.is_whole(whole):
            raise FormatError(f"{place}: an image of {len(image)} bytes is a truncated JPEG")
        return whole
    try:
        if image.startswith(_PNG) and image[_PNG_BITS : _PNG_BITS + 1] == b"\x10":
            return frames.encode(scaled(_sixteen_bits(image, place), "a PNG of 16 bits", place, image_range))
        with Pillow.open(io.BytesIO(image)) as picture:
            if picture.mode not in _EIGHT_BITS:
                what = f"a {picture.format} of mode {picture.mode}"
                return frames.encode(scaled(np.asarray(picture), what, place, image_range))
            return frames.encode(np.asarray(picture.convert("RGB")))
    except UnidentifiedImageError as error:
        raise FormatError(f"{place}: an image of {len(image)} bytes is neither JPEG nor PNG") from error
    except _DAMAGED as error:
        raise FormatError(f"{place}: an image of {len(image)} bytes cannot be made a JPEG: {error}") from error


def scaled(values: NDArray[Any], what: str, place: str, image_range: ImageRange | None) -> Image:
    """Return an image of 8 bits from one of more.

    Args:
        values: (H, W) or (H, W, 3), any numbers.
        what: What it is, for messages.
        place: File and place, for messages.
        image_range: What becomes black and white.

    Raises:
        DeepImageError: There is no range.
    """
    if image_range is None:
        found = f"its values are {np.nanmin(values):g} to {np.nanmax(values):g}" if values.size else "it is empty"
        raise DeepImageError(
            f"{place}: an image is {what}, not 8-bit colour or grey, perhaps depth; {found}. Choose another camera, or name "
            "the values that become black and white, for example --image-range 0 2000"
        )
    low, high = image_range
    share = (np.nan_to_num(values.astype(np.float64), nan=low) - low) / (high - low)
    image = np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def _sixteen_bits(image: bytes, place: str) -> NDArray[Any]:
    """Return the values of a PNG, of which Pillow would keep half of the bits."""
    values = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise FormatError(f"{place}: an image of {len(image)} bytes is a damaged PNG")
    return values if values.ndim == 2 else values[..., 2::-1]


def _jpeg_end(image: bytes) -> int:
    """Return where a JPEG ends, 0 where it does not. Thumbnails within it have ends of their own."""
    at = len(_START)
    while at + 4 <= len(image):
        kind = image[at + 1]
        if image[at] != 0xFF:
            return 0
        if kind == 0xFF:
            at += 1
        elif kind == _END[1]:
            return at + len(_END)
        elif kind in _ALONE:
            at += 2
        else:
            at += 2 + int.from_bytes(image[at + 2 : at + 4], "big")
            if kind == _SCAN:
                at = _after_scan(image, at)
    return at + len(_END) if image[at : at + 2] == _END else 0


def _after_scan(image: bytes, at: int) -> int:
    """Return where the next marker is: among compressed data, an FF that is none is followed by 00 or a restart's number."""
    while (at := image.find(b"\xff", at)) >= 0 and at + 1 < len(image):
        if image[at + 1] != 0 and image[at + 1] not in _ALONE:
            return at
        at += 2
    return len(image)
