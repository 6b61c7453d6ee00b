from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soar.errors import ConfigError
from soar.remote.wire import Encoding, Limits, WireError, decode, is_id, open_url, pack, plain, unpack

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (7, 11, 3), dtype=np.uint8)
SMOOTH = cv2.resize(RNG.integers(0, 256, (3, 4, 3), dtype=np.uint8), (40, 32), interpolation=cv2.INTER_CUBIC)
LIMITS = Limits(side=64)
FILES = [base64.b64decode(pack(IMAGE, kind)[kind]) for kind in ("png", "jpeg")]


@pytest.mark.parametrize("encoding", ["png", "raw"])
def test_images_arrive_as_they_were_whatever_their_memory_order(encoding: Encoding) -> None:
    for image in (IMAGE, IMAGE[:, ::-1], IMAGE[::2]):
        np.testing.assert_array_equal(unpack(pack(image, encoding), LIMITS), image)


def test_a_jpeg_arrives_nearly_as_it_was() -> None:
    found = unpack(pack(SMOOTH, "jpeg"), LIMITS)
    assert found.shape == SMOOTH.shape
    assert np.abs(found.astype(int) - SMOOTH).mean() < 3


def test_what_arrives_can_be_written_to() -> None:
    for encoding in ("png", "jpeg", "raw"):
        unpack(pack(IMAGE, encoding), LIMITS)[:] = 0


@pytest.mark.parametrize("encoding", ["png", "jpeg", "raw"])
def test_a_large_image_is_refused_by_its_header(encoding: Encoding) -> None:
    wide = np.zeros((2, 65, 3), np.uint8)
    with pytest.raises(WireError, match="2 x 65 px; between 1 and 64"):
        unpack(pack(wide, encoding), LIMITS)


def test_a_png_that_would_unpack_to_gigabytes_is_never_unpacked() -> None:
    bomb = bytearray(FILES[0])
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height in the header
    with pytest.raises(WireError):
        decode(bytes(bomb), Limits())


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"png": "", "jpeg": ""},
        {"png": "*"},
        {"png": 3},
        {"png": base64.b64encode(FILES[1]).decode()[:40]},
        {"raw": ""},
        {"raw": "", "shape": [0, 0, 3]},
        {"raw": "AAAA", "shape": [1, 1, 4]},
        {"raw": "AAAA", "shape": [True, 1, 3]},
        {"raw": "AAAA", "shape": [1, 2, 3]},
        {"raw": "AAAA", "shape": [-1, -1, 3]},
        {"raw": "AAAA", "shape": "113"},
    ],
)
def test_what_is_no_image_is_refused(value: Any) -> None:
    with pytest.raises(WireError):
        unpack(value, LIMITS)


@settings(max_examples=200)
@given(st.data())
def test_no_bytes_crash_the_decoder(data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from(FILES)))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(file)))
    try:
        image = decode(bytes(file[:cut]), LIMITS)
    except WireError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert max(image.shape[:2]) <= LIMITS.side


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_no_json_crashes_it(value: Any) -> None:
    for sent in (value, {"png": value}, {"jpeg": value}, {"raw": value, "shape": value}, {"raw": "AAAA", "shape": value}):
        with pytest.raises(WireError):
            unpack(sent, LIMITS)


@pytest.mark.parametrize(
    "url", [None, 3, "http://10.0.0.1/secret.png", "file:///etc/passwd", "data:image/png,abc", "data:image/png;base64,AAAA"]
)
def test_a_server_fetches_nothing_for_a_stranger(url: Any) -> None:
    with pytest.raises(WireError):
        open_url(url, LIMITS)
    np.testing.assert_array_equal(open_url("data:image/png;base64," + base64.b64encode(FILES[0]).decode(), LIMITS)(), IMAGE)


def test_texts_of_strangers_can_be_kept() -> None:
    assert plain("yes\ud800", 10) == "yes?"
    assert plain("yes" * 100, 3) == "yes"
    assert [is_id(name) for name in ("gcbc-1", "", None, "a\nb", "a" * 501, "\ud800")] == [True, *[False] * 5]


def test_limits_are_positive() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        Limits(side=0)
