"""Files that were damaged or made up: each is read, or refused by one `SoarError`. Nothing else may come out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from soar.configuration import read_yaml, setting
from soar.episodes import EpisodeStore
from soar.errors import SoarError
from soar.evaluation.trials import read_json_object
from soar.event_log import Journal, read_journal
from soar.nn.flax_checkpoints import read_flax
from soar.seeding import generator
from tests.episodes.builders import judged, make_episode

from .tally import Tally

Rng = np.random.Generator
YAML_SEEDS = (
    b"name: cell\nscene: {tasks: [put the cup down, 3]}\nlimits: {translation_m: 0.05, lag_m: 1e-3}\nwhen: 2024-01-31\n",
    b"a: &x [1, 2]\nb: *x\nc: {<<: {d: !!int '3'}}\nd: |\n  text\n  more\n? [k]\n: v\n",
    b"{" * 200,
    b"a: " + b"[" * 300,
    b"a: &a [*a]\n",
    b"\n".join(b"x%d: &x%d [%s]" % (n, n, b", ".join([b"*x%d" % (n - 1)] * 9) if n else b"1") for n in range(12)),
    b"a: 2001-99-99\n",
    b"a: !!timestamp x\nb: !!bool x\n",
    b"a: !!int ''\n",
    b"a: " + b"1" * 6000,
    b"\xff\xfea\x00:\x00 \x00b\x00",
    b"a: \x1b[31mred\x1b]0;title\x07\n",
    b"!!python/object/apply:os.system ['true']",
)
JSON_SEEDS = (
    json.dumps({"schema_version": "1.0", "trials": [{"seed": 1, "success": True}], "p": [0.5, -1e300], "x": None}).encode(),
    b"[" * 100_000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b"\xff\xfe{\x00}\x00",
    b'{"a": ' + b"9" * 6000 + b"}",
    b'{"a": NaN, "b": Infinity, "c": "\\ud800"}',
    b'"\x00"',
)
FILTER_PARTS = (
    *("success", "and", "or", "not", "(", ")", ";", "limit 3", "id = 'a'", "'", '"', "--", "/*", "*/", "length > 3", ","),
    *("in ('a', 'b')", "is null", "order by", "between 1 and", "\0", "\n", "\x1b[2J", "success = true", "1", "like '%'", "="),
)


def mutated(rng: Rng, seed: bytes) -> bytes:
    """Return a file with some bytes changed, cut out, doubled or cut off."""
    data = bytearray(seed)
    for _ in range(int(rng.integers(0, 6))):
        place = int(rng.integers(0, max(len(data), 1)))
        length = int(rng.integers(1, 9))
        match int(rng.integers(0, 5)):
            case 0:
                data[place : place + 1] = bytes([int(rng.integers(0, 256))])
            case 1:
                del data[place : place + length]
            case 2:
                data[place:place] = data[max(place - length, 0) : place] * int(rng.integers(1, 40))
            case 3:
                del data[place:]
            case _:
                data[place:place] = rng.choice([b"[", b"{", b"&a ", b"*a", b"!!", b": ", b"\xff", b"1e999", b"\x00", b"\x1b["])
    return bytes(data)


def fuzz(what: str, count: int, seed: int, make: Callable[[Rng], Any], read: Callable[[Any], object]) -> Tally:
    """Read `count` things that are made up, and count those at which anything else than a `SoarError` comes out."""
    tally = Tally(what=what)
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        for number in range(count):
            made = make(generator(seed, what, number))
            tally.count += 1
            try:
                read(made)
            except SoarError as error:
                tally.unclear += len(str(error)) > 5000  # that is no message
            except Exception:
                logging.disable(before)
                logging.exception("%s, seed %d, number %d: %r", what, seed, number, made[:300])
                tally.unclear += 1
                logging.disable(logging.CRITICAL)
    finally:
        logging.disable(before)
    return tally


def fuzz_yaml(folder: Path, count: int, seed: int = 0) -> Tally:
    """Configurations, from files and from flags."""
    path = folder / "fuzzed.yaml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_yaml(path)
        setting("a.b=" + data.decode("utf-8", "replace"))

    return fuzz("files: YAML", count, seed, lambda rng: mutated(rng, _one(rng, YAML_SEEDS)), read)


def fuzz_json(folder: Path, count: int, seed: int = 0) -> Tally:
    """Results of an evaluation, as any other file in JSON."""
    path = folder / "fuzzed.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_json_object(path)

    return fuzz("files: JSON", count, seed, lambda rng: mutated(rng, _one(rng, JSON_SEEDS)), read)


def fuzz_journal(folder: Path, count: int, seed: int = 0) -> Tally:
    """Journals, which are then continued: what is appended is there."""
    path = folder / "events.jsonl"
    path.unlink(missing_ok=True)
    journal = Journal(path, clock=lambda: 1.0)
    for number in range(4):
        journal.append("fault", kind="motor", number=number)
    whole = path.read_bytes()
    odd = (b"", b"null\n[]\n3\n{}\n", b"[" * 9000 + b"\n", b'{"schema": 1}\n', b'{"schema": 1, "event": 3}\n', b"\xff\xfe\n")
    lines = [one + whole for one in odd]

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_journal(path)
        journal.append("end")
        if [event["event"] for event in read_journal(path)][-1:] != ["end"]:
            raise ValueError("what was appended to a damaged journal is not there")

    return fuzz("files: journals", count, seed, lambda rng: mutated(rng, _one(rng, lines)), read)


def fuzz_msgpack(folder: Path, count: int, seed: int = 0) -> Tally:
    """Flax checkpoints."""
    path = folder / "fuzzed.msgpack"
    array = msgpack.ExtType(1, msgpack.packb(((2, 3), "float32", b"\0" * 24)))
    chunked = {"__msgpack_chunked_array__": True, "shape": {"0": 2, "1": 3}, "chunks": {"0": array}}
    seeds = [
        msgpack.packb({"params": {"conv": {"kernel": array, "bias": array}, "dense": chunked}}),
        msgpack.packb({"a": chunked | {"chunks": {"x": array}}}),
        msgpack.packb({"a": chunked | {"chunks": [array]}}),
        msgpack.packb({"a": chunked | {"shape": {"0": 2**62, "1": 2**62}}}),
        msgpack.packb({"a": chunked | {"shape": 3, "chunks": None}}),
        msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb(((2**40,), "float32", b"")))}),
        msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb(((1,), "O", b"\0" * 8)))}),
        msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb(((-1,), "bfloat16", b"\0" * 3)))}),
        b"\x81\xa1a" * 2000 + b"\xc0",
    ]

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_flax(path)

    return fuzz("files: msgpack", count, seed, lambda rng: mutated(rng, _one(rng, seeds)), read)


def fuzz_filters(store: EpisodeStore, count: int, seed: int = 0) -> Tally:
    """Filters, of a store of which one episode succeeded: what is accepted means the same between brackets."""

    def read(where: str) -> None:
        ids = {record.id for record in store.episodes(where)}
        if ids != {record.id for record in store.episodes(f"({where}\n) and true")}:
            raise ValueError("a filter means something else in brackets")

    return fuzz(
        "filters", count, seed, lambda rng: " ".join(rng.choice(FILTER_PARTS, int(rng.integers(1, 8)), replace=True)), read
    )


def soak(folder: Path, scale: float, seed: int) -> Iterator[Tally]:
    """Do all of it, at a scale of 1 for 5,000 of each kind."""
    count = round(5_000 * scale)
    for attack in (fuzz_yaml, fuzz_json, fuzz_journal, fuzz_msgpack):
        yield attack(folder, count, seed)
    store = EpisodeStore(folder / "filtered", mode="create")
    store.append([make_episode("a", size=8, labels=(judged(True),)), make_episode("b", size=8, labels=(judged(False),))])
    yield fuzz_filters(store, count, seed)


def _one(rng: Rng, seeds: Any) -> bytes:
    data: bytes = seeds[int(rng.integers(0, len(seeds)))]
    return data
