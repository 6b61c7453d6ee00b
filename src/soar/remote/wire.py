"""Images in JSON, between a robot and a model server. Nothing is pickled: what a stranger sends is pixels, or is refused.

    {"png": base64}    {"jpeg": base64}    {"raw": base64, "shape": [height, width, 3]}        uint8 RGB

PNG and raw bytes arrive as they were; JPEG takes a tenth of the bytes and changes the pixels a little. The size of an image is
read from its header and refused before anything is decoded.
"""

from __future__ import annotations

import base64
import binascii
import io
import ipaddress
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import cv2
import numpy as np
import simplejpeg
from PIL import Image as Pillow

from soar.errors import ConfigError, SoarError
from soar.types import Image

TOKEN = "SOAR_TOKEN"
"""Environment variable of the token, of servers and clients alike."""
Encoding = Literal["png", "jpeg", "raw"]
_HEADER_BYTES = 2**16
"""What an image's file may have besides its pixels; one that is longer than them is none that a camera made."""
_PIECE = 2**18
"""Characters of base64 that are decoded at a time; a multiple of four."""
_MOST_SCANS = 100
"""Of a progressive JPEG, which has about ten: each goes over all pixels again."""
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Pillow.DecompressionBombError)
"""What Pillow raises for files that are none."""


class WireError(SoarError):
    """What came over the wire is no image, or a larger one than is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a peer may send.

    Attributes:
        side: Longest side of an image [px].
        images: Of one request.
        megabytes: Of one message.
    """

    side: int = 2048
    images: int = 64
    megabytes: int = 64

    def __post_init__(self) -> None:
        if min(self.side, self.images, self.megabytes) < 1:
            raise ConfigError(f"limits must be at least 1, got {self}")

    @property
    def bytes(self) -> int:
        """Of one message."""
        return self.megabytes * 2**20


def is_url(name: str) -> bool:
    """Whether a model is named by the address of its server."""
    return name.startswith(("http://", "https://"))


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def is_id(name: Any) -> bool:
    """Whether something that a server sent can be a model's id."""
    return isinstance(name, str) and 0 < len(name) <= 500 and name.isprintable()


def values_in(data: bytes) -> int:
    """Return about how many values JSON holds, without parsing it: three bytes can become a hundred in memory."""
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def plain(text: str, longest: int) -> str:
    """Return a stranger's text as one that every file can hold: cut off, and without halves of characters."""
    return text[:longest].encode("utf-8", "replace").decode()


def pack(image_HWC: Image, encoding: Encoding = "png", quality: int = 95) -> dict[str, Any]:
    """Return an image as JSON values; `quality` is that of a JPEG, 1..100."""
    if encoding == "raw":
        return {"raw": _text(np.ascontiguousarray(image_HWC).tobytes()), "shape": list(image_HWC.shape)}
    if encoding == "jpeg":
        pixels = np.ascontiguousarray(image_HWC)
        return {"jpeg": _text(simplejpeg.encode_jpeg(pixels, quality=quality, colorspace="RGB", colorsubsampling="444"))}
    fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    return {"png": _text(cv2.imencode(".png", cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR), fast)[1].tobytes())}


def unpack(value: Any, limits: Limits, size: tuple[int, int] | None = None) -> Image:
    """Return the image (H, W, 3) in JSON values.

    Args:
        value: An object with `png`, `jpeg`, or `raw` and `shape`.
        limits: What it may have.
        size: Height and width that it must have; None: any.

    Raises:
        WireError: It is none, too large, or of another size.
    """
    return open_packed(value, limits, size)()


class Picture:
    """An encoded image of which only the header was read; a call decodes it.

    Attributes:
        height: In pixels.
        width: In pixels.
    """

    def __init__(self, height: int, width: int, decode: Callable[[], Image]) -> None:
        self.height, self.width, self._decode = height, width, decode

    def __call__(self) -> Image:
        """Return the image (H, W, 3).

        Raises:
            WireError: It is damaged.
        """
        return self._decode()

    @property
    def bytes(self) -> int:
        """What it takes once it is decoded."""
        return self.height * self.width * 3


def open_packed(value: Any, limits: Limits, size: tuple[int, int] | None = None) -> Picture:
    """Return the picture in JSON values, still encoded; arguments and errors as of `unpack`."""
    if not isinstance(value, Mapping):
        raise WireError(f"an image is an object with png, jpeg, or raw and shape; got {type(value).__name__}")
    kinds = [kind for kind in ("png", "jpeg", "raw") if kind in value]
    if len(kinds) != 1:
        raise WireError(f"an image has one of png, jpeg, raw; got {', '.join(map(str, list(value)[:5])) or 'nothing'}")
    data = _bytes(value[kinds[0]], limits)
    picture = _open_raw(data, value.get("shape"), limits) if kinds[0] == "raw" else open_file(data, limits)
    if size is not None and size != (picture.height, picture.width):
        raise WireError(f"an image of {picture.height} x {picture.width} px, and {size[0]} x {size[1]} px was expected")
    return picture


def decode(data: bytes, limits: Limits, *, swapped: bool = False) -> Image:
    """Return the image in the bytes of a JPEG or PNG file.

    Args:
        data: Of the file.
        limits: What it may have.
        swapped: Whether whoever wrote it took red for blue.

    Raises:
        WireError: They are neither, damaged, or larger than is allowed.
    """
    return open_file(data, limits, swapped=swapped)()


def open_file(data: bytes, limits: Limits, *, swapped: bool = False) -> Picture:
    """Return the picture in the bytes of a JPEG or PNG file, still encoded; arguments and errors as of `decode`."""
    if data.startswith(b"\xff\xd8\xff"):
        try:
            height, width, *_ = simplejpeg.decode_jpeg_header(data)
        except (ValueError, TypeError) as error:
            raise WireError(f"the JPEG cannot be decoded ({error})") from error
        _check_size(height, width, limits)
        if (scans := data.count(b"\xff\xda")) > _MOST_SCANS:
            raise WireError(f"a JPEG of {scans} scans; up to {_MOST_SCANS} are decoded")
        return Picture(height, width, lambda: _decode_jpeg(data, "BGR" if swapped else "RGB"))
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        try:
            with Pillow.open(io.BytesIO(data), formats=["PNG"]) as picture:
                height, width = picture.height, picture.width
        except _DAMAGED as error:
            raise WireError(f"the PNG cannot be decoded ({error})") from error
        _check_size(height, width, limits)
        return Picture(height, width, lambda: np.ascontiguousarray(_decode_png(data)[..., :: -1 if swapped else 1]))
    raise WireError("an image must be a JPEG or PNG file")


def _decode_jpeg(data: bytes, colours: str) -> Image:
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colorspace=colours), np.uint8)
    except (ValueError, TypeError) as error:
        raise WireError(f"the JPEG cannot be decoded ({error})") from error


def _decode_png(data: bytes) -> Image:
    try:
        with Pillow.open(io.BytesIO(data), formats=["PNG"]) as picture:
            return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"), np.uint8)
    except _DAMAGED as error:
        raise WireError(f"the PNG cannot be decoded ({error})") from error


def open_url(url: Any, limits: Limits) -> Picture:
    """Return the picture in a `data:` URL, still encoded; others are refused: a server fetches nothing for a stranger.

    Raises:
        WireError: It is no such URL, or what `decode` says.
    """
    if not isinstance(url, str) or not url.startswith("data:image/"):
        raise WireError("an image must be a data: URL (data:image/jpeg;base64,…); the server fetches no others")
    head, _, body = url.partition(",")
    if not head.endswith(";base64"):
        raise WireError("a data: URL must say ;base64")
    return open_file(_bytes(body, limits), limits)


def _open_raw(data: bytes, shape: Any, limits: Limits) -> Picture:
    whole = isinstance(shape, list) and len(shape) == 3 and all(type(side) is int for side in shape)
    if not whole or shape[2] != 3:
        raise WireError("the shape of a raw image is [height, width, 3]")
    _check_size(shape[0], shape[1], limits)
    if len(data) != shape[0] * shape[1] * 3:
        raise WireError(f"a raw image of shape {shape} has {shape[0] * shape[1] * 3} bytes, got {len(data)}")
    return Picture(shape[0], shape[1], lambda: np.frombuffer(data, np.uint8).reshape(shape).copy())


def _check_size(height: int, width: int, limits: Limits) -> None:
    if not (1 <= height <= limits.side and 1 <= width <= limits.side):
        raise WireError(f"an image of {height} x {width} px; between 1 and {limits.side} px a side are allowed")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: Any, limits: Limits) -> bytes:
    most = limits.side**2 * 4 + _HEADER_BYTES
    if not isinstance(text, str):
        raise WireError("an image's bytes must be base64")
    if len(text) > most * 4 // 3 + 4:
        raise WireError(
            f"an image of {len(text)} characters; one of {limits.side} x {limits.side} px has fewer than {most} bytes"
        )
    try:
        if text.find("=", 0, max(len(text) - 2, 0)) >= 0:  # a slice would be a copy
            raise ValueError("more follows its end")
        # By pieces, between which other threads of this process have their turn.
        pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
        return b"".join([binascii.a2b_base64(piece, strict_mode=True) for piece in pieces])
    except (binascii.Error, ValueError, TypeError) as error:
        raise WireError("an image's bytes must be base64") from error
