"""Pickles that are read and written without `pickle`; the fixtures are what Python 3.8 with NumPy 1.24 wrote."""

from __future__ import annotations

import contextlib
import pickle
import pickletools
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.pickle_reader import INSTRUCTIONS, LONGEST, PickleError, loads
from soar.pickle_writer import dumps

FIXTURES = Path(__file__).parent / "fixtures" / "widowx"
NAMES = sorted(path.stem for path in FIXTURES.glob("*.pickle"))
OTHER_PROTOCOLS = ("efforts", "old_protocol", "newest_protocol")
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner, inner, inner),
    max_leaves=20,
)


def fixture(name: str) -> bytes:
    return (FIXTURES / f"{name}.pickle").read_bytes()


def assert_same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert_same(ours[key], value)
    elif isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)
    else:
        assert ours == theirs


@pytest.mark.filterwarnings("ignore:numpy.core.numeric is deprecated")
@pytest.mark.parametrize("name", NAMES)
def test_what_numpy_1_wrote_is_read_as_numpy_would_read_it(name: str) -> None:
    assert_same(loads(fixture(name)), pickle.loads(fixture(name)))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*OTHER_PROTOCOLS, "motor_status")])
def test_what_is_written_is_byte_for_byte_what_numpy_1_writes(name: str) -> None:
    assert dumps(pickle.loads(fixture(name))) == fixture(name)


def test_what_this_numpy_writes_is_read_too() -> None:
    value = {"a": np.arange(6.0).reshape(2, 3), "b": np.float32(2), "c": np.asfortranarray(np.eye(3, dtype=np.int16)[:2])}
    for protocol in (2, 3, 4, 5):
        assert_same(loads(pickle.dumps(value, protocol)), value)


@given(plain)
def test_plain_values_come_back_and_pickle_reads_them_too(value: Any) -> None:
    data = dumps(value)
    assert loads(data) == value
    assert pickle.loads(data) == value


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_damaged_bytes_are_refused_or_are_data(noise: bytes, cut: int) -> None:
    whole = fixture("observation")
    for data in (noise, whole[:cut], whole[:cut] + noise + whole[cut + len(noise) :]):
        with contextlib.suppress(PickleError):
            loads(data)


class Hostile:
    """Unpickles by calling something."""

    def __init__(self, called: Any, *arguments: Any) -> None:
        self._made = called, arguments

    def __reduce__(self) -> Any:
        return self._made


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_pickle_is_refused_and_ran_nothing(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "ran"
    for hostile in (
        Hostile(trace.touch),
        Hostile(subprocess.check_call, ["touch", str(trace)]),
        Hostile(eval, f"open({str(trace)!r}, 'w')"),
        Hostile(exec, f"open({str(trace)!r}, 'w')"),
    ):
        data = pickle.dumps({"status": 1, "state": [np.arange(3.0), hostile]}, protocol)
        with pytest.raises(PickleError, match="nothing was executed"):
            loads(data)
        assert not trace.exists()
    pickle.loads(pickle.dumps(Hostile(trace.touch)))  # that is what it would have done
    assert trace.exists()


def program(*instructions: bytes) -> bytes:
    return b"\x80\x04" + b"".join(instructions) + b"."


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (program(b"cnumpy.core.multiarray\nload\n", b"\x8c\x01x\x85R"), "names numpy.core.multiarray.load"),
        (program(b"c_codecs\nencode\n", b"X\x04\x00\x00\x00spam\x8c\x03hex\x86R"), "other arguments than NumPy's"),
        (program(ARRAY, b"cnumpy\nndarray\n", b"J\x00\x00\x00\x7f\x85C\x01b\x87R"), "other arguments than NumPy's"),
        (program(b"cnumpy\ndtype\n", b"\x8c\x04V999\x89\x88\x87RN", b"b"), "no number"),
        (program(ARRAY, b"}\x94b"), "a state for a"),
        (program(b"]\x94", b"r\xff\xff\xff\x7f"), "place 2147483647 of the memo"),
        (program(b"}\x94(\x5d\x5du"), "unhashable"),
        (program(b"cnumpy\nndarray\n"), "no data"),
        (program(b"K\x01K\x02"), "it has no end"),
        (b"\x80\x04N", "damaged"),
        (program(b"K\x01" * INSTRUCTIONS), f"more than {INSTRUCTIONS} instructions"),
        (program(b"Pid\n"), "instruction PERSID"),
        (program(b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f"), "damaged"),
        (program(b"(l"), "instruction LIST"),
        (bytes(LONGEST + 1), "are allowed"),
    ],
)
def test_other_programs_are_refused_with_what_they_do(data: bytes, message: str) -> None:
    with pytest.raises(PickleError, match=message):
        loads(data)


def test_what_refers_to_itself_or_grows_without_end_takes_no_time() -> None:
    loop = program(b"]\x94h\x00a")
    assert isinstance(loads(loop), list)
    laughs = program(b"]\x94", *(b"]\x94(" + b"h" + bytes([depth]) * 1 + b"h" + bytes([depth]) + b"e" for depth in range(50)))
    with pytest.raises(PickleError):
        loads(laughs)
    grows = program(b"c_codecs\nencode\nX\xe8\x03\x00\x00", b"x" * 1000, b"\x8c\x06latin1\x86\x94", b"R0")
    with pytest.raises(PickleError):
        loads(grows)


def test_the_numbers_of_a_large_array_stay_where_they_are_in_the_message() -> None:
    message = dumps({"image": np.arange(20_000, dtype=np.float32), "name": "x"})
    array = loads(message)["image"]
    assert np.array_equal(array, np.arange(20_000, dtype=np.float32))
    assert np.shares_memory(array, np.frombuffer(message, np.uint8))
    assert not array.flags.writeable


@pytest.mark.parametrize(
    "around", [lambda x: x, lambda x: [x], lambda x: {"a": x}, lambda x: (x,), lambda x: ((x, 1, 2, 3, 4),)]
)
def test_long_bytes_that_are_no_array_are_bytes(around: Any) -> None:
    value = around(b"x" * 10_000)
    found = loads(pickle.dumps(value, protocol=4))
    assert found == value
    assert "memory" not in repr(found)


def test_long_bytes_that_are_referred_to_again_and_again_are_there_once() -> None:
    found = loads(pickle.dumps([(one,) for one in [b"x" * 10_000] * 1000], protocol=4))
    assert len({id(one) for (one,) in found}) <= 2


def test_what_cannot_be_sent_is_an_error() -> None:
    for value in (object(), np.array([object()]), np.float64(1), 2**3000):
        with pytest.raises(TypeError, match="cannot be sent"):
            dumps(value)


def test_the_fixtures_describe_arrays_as_numpy_1_does() -> None:
    names = {argument for _, argument, _ in pickletools.genops(fixture("observation")) if isinstance(argument, str)}
    assert "numpy.core.multiarray" in names
