"""Pickles of plain data and NumPy arrays, read without `pickle`: nothing that a stranger wrote is ever imported or called.

A pickle is a program for a small stack machine; `pickle.loads` lets it call anything. This machine knows the instructions
that numbers, texts, lists, dictionaries and arrays take, and the five functions by which NumPy (1 or 2) describes an array.
It performs what these would do itself; a name of any other function, or any other instruction, refuses the whole message.

    bytes ──► pickletools.genops ──► Machine: stack, marks, memo ──► dict, list, str, float, …, numpy.ndarray
              (reads, executes nothing)   └─► PickleError: which instruction, which name

Bounded: the number of instructions, what they refer to, the bytes that they make. Arrays hold numbers; they are views of the
message and cannot be written to.
"""

from __future__ import annotations

import io
import pickletools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from soar.errors import SoarError

LONGEST = 64 * 2**20
"""Bytes of the longest message that is read."""
INSTRUCTIONS = 20_000
"""Most instructions of a message: one picture and some numbers take two hundred."""
_LONG = 4096
"""Bytes from which on a part of a message is not copied."""
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_NAMES = (
    {(module, name) for module in _MULTIARRAY for name in ("_reconstruct", "scalar")}
    | {(module, "_frombuffer") for module in _NUMERIC}
    | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
)
_ATOMS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "BYTEARRAY8")
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


_Bytes = bytes | bytearray | memoryview


class PickleError(SoarError):
    """A message is no pickle of plain data: damaged, too large, or it names something that would be executed."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A function or class that a pickle names; never looked up."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class _Unfinished:
    """An array or a dtype between its making and its state, and where the memo has it."""

    code: str = ""
    is_array: bool = False
    places: list[int] = field(default_factory=list)


def loads(data: bytes) -> Any:
    """Return the plain value in a pickle.

    Raises:
        PickleError: It is none, or holds anything but data.
    """
    if len(data) > LONGEST:
        raise PickleError(f"a pickle of {len(data)} bytes; {LONGEST} are allowed")
    machine = _Machine(len(data))
    try:
        for count, (instruction, argument, _) in enumerate(pickletools.genops(_Message(data))):
            if count >= INSTRUCTIONS:
                raise PickleError(f"a pickle of more than {INSTRUCTIONS} instructions")
            machine.step(instruction.name, argument)
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, AttributeError, UnicodeError, MemoryError) as error:
        raise PickleError(f"a damaged pickle ({' '.join(str(error).split())[:100]})") from error
    return machine.result()


class _Message(io.BytesIO):
    """A pickle as a file, of which long parts are read without a copy: most of a message is the numbers of one array."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._all = memoryview(data)

    def read(self, count: int | None = -1, /) -> Any:
        """Return bytes; a view of the message when they are many."""
        if count is None or count < _LONG:
            return super().read(count)
        start = self.tell()
        self.seek(start + count)
        return self._all[start : start + count]


class _Machine:
    """Executes one pickle; see the module's docstring."""

    def __init__(self, length: int) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._encoded = 2 * length
        self._done = False

    def result(self) -> Any:
        """Return what is left at the end."""
        if not self._done or len(self._stack) != 1:
            raise PickleError("a damaged pickle (it has no end)")
        value = self._stack[0]
        if isinstance(value, _Name | _Unfinished):
            raise PickleError("a pickle of something that is no data")
        return _owned(value)

    def step(self, name: str, argument: Any) -> None:  # noqa: PLR0912 - one branch an instruction
        """Execute one instruction."""
        stack = self._stack
        if name in _ATOMS or name in _TEXTS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack.append(_row([self._pop() for _ in range(count)][::-1]))
        elif name == "MARK":
            self._marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(_row(self._since_mark()))
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set}[name]())
        elif name in ("SETITEM", "SETITEMS", "APPEND", "APPENDS", "ADDITEMS"):
            self._fill(name)
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
            self._remember(len(self._memo) if name == "MEMOIZE" else argument)
        elif name in ("BINGET", "LONG_BINGET"):
            self._memo[argument] = _owned(self._memo[argument])  # once, however often it is referred to
            stack.append(self._memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            found = argument.split(" ") if name == "GLOBAL" else [self._pop(), self._pop()][::-1]
            if tuple(found) not in _NAMES:
                raise PickleError(
                    f"refused a pickle that names {'.'.join(str(part)[:60] for part in found)}; nothing was executed"
                )
            stack.append(_Name(*found))
        elif name == "REDUCE":
            arguments, called = self._pop(), self._pop()
            stack.append(self._made(called, arguments))
        elif name == "BUILD":
            state, target = self._pop(), self._pop()
            stack.append(self._built(target, state))
        elif name == "STOP":
            self._done = True
        elif name not in ("PROTO", "FRAME"):
            raise PickleError(f"refused a pickle with the instruction {name}; nothing was executed")

    def _pop(self) -> Any:
        if self._marks and len(self._stack) <= self._marks[-1]:
            raise ValueError("a mark is in the way")
        return self._stack.pop()

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _fill(self, name: str) -> None:
        single = {"SETITEM": 2, "APPEND": 1}.get(name)
        items = self._since_mark() if single is None else [self._pop() for _ in range(single)][::-1]
        target = self._stack[-1]
        kind = {"SETITEM": dict, "SETITEMS": dict, "ADDITEMS": set}.get(name, list)
        if type(target) is not kind:
            raise ValueError(f"{name} into a {type(target).__name__}")
        items = [_owned(item) for item in items]
        if kind is dict:
            target.update(zip(items[::2], items[1::2], strict=True))
        elif kind is set:
            target.update(items)
        else:
            target.extend(items)

    def _remember(self, place: int) -> None:
        if place >= INSTRUCTIONS:
            raise ValueError(f"place {place} of the memo")
        value = self._stack[-1]
        if isinstance(value, _Unfinished):
            value.places.append(place)
        self._memo[place] = value

    def _made(self, called: Any, arguments: Any) -> Any:
        """Return what one of the known functions would make."""
        if not (isinstance(called, _Name) and type(arguments) is tuple):
            raise ValueError("a call of something that is no function")
        match called.name, arguments:
            case "_reconstruct", (_Name("numpy", "ndarray"), (0,), b"b"):
                return _Unfinished(is_array=True)
            case "dtype", (str(code), *_):
                return _Unfinished(code=code)
            case "scalar", (np.dtype() as dtype, bytes(raw)):
                return _numbers(raw, dtype, (1,), "C")[0].item()
            case "_frombuffer", (
                (bytes() | bytearray() | memoryview()) as raw,
                np.dtype() as dtype,
                tuple(shape),
                ("C" | "F") as order,
            ):
                return _numbers(raw, dtype, shape, order)
            case "encode", (str(text), "latin1" | "latin-1"):
                self._encoded -= len(text)
                if self._encoded < 0:
                    raise ValueError("it grows")
                return text.encode("latin-1")
        raise ValueError(f"{called.name} with other arguments than NumPy's")

    def _built(self, target: Any, state: Any) -> Any:
        """Return an array or a dtype with its state; the memo has it from now on, too."""
        if not isinstance(target, _Unfinished):
            raise ValueError(f"a state for a {type(target).__name__}")
        made: Any
        match target.is_array, state:
            case True, (int(), tuple(shape), np.dtype() as dtype, bool(fortran), (bytes() | bytearray() | memoryview()) as raw):
                made = _numbers(raw, dtype, shape, "F" if fortran else "C")
            case False, (3, ("<" | ">" | "|" | "=") as order, None, None, None, -1, -1, 0):
                made = _dtype(target.code, order)
            case _:
                raise ValueError("an array of something that is no number")
        for place in target.places:
            self._memo[place] = made
        return made


def _dtype(code: str, order: str) -> np.dtype[Any]:
    if code not in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"):
        raise ValueError(f"an array of {code[:20]}")
    return np.dtype(f">{code}" if order == ">" else code)


def _owned(value: Any) -> Any:
    """Return a value as it is handed out: bytes, where it is a part of the message."""
    return bytes(value) if type(value) is memoryview else value


def _row(items: list[Any]) -> tuple[Any, ...]:
    """Return a tuple; the numbers of an array stay a part of the message until the array is made."""
    describes = any(isinstance(item, np.dtype) for item in items)
    return tuple(items if describes else map(_owned, items))


def _numbers(raw: _Bytes, dtype: np.dtype[Any], shape: tuple[Any, ...], order: Any) -> np.ndarray[Any, Any]:
    if len(shape) > 4 or any(type(side) is not int or side < 0 for side in shape):
        raise ValueError("the shape of an array")
    return np.frombuffer(bytes(raw) if isinstance(raw, bytearray) else raw, dtype).reshape(shape, order=order)
