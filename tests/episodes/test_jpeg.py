from __future__ import annotations

import numpy as np
import pytest

from soar.episodes import jpeg as frames
from soar.errors import StoreError

from .builders import make_episode


def test_many_frames_come_back_in_order_and_nearly_as_they_were() -> None:
    images_NHWC = make_episode(steps=400).images_THWC
    decoded = frames.decode_all(frames.encode_all(images_NHWC))
    assert np.abs(decoded.astype(int) - images_NHWC).max() <= 3


def test_colour_edges_survive_because_chroma_is_not_subsampled() -> None:
    image_HWC = np.zeros((16, 16, 3), np.uint8)
    image_HWC[:, 1::2] = (255, 0, 0)
    error = np.abs(frames.decode(frames.encode(image_HWC)).astype(int) - image_HWC)
    assert error.mean() < 12


def test_bytes_that_are_not_a_jpeg_are_one_clear_error() -> None:
    with pytest.raises(StoreError, match="not a JPEG"):
        frames.decode(b"not a picture")


def test_frames_of_different_sizes_cannot_be_one_array() -> None:
    jpegs = [frames.encode(np.zeros((8, size, 3), np.uint8)) for size in (8, 16)]
    with pytest.raises(StoreError, match=r"16x8 and 8x8 pixels.*filter"):
        frames.decode_all(jpegs)
