"""How fast and in how much memory episodes are read for training, and written; against what others read them with.

    python benchmarks/data_loading.py prepare --folder build/loading     frames, and the same ones for every reader
    python benchmarks/data_loading.py rates   --folder build/loading     pairs per second: ours, bare decoding, the peers
    python benchmarks/data_loading.py append  --folder build/loading     episodes per second, one process and eight
    python benchmarks/data_loading.py opening --folder build/loading     30,000 episodes, 3 million steps (tiny frames)
    python benchmarks/data_loading.py memory  --folder build/loading     10 minutes with a cache of a tenth of the store

Each part replaces its rows in `results/data_loading.json`. The parts of one figure are measured in one run, one after the
other, on all cores. Peers run in environments of their own (`scripts/peer.sh lerobot`, `scripts/peer.sh tfds`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from soar.datasets import HindsightSampler, Mixture, load_arrays
from soar.datasets.batches import batches
from soar.datasets.image_cache import promised_bytes
from soar.episodes import EncodedEpisode, EpisodeStore
from soar.episodes import jpeg as frames
from soar.evaluation.results import read_results, write_results
from soar.formats.lerobot_export import export_lerobot
from soar.formats.rlds_export import export_rlds
from soar.sim.ground_truth import reset_for
from soar.sim.scene import load_scene
from soar.sim.scripted.expert import ScriptedExpert
from soar.sim.scripted.style import Style
from soar.sim.world import World

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "data_loading.json"
TASK = "put the green block in the wooden bowl"
BATCH, SIZE, LENGTH = 256, 256, 100
FILMS, TIMES = 10, 2
PAIRS, BUFFER = 32 * BATCH, 2048
MANY, TINY = 30_000, 32
Row = dict[str, Any]


def films(count: int, size: int = SIZE) -> Iterator[tuple[bytes, ...]]:
    """Yield the frames of demonstrations, as JPEG of quality 95."""
    world = World(load_scene("scene1"), image_size=size)
    for seed in range(count):
        reset_for(world, TASK, seed)
        expert = ScriptedExpert(world, TASK, Style(), np.random.default_rng(seed))
        images = [world.render()]
        for _ in range(LENGTH):
            world.step(expert.act())
            images.append(world.render())
        yield tuple(frames.encode_all(np.stack(images)))
    world.close()


def episode(id: str, jpegs: tuple[bytes, ...]) -> EncodedEpisode:
    """Return an episode of these frames, with any numbers.

    A comment makes the frames of each episode unique, as they are in life: columns of repeated values are stored otherwise.
    """
    comment = id.encode()
    marked = tuple(b"\xff\xd8\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:] for jpeg in jpegs)
    rng = np.random.default_rng(0)
    states, actions = rng.random((LENGTH + 1, 7), np.float32), rng.random((LENGTH, 7), np.float32)
    return EncodedEpisode(id=id, scene="1", instruction=TASK, frames=marked, states_TD=states, actions_TD=actions)


def prepare(folder: Path) -> list[Row]:
    """Make the store, and the same frames in the formats of the peers."""
    store = EpisodeStore(folder / "store", mode="open_or_create")
    if store.count() < FILMS * TIMES:
        for seed, jpegs in enumerate(films(FILMS)):
            store.append([episode(f"e{seed}-{number}", jpegs) for number in range(TIMES)])
        store.compact()
    for name, export in (("rlds", export_rlds), ("lerobot", export_lerobot)):
        if not (folder / name).exists():
            export(store, folder / name)
    return []


def rates(folder: Path) -> list[Row]:
    """Measure pairs per second of the clock, and per second of processor time, which says more on a machine that is shared."""
    store = EpisodeStore(folder / "store")
    jpegs = store.table(np.arange(store.row_count), ["frame"])["frame"].to_pylist()
    rounds = [(bare_rate(jpegs), our_rate(store, 0)) for _ in range(5)]
    bare, ours = ({key: float(np.median([each[which][key] for each in rounds])) for key in rounds[0][0]} for which in (0, 1))
    cached = our_rate(store, None)
    print(json.dumps({"bare": bare, "ours": ours, "cached": cached}), flush=True)
    rlds = folder / "rlds" / "soar_dataset" / "1.0.0"
    others = {
        f"tfds 4.9.10, shuffled {mode}": peer("tfds", "read_tfds.py", rlds, mode, BUFFER, PAIRS // BATCH)
        for mode in ("encoded", "decoded")
    }
    lerobot = {
        "lerobot 0.4.4, AV1, both frames in one query": peer(
            "lerobot", "read_lerobot.py", folder / "lerobot", 12, frames.cores()
        ),
        "lerobot 0.4.4, AV1, an item a frame": peer("lerobot", "read_lerobot.py", folder / "lerobot", 0, frames.cores()),
    }
    size = f"{np.mean([len(jpeg) for jpeg in jpegs]) / 1000:.0f} kB"
    what = f"{SIZE} px, JPEG of {size}, batch {BATCH}"
    rows = []
    for key, unit in (("pairs_per_cpu_s", "pairs/CPU-s"), ("pairs_per_s", "pairs/s")):
        rows.append(row(f"{unit}, {what}, no cache", ours[key], "bare decoding", bare[key], least=0.85))
        for name, found in others.items():
            rows.append(row(f"{unit}, {what}, no cache", ours[key], name, found[key], least=3))
        for name, found in lerobot.items():
            rows.append(row(f"{unit}, {what}, no cache", ours[key], name, found[key], least=10))
        rows.append(row(f"{unit}, {what}, all in the cache", cached[key], "bare decoding", bare[key]))
    return rows


def bare_rate(jpegs: Sequence[bytes]) -> Row:
    """Return how many pairs a second all cores decode into memory that is there, and do nothing else."""

    def work(seed: int) -> None:
        image_HWC = np.zeros((SIZE, SIZE, 3), np.uint8)
        rng = np.random.default_rng(seed)
        for index in rng.integers(len(jpegs), size=2 * PAIRS // frames.cores()):
            simplejpeg.decode_jpeg(jpegs[index], colorspace="RGB", buffer=image_HWC)

    with ThreadPoolExecutor(frames.cores()) as pool:
        return timed(lambda: list(pool.map(work, range(frames.cores()))))


def our_rate(store: EpisodeStore, cache_bytes: int | None) -> Row:
    """Return how many pairs a second come from the store."""
    arrays = load_arrays(store, cache_bytes=cache_bytes)
    if cache_bytes is None:
        for start in range(0, len(arrays.images_NHWC), BATCH):
            _ = arrays.images_NHWC[np.arange(start, min(start + BATCH, len(arrays.images_NHWC)))]
    mixture = Mixture([("store", HindsightSampler(arrays), 1.0)])
    for _ in range(2):
        mixture.sample(np.random.default_rng(0), BATCH)

    def work() -> None:
        with batches(mixture, BATCH, seed=0, steps=range(PAIRS // BATCH)) as made:
            assert sum(len(batch.rows_B) for batch in made) == PAIRS

    return timed(work)


def timed(work: Callable[[], object]) -> Row:
    """Return the rate of work that yields `PAIRS` pairs."""
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    work()
    return {
        "pairs_per_s": PAIRS / (time.perf_counter() - begin_s),
        "pairs_per_cpu_s": PAIRS / (time.process_time() - begin_cpu_s),
    }


def append(folder: Path) -> list[Row]:
    """Measure how fast episodes are appended, and whether eight processes at once lose any."""
    store = EpisodeStore(folder / "store")
    jpegs = tuple(store.table(np.arange(LENGTH + 1), ["frame"])["frame"].to_pylist())
    rows = []
    for together, count in ((1, 100), (16, 320)):
        target = EpisodeStore(folder / f"appended-{together}", mode="create")
        episodes = [episode(f"e{number}", jpegs) for number in range(count)]
        begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
        for start in range(0, count, together):
            target.append(episodes[start : start + together])
        what = f"appended, {LENGTH} steps, {SIZE} px, {together} at a time"
        rows.append(row(f"episodes/CPU-s {what}", count / (time.process_time() - begin_cpu_s)))
        rows.append(row(f"episodes/s {what}", count / (time.perf_counter() - begin_s), least=50))
    uri = str(folder / "appended-by-8")
    processes = [multiprocessing.get_context("spawn").Process(target=append_some, args=(uri, jpegs, n)) for n in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    there = [record.id for record in EpisodeStore(uri).episodes()]
    rows.append(row("episodes of 8 processes appending 25 each at once", float(len(there)), least=200))
    whole = sum(len(EpisodeStore(uri).read_encoded(id).frames) == LENGTH + 1 for id in set(there))
    rows.append(row("of them whole and there once", float(whole), least=200))
    return rows


def append_some(uri: str, jpegs: tuple[bytes, ...], number: int) -> None:
    """Append 25 episodes (a process)."""
    store = EpisodeStore(uri, mode="open_or_create")
    for index in range(25):
        store.append(episode(f"{number}-{index}", jpegs))


def opening(folder: Path) -> list[Row]:
    """Measure how long it takes to open a large store, and to the first batch from it, each in a fresh process."""
    uri = str(folder / "large")
    if not Path(uri).exists():
        store = EpisodeStore(uri, mode="create")
        (jpegs,) = films(1, TINY)
        for start in range(0, MANY, 500):
            store.append([episode(f"e{number}", jpegs) for number in range(start, start + 500)])
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        opened_s, first_s, resident_mb = pool.apply(open_large, (uri,))
    size = f"{MANY} episodes, {MANY * LENGTH // 10**6}M steps, {TINY} px"
    return [
        row(f"s to open {size}", opened_s, most=2),
        row(f"s from opened to the first batch, {size}", first_s, most=5),
        row(f"MB resident then, {size}", resident_mb),
    ]


def open_large(uri: str) -> tuple[float, float, float]:
    """Open a store and draw a batch (a process)."""
    begin_s = time.perf_counter()
    store = EpisodeStore(uri)
    count = store.count()
    opened_s = time.perf_counter() - begin_s
    begin_s = time.perf_counter()
    arrays = load_arrays(store, cache_bytes=0)
    Mixture([("store", HindsightSampler(arrays), 1.0)]).sample(np.random.default_rng(0), BATCH)
    assert count == MANY
    return opened_s, time.perf_counter() - begin_s, resident_bytes() / 1e6


def memory(folder: Path, minutes: float) -> list[Row]:
    """Sample from a store that is ten times larger than the cache, and watch the resident memory."""
    source, target = EpisodeStore(folder / "store"), EpisodeStore(folder / "long", mode="open_or_create")
    if not target.count():
        for record in source.episodes():
            jpegs = source.read_encoded(record.id).frames
            target.append([episode(f"{record.id}-{copy}", jpegs) for copy in range(10)])
    decoded = target.row_count * SIZE * SIZE * 3
    mixture = Mixture([("store", HindsightSampler(load_arrays(target, cache_bytes=decoded // 10)), 1.0)])
    resident: list[int] = []
    with batches(mixture, BATCH, seed=0, steps=range(10_000_000)) as made:
        while promised_bytes():  # until the cache is full
            next(made)
        drawn = 0
        end_s = looked_s = time.monotonic()
        end_s += minutes * 60
        while time.monotonic() < end_s:
            next(made)
            drawn += 1
            if time.monotonic() - looked_s > 1:
                looked_s = time.monotonic()
                resident.append(resident_bytes())
    deviation = max(max(resident) / np.mean(resident) - 1, 1 - min(resident) / np.mean(resident))
    what = f"resident memory over {minutes:g} minutes, store of {decoded / 1e9:.1f} GB decoded, cache of a tenth"
    return [
        row(f"largest deviation of {what}", round(float(deviation), 4), most=0.05),
        row(f"MB of {what}", float(np.mean(resident)) / 1e6),
        row("batches drawn meanwhile", float(drawn)),
    ]


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peer(name: str, script: str, *arguments: object) -> Row:
    """Run a peer's reader and return what it measured."""
    made = subprocess.run([ROOT / "scripts" / "peer.sh", name], check=True, stdout=subprocess.PIPE, text=True)
    command = [made.stdout.strip(), str(ROOT / "benchmarks" / "peers" / script), *map(str, arguments)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    result: Row = json.loads(done.stdout.splitlines()[-1])
    print(name, *arguments[1:], result)
    return result


def row(
    metric: str,
    ours: float,
    name: str = "",
    theirs: float | None = None,
    *,
    least: float | None = None,
    most: float | None = None,
) -> Row:
    """Return a row of results; the limit is on the ratio, where there is a peer."""
    limit = f"≥ {least:g}" if least is not None else f"≤ {most:g}" if most is not None else None
    ratio = None if theirs is None else ours / theirs
    return {"metric": metric, "ours": ours, "peer": name or None, "theirs": theirs, "ratio": ratio, "limit": limit}


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=["prepare", "rates", "append", "opening", "memory", "clean"])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "loading")
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    parts: dict[str, Callable[[], list[Row]]] = {
        "prepare": lambda: prepare(folder),
        "rates": lambda: rates(folder),
        "append": lambda: append(folder),
        "opening": lambda: opening(folder),
        "memory": lambda: memory(folder, arguments.minutes),
    }
    if arguments.part == "clean":
        shutil.rmtree(folder)
        return
    rows = [{"part": arguments.part, **found} for found in parts[arguments.part]()]
    for found in rows:
        print(json.dumps(found, ensure_ascii=False))
    if rows:
        before = read_results(RESULTS)["rows"] if RESULTS.exists() else []
        others = [old for old in before if old["part"] != arguments.part]
        order = list(parts)
        together = sorted([*others, *rows], key=lambda found: order.index(found["part"]))
        write_results(RESULTS, "python benchmarks/data_loading.py PART", together)


if __name__ == "__main__":
    main()
