"""Videos of frames at a constant rate, read and written by FFmpeg's libraries."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import av
import cv2
import numpy as np

from soar.errors import FormatError
from soar.formats.pictures import ImageRange, scaled
from soar.types import Image

os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder talks to standard error otherwise; errors still do
Codec = Literal["av1", "h264"]
_ENCODERS = {
    "av1": ("libsvtav1", {"g": "2", "crf": "30", "preset": "10", "svtav1-params": "lp=1"}),
    "h264": ("libx264", {"g": "2", "crf": "18"}),
}
_BT601, _VIDEO_LEVELS = (2, 5, 6), (0, 1)
"""FFmpeg's numbers of colour spaces and ranges; the first of the spaces, and of the ranges, is none."""
TOLERANCE_S = 1e-4
"""How far the time of a frame may be from what is expected."""


def read_frames(path: Path, image_range: ImageRange | None = None) -> list[Image]:
    """Return all frames of a video; `image_range` is for grey of more than 8 bits.

    Raises:
        FormatError: It cannot be read.
    """
    with _opened(path) as container:
        return [_image(frame, path, image_range) for frame in container.decode(video=0)]


def read_at(path: Path, times_s: Sequence[float], tolerance_s: float, image_range: ImageRange | None = None) -> Iterator[Image]:
    """Yield the frames at some times.

    Args:
        path: Of the video.
        times_s: In order.
        tolerance_s: How far from its time a frame may be.
        image_range: For grey of more than 8 bits.

    Raises:
        FormatError: The video cannot be read, ends too early, or has no frame at one of the times.
    """
    found, before_s = 0, None
    with _opened(path) as container:
        container.seek(max(0, round((times_s[0] - 2 * tolerance_s) * av.time_base)), backward=True)
        for frame in container.decode(video=0):
            if frame.time is None or frame.time < times_s[found] - tolerance_s:
                before_s = frame.time
                continue
            if frame.time > times_s[found] + tolerance_s:
                before = "" if before_s is None else f"one at {before_s:.4f} s and "
                raise FormatError(
                    f"{path}: expected a frame at {times_s[found]:.4f} s, found {before}one at {frame.time:.4f} s"
                )
            yield _image(frame, path, image_range)
            found, before_s = found + 1, frame.time
            if found == len(times_s):
                return
    raise FormatError(
        f"{path}: {len(times_s)} frames from {times_s[0]:.4f} s on were expected, {found} are there; is it truncated?"
    )


def frame_count(path: Path) -> tuple[int, float] | None:
    """Return how many frames a video has, and how many a second, as its header says; None where it does not.

    Raises:
        FormatError: It cannot be read.
    """
    with _opened(path) as container:
        stream = container.streams.video[0]
        return (stream.frames, float(stream.average_rate)) if stream.frames and stream.average_rate else None


class VideoWriter:
    """Appends frames to a video file; `count` of them so far, in about `bytes`.

    Args:
        path: Of the file, an mp4.
        fps: Frames a second.
        size: (height, width), even numbers.
        codec: `av1` is what LeRobot uses, `h264` is faster and plays everywhere.

    Raises:
        FormatError: The size is odd.
    """

    def __init__(self, path: Path, *, fps: int, size: tuple[int, int], codec: Codec) -> None:
        if size[0] % 2 or size[1] % 2:
            raise FormatError(f"videos need frames of even height and width, these are {size[0]}x{size[1]}")
        encoder, options = _ENCODERS[codec]
        path.parent.mkdir(parents=True, exist_ok=True)
        self.count = 0
        self.bytes = 0
        self._container = av.open(str(path), "w")
        self._stream = cast(av.VideoStream, self._container.add_stream(encoder, rate=Fraction(fps), options=options))
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = "yuv420p"
        self._urgent = set(_real_time_threads())
        self._stream.codec_context.open()
        _take_back_priority(self._urgent)

    def add(self, image_HWC: Image) -> None:
        """Append a frame."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image_HWC), format="rgb24")
        frame.pts = self.count
        frame.time_base = 1 / self._stream.codec_context.framerate
        self._mux(frame)
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        self._mux(None)
        self._container.close()

    def _mux(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self.bytes += packet.size
            self._container.mux(packet)
        if not self.count or frame is None or _is_real_time(0):  # some of its threads begin with a frame
            _take_back_priority(self._urgent)


def _image(frame: av.VideoFrame, path: Path, image_range: ImageRange | None) -> Image:
    """Return a frame as RGB of 8 bits. Colour of more bits has the whole range, so it is only rounded; grey may be depth."""
    components = frame.format.components
    if _is_plain(frame):
        # FFmpeg's own conversion rounds down: its pictures are a level darker.
        return np.asarray(cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420), np.uint8)
    if len(components) > 2 or components[0].bits <= 8 or frame.format.name.startswith("pal"):
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    try:
        values = frame.to_ndarray()
    except ValueError as error:
        raise FormatError(f"{path}: frames of format {frame.format.name} are not read; encode the video again") from error
    return scaled(values, f"a frame of format {frame.format.name}", str(path), image_range)


def _is_plain(frame: av.VideoFrame) -> bool:
    """Whether a frame is as most videos are: 4:2:0 of 8 bits, colours of BT.601 or of no name, and video's levels."""
    colours = int(frame.colorspace) in _BT601 and int(frame.color_range) in _VIDEO_LEVELS
    return frame.format.name == "yuv420p" and colours and frame.height % 2 == 0 and frame.width % 2 == 0


@contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a video; what FFmpeg says about it becomes an error that names it."""
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise FormatError(f"{path} holds no video")
            yield container
    except (av.FFmpegError, OSError) as error:
        raise FormatError(f"cannot read the video {path}: {error.strerror or error}; restore the file") from error


def _take_back_priority(before: set[int]) -> None:
    """Take back the real-time priority that the AV1 encoder gives itself where it may, as root.

    It gives it to its threads and to the one that opens it, from which whatever is started later inherits it: two such
    processes on two cores let nobody else in, for minutes.

    Args:
        before: Threads that had it already.
    """
    for thread in _real_time_threads():
        if thread not in before:
            with suppress(ProcessLookupError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _real_time_threads() -> Iterator[int]:
    """Yield the threads of this process with real-time priority; none where there is no such thing."""
    threads = Path("/proc/self/task")
    for name in os.listdir(threads) if threads.exists() else ():
        with suppress(ProcessLookupError):
            if _is_real_time(int(name)):
                yield int(name)


def _is_real_time(thread: int) -> bool:
    """Whether a thread, 0 for the one that asks, has real-time priority."""
    return hasattr(os, "sched_getscheduler") and os.sched_getscheduler(thread) in (os.SCHED_FIFO, os.SCHED_RR)
