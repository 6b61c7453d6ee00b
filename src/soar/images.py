"""Sizes of images."""

from __future__ import annotations

import cv2
import numpy as np

from soar.types import Image


def resized(image_HWC: Image, size: tuple[int, ...]) -> Image:
    """Return an image of another (width, height): averaged where it becomes smaller, interpolated where it becomes larger."""
    if image_HWC.shape[1::-1] == tuple(size):
        return image_HWC
    smaller = size[0] < image_HWC.shape[1]
    scaled = cv2.resize(image_HWC, tuple(size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return np.asarray(scaled, np.uint8)
