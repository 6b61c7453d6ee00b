from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from soar.episodes import jpeg as frames
from soar.errors import ConfigError, FormatError
from soar.formats.pictures import check_range, jpeg
from soar.formats.video import VideoWriter, read_frames
from tests.episodes.builders import make_episode

COLOUR = make_episode(size=48).images_THWC[0]
DEPTH = (np.arange(48 * 48).reshape(48, 48) + 900).astype(np.uint16)


def encoded(image: Any, format: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture = Pillow.fromarray(image)
    (picture.convert(mode) if mode else picture).save(stream, format, **options)
    return stream.getvalue()


def png16(image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", image)[1])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are listed on Linux alone")
@pytest.mark.parametrize("codec", ["av1", "h264"])
def test_an_encoder_leaves_nobody_with_real_time_priority(tmp_path: Path, codec: Any) -> None:
    def at_once() -> set[str]:
        threads = {name: os.sched_getscheduler(int(name)) for name in os.listdir("/proc/self/task")}
        return {name for name, policy in threads.items() if policy in (os.SCHED_FIFO, os.SCHED_RR)}

    before = at_once()
    writer = VideoWriter(tmp_path / "film.mp4", fps=5, size=COLOUR.shape[:2], codec=codec)
    found = [at_once()]
    for _ in range(4):
        writer.add(COLOUR)
        found.append(at_once())
    writer.close()
    assert set().union(*found, at_once()) <= before


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_images_of_8_bits_are_encoded_once(mode: str) -> None:
    read = frames.decode(jpeg(encoded(COLOUR, mode=mode), "here"))
    shown = np.asarray(Pillow.open(io.BytesIO(encoded(COLOUR, mode=mode))).convert("RGB"))
    assert np.abs(read.astype(int) - shown).mean() < (6 if mode in ("1", "P") else 2), "few colours are noise to a JPEG"


@pytest.mark.parametrize(
    ("kind", "options"),
    [("RGB", {}), ("L", {}), ("RGB", {"progressive": True}), ("RGB", {"restart_marker_blocks": 2}), ("CMYK", {})],
)
@pytest.mark.parametrize("padding", [b"", b"\0" * 512, b"camera 7, 2024-01-01", b"\xff" * 100, b"\xff\xd9" + b"\0" * 70])
def test_a_jpeg_stays_the_same_bytes_without_what_is_after_its_end(kind: str, options: dict[str, Any], padding: bytes) -> None:
    whole = encoded(COLOUR, "JPEG", kind, **options)
    kept = jpeg(whole + padding, "here")
    assert kept.startswith(whole)
    assert len(kept) <= len(whole) + 64
    np.testing.assert_array_equal(frames.decode(kept), frames.decode(whole))


def test_a_truncated_jpeg_is_one_whatever_its_thumbnail_and_padding() -> None:
    thumbnail = encoded(COLOUR[:8, :8].copy(), "JPEG")
    whole = encoded(COLOUR, "JPEG", exif=b"Exif\0\0" + thumbnail)
    assert jpeg(whole + b"\0" * 100, "here") == whole
    for cut in (whole[:-20], whole[:-20] + b"\0" * 100, b"\xff\xd8\xff"):
        with pytest.raises(FormatError, match=r"here: an image of \d+ bytes is a truncated JPEG"):
            jpeg(cut, "here")


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (encoded(DEPTH), "a PNG of 16 bits"),
        (png16(np.repeat(DEPTH[..., None], 3, 2)), "a PNG of 16 bits"),
        (encoded(DEPTH, "TIFF"), "a TIFF of mode I;16"),
        (encoded(DEPTH.astype(np.int32), "TIFF"), "a TIFF of mode I"),
        (encoded(DEPTH.astype(np.float32), "TIFF"), "a TIFF of mode F"),
    ],
)
def test_images_of_more_than_8_bits_are_refused_or_scaled(image: bytes, what: str) -> None:
    with pytest.raises(FormatError, match=rf"here: an image is {what}, .*values are 900 to 3203.*--image-range 0 2000"):
        jpeg(image, "here")
    read = frames.decode(jpeg(image, "here", (1000.0, 3000.0)))
    expected = np.clip((DEPTH.astype(float) - 1000) / 2000, 0, 1) * 255
    assert np.abs(read[..., 0] - expected).max() < 6
    assert (read.min(), read.max()) == (0, 255)


def test_what_is_no_image_is_refused() -> None:
    for image, words in ((b"", "empty, 0 bytes; is there such a camera"), (b"abc", "neither JPEG nor PNG")):
        with pytest.raises(FormatError, match=words):
            jpeg(image, "here")
    with pytest.raises(ConfigError, match="LOW below HIGH"):
        check_range((5.0, 5.0))


@pytest.mark.parametrize("level", [0, 1, 20, 120, 200, 255])
def test_a_video_keeps_its_levels(tmp_path: Path, level: int) -> None:
    video = VideoWriter(tmp_path / "x.mp4", fps=5, size=(32, 32), codec="h264")
    video.add(np.full((32, 32, 3), level, np.uint8))
    video.close()
    (read,) = read_frames(tmp_path / "x.mp4")
    assert np.abs(read.astype(int) - level).max() <= 1
    assert abs(read.mean() - level) <= 0.5


def test_grey_video_of_more_than_8_bits_is_refused_or_scaled(tmp_path: Path) -> None:
    path = tmp_path / "depth.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width = stream.height = 48
        stream.pix_fmt = "gray16le"
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(DEPTH, format="gray16le")), *stream.encode(None)]:
            container.mux(packet)
    with pytest.raises(FormatError, match=r"depth.mkv: an image is a frame of format gray16le.*values are 900 to 3203"):
        read_frames(path)
    (read,) = read_frames(path, (900.0, 3203.0))
    assert (read.min(), read.max(), read.shape) == (0, 255, (48, 48, 3))


@pytest.mark.parametrize("image", [Pillow.new("L", (70_000, 1)), Pillow.new("1", (20_000, 20_000))])
def test_images_that_are_larger_than_a_jpeg_may_be_are_refused(image: Pillow.Image) -> None:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    with pytest.raises(FormatError, match=r"here: an image of \d+ bytes cannot be made a JPEG: .*(65500|178956970)"):
        jpeg(stream.getvalue(), "here")
