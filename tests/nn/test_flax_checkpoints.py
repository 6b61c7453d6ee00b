from __future__ import annotations

from pathlib import Path

import msgpack
import numpy as np
import pytest

from soar.errors import CheckpointError
from soar.nn.flax_checkpoints import read_flax


def test_bfloat16_is_read(tmp_path: Path) -> None:
    array = np.array([1.0, -2.5, 0.0], np.float32)
    body = ((3,), "bfloat16", (array.view(np.uint32) >> 16).astype(np.uint16).tobytes())
    path = tmp_path / "file.msgpack"
    tree = {"params": {"norm": {"bias": msgpack.ExtType(1, msgpack.packb(body, use_bin_type=True))}}}
    path.write_bytes(msgpack.packb(tree, use_bin_type=True))
    np.testing.assert_array_equal(read_flax(path)["params/norm/bias"], array)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_flax(tmp_path / "none")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 a zip",
        msgpack.packb({"a": msgpack.ExtType(7, b"x")}),
        msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb([[3], "float32", b"abcd"]))}),
        msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb([[1], "object", b"abcdefgh"]))}),
        msgpack.packb({"a": 3}),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.msgpack"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_flax(path)
