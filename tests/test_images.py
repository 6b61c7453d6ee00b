from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.images import Fit, ImageFitter


def picture(height: int, width: int) -> np.ndarray:
    """A picture whose left half is red and whose right half is blue, with a green centre."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 200
    image[:, width // 2 :, 2] = 200
    image[height // 2 - 2 : height // 2 + 2, width // 2 - 2 : width // 2 + 2] = (0, 250, 0)
    return image


@given(st.integers(8, 90), st.integers(8, 90), st.sampled_from([8, 32, 64]), st.sampled_from(["squash", "crop", "pad"]))
def test_whatever_comes_in_has_the_networks_size(height: int, width: int, size: int, fit: Fit) -> None:
    fitter = ImageFitter(size=size, fit=fit)
    image = picture(height, width)
    before = image.copy()
    fitted = fitter(image)
    assert (fitted.shape, fitted.dtype) == (fitter.shape, np.uint8)
    assert np.array_equal(image, before)
    assert np.array_equal(fitter(fitted), fitted)


def test_a_picture_of_that_size_stays_as_it_is() -> None:
    image = picture(64, 64)
    for fit in ("squash", "crop", "pad"):
        assert np.array_equal(ImageFitter(size=64, fit=fit)(image), image)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fit", "left", "top"),
    [("squash", (200, 0, 0), (200, 0, 0)), ("crop", (200, 0, 0), (200, 0, 0)), ("pad", (200, 0, 0), (0, 0, 0))],
)
def test_what_is_lost_and_what_is_distorted_is_as_documented(fit: Fit, left: tuple[int, ...], top: tuple[int, ...]) -> None:
    fitted = ImageFitter(size=48, fit=fit)(picture(480, 640))
    assert np.abs(fitted[24, 2].astype(int) - left).max() <= 2
    assert np.abs(fitted[1, 8].astype(int) - top).max() <= 2
    # A circle stays a circle where shapes stay: a square that is 240 px high and wide.
    square = np.zeros((480, 640, 3), np.uint8)
    square[120:360, 200:440] = 255
    rows, columns = (np.flatnonzero(ImageFitter(size=48, fit=fit)(square)[..., 0].max(axis) > 127) for axis in (1, 0))
    assert (len(rows) == len(columns)) is (fit != "squash")
