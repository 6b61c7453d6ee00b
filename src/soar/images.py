"""Sizes of images, and how pictures of any size and shape become what a network looks at.

Stores keep what the camera gave. Training, acting, evaluation and servers bring it to the network's size in one and the same
way, which is part of the checkpoint (`network.fit`):

    squash    both sides are scaled to the network's, as the released code does: nothing is lost, shapes are distorted
    crop      the middle of the picture, as large a part as has the network's shape: shapes stay, the rim is lost
    pad       the whole picture between black bars: nothing is lost, shapes stay, pixels are

A side that becomes smaller is averaged, one that becomes larger is interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from soar.types import Image

Fit = Literal["squash", "crop", "pad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFitter:
    """Brings pictures to a network's size.

    Attributes:
        size: Height and width of the network's pictures [px].
        fit: See the module's docstring.
    """

    size: int
    fit: Fit = "squash"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of what comes out."""
        return self.size, self.size, 3

    def __call__(self, image_HWC: Image) -> Image:
        """Return a picture (S, S, 3); the same one if it has that size already."""
        height, width = image_HWC.shape[:2]
        short, long = min(height, width), max(height, width)
        if self.fit == "crop" and short != long:
            top, left = (height - short) // 2, (width - short) // 2
            image_HWC = np.ascontiguousarray(image_HWC[top : top + short, left : left + short])
        elif self.fit == "pad" and short != long:
            square = np.zeros((long, long, 3), np.uint8)
            top, left = (long - height) // 2, (long - width) // 2
            square[top : top + height, left : left + width] = image_HWC
            image_HWC = square
        return resized(image_HWC, (self.size, self.size))


def resized(image_HWC: Image, size: tuple[int, ...]) -> Image:
    """Return an image of another (width, height): averaged where it becomes smaller, interpolated where it becomes larger."""
    if image_HWC.shape[1::-1] == tuple(size):
        return image_HWC
    smaller = size[0] < image_HWC.shape[1]
    scaled = cv2.resize(image_HWC, tuple(size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return np.asarray(scaled, np.uint8)
