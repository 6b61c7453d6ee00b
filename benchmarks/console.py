"""The console over a large store, and a hundred pages beside a robot that works. Writes `results/console.json`.

    python benchmarks/console.py pages --episodes 100000    how long the first page, filters, thumbnails and the audit take
    python benchmarks/console.py open --pages 100           what open pages cost a robot

`pages`: the console is a process of its own, and the times are those of a client on the same computer. The first page is the
first one of a console that has just begun; the others are medians. Episodes are short (2 steps of 64 x 64 px); their length
matters to none of these pages.

`open`: a robot collects with fakes of the models while so many clients ask as live pages do, and while none does, in turn; the
figure is the ratio of its episodes a minute. One robot takes a fifth of a second for a step, as arms do; another one is in
simulation, which takes all of a core that it can get, and two busy cores are slower than one. The delay of a page is the time
from when the simulated robot wrote what it does until a client has it, with all of them open and with one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from soar.collect.config import CollectionConfig
from soar.collect.models import Models
from soar.collect.rollout import RolloutConfig
from soar.episodes import EpisodeStore
from soar.episodes.encoded import encode
from soar.evaluation.results import read_results, write_results
from soar.fleet.session import SessionConfig, run_session
from soar.robots.workcell import open_workcell
from soar.types import Episode, Label, Provenance

TOKEN = "the-token-of-the-benchmark"
RESULTS = Path("results/console.json")
_BATCH = 5000
_TIMES = 7
_TASKS = 30
AT_5_HZ = "at 5 Hz"
_AT_5_HZ = """
robot: {driver: "soar.testing.light:LightRobot", options: {step_s: 0.2, size: 128}}
workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}
scene: {name: table, tasks: [put the carrot on the plate]}
"""
_FAKES = Models(policy="soar.testing:FakePolicy", subgoals="soar.testing:FakeSubgoals", vlm="soar.testing:FakeVLM")


def make_store(path: Path, count: int) -> None:
    """Write a store of so many short episodes, each of whose last frames is one of a few."""
    store = EpisodeStore(path, mode="create")
    rng = np.random.default_rng(0)
    smooth = np.linspace(0, 150, 64)[:, None, None] + np.linspace(0, 60, 64)[None, :, None]
    bodies = []
    for shade in range(20):
        images = np.stack([(smooth + shade + 10 * step).astype(np.uint8).repeat(3, 2) for step in range(3)])
        states, actions = np.zeros((3, 7), np.float32), np.zeros((2, 7), np.float32)
        made = Episode(id="x", scene="s", instruction="", images_THWC=images, states_TD=states, actions_TD=actions)
        bodies.append(encode(made))
    for begin in range(0, count, _BATCH):
        batch = []
        for number in range(begin, min(count, begin + _BATCH)):
            p = float(rng.random())
            label = Label(success=p >= 0.5, probability=p, source="vqa", question="is it in?", answer="yes", time_s=1.0)
            made_by = Provenance(policy=f"p{number // 10_000}", vlm="vqa", robot=f"arm-{number % 8}", run="r", seed=number)
            batch.append(
                dataclasses.replace(
                    bodies[number % len(bodies)],
                    id=f"r-000-{number:07d}",
                    instruction=f"put thing {number % _TASKS} on the plate",
                    labels=(label,),
                    provenance=made_by,
                    created_s=1.7e9 + 60 * number,
                )
            )
        store.append(batch, checked=True)


@contextlib.contextmanager
def console(source: Path) -> Iterator[str]:
    """Run `soar console`; yields its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "soar.cli", "console", str(source), "--port", "0"],
        env=os.environ | {"SOAR_CONSOLE_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip().removeprefix("open ").partition("/enter")[0]
    finally:
        process.terminate()
        process.wait()


def seconds(work: Callable[..., Any], *what: Any) -> float:
    """Return how long something takes [s]."""
    begun = time.perf_counter()
    work(*what)
    return time.perf_counter() - begun


def got(client: httpx2.Client, address: str) -> str:
    """Return a page."""
    return client.get(address).raise_for_status().text


def pages(count: int, folder: Path) -> list[dict[str, Any]]:
    """Time the pages of a store of so many episodes."""
    path = folder / f"console-{count}"
    if not path.exists():
        make_store(path, count)
    rows: list[dict[str, Any]] = []
    firsts = []
    for _ in range(3):
        with console(path) as url, httpx2.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=120) as client:
            at = f"{url}/s/{path.name}"
            firsts.append(seconds(got, client, f"{at}/episodes"))
    rows.append(_row(f"first page of {count:,} episodes [s]", statistics.median(firsts), 1.0))
    with console(path) as url, httpx2.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=120) as client:
        at = f"{url}/s/{path.name}"
        text = client.get(f"{at}/episodes").text
        thumbs = [part.partition('"')[0] for part in text.split('<img src="')[1:]]
        rows.append(
            _row(f"its {len(thumbs)} thumbnails, all of them [s]", seconds(lambda: [client.get(url + t) for t in thumbs]), 1.0)
        )
        queries = {
            "filter by task and robot [s]": "task=put thing {n} on the plate&robot=arm-{n}",
            "filter by probability and verdict [s]": "verdict=success&least=0.5{n}",
            "filter by SQL [s]": "where=length > 1 and seed %25 10{n} = 3",
            "page 1000 [s]": "page=100{n}",
        }
        for name, query in queries.items():
            times = [seconds(got, client, f"{at}/episodes?{query.format(n=n)}") for n in range(_TIMES)]
            rows.append(_row(name, statistics.median(times), 1.0))
        ask = lambda: client.post(f"{at}/audit/next", json={"who": "ada"}).raise_for_status()  # noqa: E731
        rows.append(_row("first question of the audit [s]", seconds(ask), None))
        rows.append(_row("the next one [s]", statistics.median(seconds(ask) for _ in range(_TIMES)), 1.0))
        rows.append(_row("the page about the run [s]", seconds(got, client, f"{at}/run"), None))
        rows.append(_row("the page about the judge [s]", seconds(got, client, f"{at}/calibration"), None))
    return rows


def looking(address: str, pages_open: int, ended: Any, delays: Any) -> None:
    """Ask as so many live pages do, until it is enough; then say how old what they got was [s]."""
    ages: list[float] = []

    async def page(client: httpx2.AsyncClient) -> None:
        query = ""
        while not ended.is_set():
            said = (await client.get(f"{address}/live/next?{query}")).json()
            ages.extend(time.time() - robot["time_s"] for robot in said["robots"] if query)
            query = "&".join(f"v{robot['key']}={robot['version']}" for robot in said["robots"])

    async def all_pages() -> None:
        limits = httpx2.Limits(max_connections=pages_open)
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60, limits=limits) as client:
            await asyncio.gather(*(page(client) for _ in range(pages_open)))

    os.nice(19)  # a browser stands elsewhere
    asyncio.run(all_pages())
    delays.put(ages)


def beside_pages(kind: str, pages_open: int, episodes: int, turns: int) -> list[dict[str, Any]]:
    """Measure the episodes a minute of a robot of a kind with and without open pages."""
    rates: dict[int, list[float]] = {0: [], 1: [], pages_open: []}
    ages: dict[int, list[float]] = {1: [], pages_open: []}
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as opened:
        (file := Path(folder) / "light.yaml").write_text(_AT_5_HZ)
        workcell = str(file) if kind == AT_5_HZ else "sim:scene1"
        cell = opened.enter_context(open_workcell(workcell, image_size=128))
        run = Path(folder) / "run"
        (run / "live").mkdir(parents=True)

        def collect(upto: int) -> None:
            config = CollectionConfig(episodes=upto, rollout=RolloutConfig(subgoals=5))
            session = SessionConfig(
                models=_FAKES, workcell=workcell, robot="arm", image_size=128, store=str(run / "episodes"),
                journal=str(run / "events.jsonl"), episodes=upto, run="run", round=0, seed=0, config=config,
            )  # fmt: skip
            run_session(cell, session)

        collect(2)
        done = 2
        with console(run) as url:
            for watching in [*[0, pages_open] * turns, 1]:
                ended, said = context.Event(), context.Queue()
                clients = context.Process(target=looking, args=(f"{url}/s/run", watching, ended, said))
                if watching:
                    clients.start()
                    time.sleep(5)
                passed_s = seconds(collect, done + episodes)
                done += episodes
                ended.set()
                if watching:
                    ages[watching] += said.get()
                    clients.join()
                rates[watching].append(60 * episodes / passed_s)
    alone, beside = statistics.median(rates[0]), statistics.median(rates[pages_open])
    rows = [
        _row(f"episodes a minute of a robot {kind}, no page open", alone, None),
        _row(f"episodes a minute of a robot {kind}, {pages_open} live pages open", beside, None),
        _row(f"ratio of the two, of a robot {kind}", beside / alone, 0.97 if kind == AT_5_HZ else None),
    ]
    if kind == AT_5_HZ:
        return rows
    return rows + [
        _row(f"delay of a live page, {count} open, p{percent} [s]", float(np.percentile(ages[count], percent)), limit)
        for count in (1, pages_open)
        for percent, limit in ((50, 1.0), (95, None))
    ]


def _row(metric: str, value: float, limit: float | None) -> dict[str, Any]:
    sys.stdout.write(f"{metric}: {value:.3f}\n")
    return {"metric": metric, "value": round(value, 3), "limit": limit}


def main() -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=("pages", "open"))
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--beside", default="", help="what else the computer did meanwhile, for the table")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = read_results(options.out)["rows"] if options.out.exists() else []
    new: list[dict[str, Any]] = []
    if "pages" in options.parts:
        new += pages(options.episodes, options.folder)
    if "open" in options.parts:
        new += beside_pages(AT_5_HZ, options.pages, 3, options.turns)
        new += beside_pages("in simulation", options.pages, 10, options.turns)
    new = [row | {"beside": "" if row["metric"].startswith("ratio") else options.beside} for row in new]
    kept = [row for row in rows if row["metric"] not in {one["metric"] for one in new}]
    write_results(options.out, f"python benchmarks/console.py {' '.join(options.parts)}", [*kept, *new])


if __name__ == "__main__":
    main()
