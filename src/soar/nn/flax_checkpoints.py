"""The arrays of a Flax checkpoint, without JAX.

The file is a msgpack of nested dictionaries, as Flax writes them: arrays are extension 1 and NumPy scalars extension 3,
themselves a msgpack of shape, name of the type and bytes; large ones are split into chunks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from soar.errors import CheckpointError

_ARRAY, _SCALAR = 1, 3
_CHUNKED = "__msgpack_chunked_array__"


def read_flax(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays in a Flax msgpack by their path, such as `params/conv_in/kernel`; whatever else it holds is left out.

    Raises:
        CheckpointError: It cannot be read, is something else, or holds no arrays.
    """
    try:
        tree = msgpack.unpackb(path.read_bytes(), ext_hook=_extension, raw=False, strict_map_key=False)
        arrays = dict(_leaves(tree, ()))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise CheckpointError(f"{path} is not a Flax msgpack, or damaged ({error}). Download it again.") from error
    if not arrays:
        raise CheckpointError(f"{path} is not a Flax msgpack: it holds no arrays. Name the file of a network's parameters")
    return arrays


def _extension(code: int, data: bytes) -> Any:
    if code not in (_ARRAY, _SCALAR):
        return None  # A complex number; no network has one.
    shape, kind, buffer = msgpack.unpackb(data, raw=False)
    if kind == "bfloat16":  # the upper half of a float32
        upper = np.frombuffer(buffer, np.uint16).astype(np.uint32) << 16
        return upper.view(np.float32).reshape(shape)
    array = np.frombuffer(buffer, np.dtype(kind))
    if array.dtype.kind not in "fiub" or array.size != math.prod(shape):
        raise ValueError(f"an array of {kind} with the shape {shape} has {array.size} values")
    return array.reshape(shape)


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(tree, np.ndarray):
        yield "/".join(path), tree
    elif isinstance(tree, Mapping) and _CHUNKED in tree:
        shape, chunks = (_in_order(tree[key]) for key in ("shape", "chunks"))
        yield "/".join(path), np.concatenate([np.ravel(chunk) for chunk in chunks]).reshape(shape)
    elif isinstance(tree, Mapping):
        for name, branch in tree.items():
            yield from _leaves(branch, (*path, str(name)))


def _in_order(numbered: Mapping[str, Any]) -> list[Any]:
    return [numbered[key] for key in sorted(numbered, key=int)]
