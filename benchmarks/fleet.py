"""How large a fleet one coordinator carries. Writes `results/fleet.json`.

    ledger      decisions a second: leases that are renewed, attempts that are asked for
    store       episodes a second, through the coordinator, from 16 writers
    robots      200 robots that sleep an episode's time (100 steps at 5 Hz) and deliver a recorded episode, with the leases,
                beats and spools of `soar fleet join`: how long another one waits for the coordinator, and what of a core that
                takes; then a policy for all of them
    day         an accelerated day: 100,000 episodes from 200 robots that take no time for any; memory of the coordinator
    kill        processes of robots are killed; how long until each robot collects again
    simulated   5 simulated WidowX collect for real
    improve     five of them at five scenes, on two nodes (127.0.0.1 and 127.0.0.2), improve in one run (five_scenes.yaml); then
                trials of the first policy, the one that learns, and the last that was promoted. --run keeps the run
    paper       what the figures of `robots` and `store` say of 2,000 robots

    OMP_NUM_THREADS=1 python benchmarks/fleet.py ledger store robots day kill simulated improve paper

Each part can be run alone: its rows take the place of its earlier ones, and the others stay. `--small` shows in a few minutes
that all parts run; its figures say nothing, and go into a file of their own.

What is accelerated in `day`: a robot brings a small episode, of 3 steps of 16 pixels, as soon as the one before is stored, with
the call for attempts before it and the events after it, one a delivery, as any robot does. The coordinator sees the episodes,
events and attempts of a day in minutes; in fewer appends, since more of them come at a time, and with the beats of those
minutes alone (a day has seventeen million; one takes the place of the one before). Its rows are written after each tenth, so
that one that is interrupted says how far it came, and how memory grew until then.

Robots have computers of their own; here their processes have what the coordinator leaves of two cores (`nice`). The
coordinator is a process of its own, `soar fleet up` as it is; its share of a core is its CPU time by the clock's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from soar.episodes.encoded import EncodedEpisode, encode
from soar.evaluation.results import read_results, write_results
from soar.evaluation.statistics import p_value, paired
from soar.evaluation.trials import Evaluation, read_evaluation
from soar.fleet.asking import ask
from soar.fleet.episode_bytes import pack_episodes
from soar.fleet.leases import Holder
from soar.fleet.ledger import Ledger, episode_prefix
from soar.fleet.link import Coordinator, Link
from soar.fleet.spool import Spool
from soar.policies.loading import load_policy
from soar.prometheus import Histogram
from soar.remote.client import ModelAwayError, RemoteConfig
from soar.types import Episode, Label, Provenance

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "fleet.json"
SCENE, TASK = "table", "put the carrot on the plate"
CELL = """
robot: {driver: "soar.testing.light:LightRobot", options: {step_s: 0.2}}
workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}
scene: {name: table, tasks: [put the carrot on the plate, put the carrot in the pot, put the pot on the plate]}
"""
FLEET = """
name: benchmark
robots: {%s}
episodes: %d
models: {policy: "soar.testing:FakePolicy", subgoals: "soar.testing:FakeSubgoals", vlm: "soar.testing:FakeVLM"}
set: [improvement.collection.rollout.early_success.every=0, improvement.collection.rollout.subgoals=1]
"""
PARTS = ("ledger", "store", "robots", "day", "kill", "simulated", "improve", "paper")
MANY, AN_HOUR = 2000, 120.0
"""Robots on paper, and the episodes of each in an hour."""
STEPS, STEP_S = 100, 0.2
"""Of a robot that sleeps."""
SCENES = (1, 2, 4, 6, 9)
SHORTER = ["--improvement.rounds", "2", "--improvement.collection.episodes", "5", "--improvement.policy.fit.steps", "4"]
WORKERS = 4
"""Processes of robots."""
ALONE = "alone"
Row = dict[str, Any]


def episode(
    run: str, robot: str, epoch: int, number: int, *, steps: int = 20, side: int = 64, policy: str = "fake-policy"
) -> EncodedEpisode:
    """Return an episode of one smooth picture."""
    images = np.tile(np.linspace(number % 50, 255, side, dtype=np.uint8)[None, :, None, None], (steps + 1, 1, side, 3))
    return encode(
        Episode(
            id=f"{episode_prefix(run, 0, robot, epoch)}{number:05d}",
            scene=SCENE,
            instruction=TASK,
            images_THWC=images,
            states_TD=np.zeros((steps + 1, 7), np.float32),
            actions_TD=np.zeros((steps, 7), np.float32),
            labels=(Label(success=number % 2 == 0, probability=0.5, source="vlm"),),
            provenance=Provenance(policy=policy, robot=robot, run=run, round=0, seed=number),
        )
    )


def ledger(robots: int, seconds: float) -> list[Row]:
    """Return how many decisions a ledger takes a second, without a network."""
    names = [f"robot-{number}" for number in range(robots)]
    with tempfile.TemporaryDirectory() as folder:
        shared = Ledger(Path(folder) / "ledger.json", Path(folder) / "episodes", names, run="run")
        epochs = {name: shared.acquire(name, Holder(host="h", pid=1, nonce=name)) for name in names}
        begins, decisions = time.perf_counter(), 0
        while time.perf_counter() - begins < seconds:
            name = names[decisions % robots]
            shared.renew(name, epochs[name], (SCENE, TASK))
            shared.counts(SCENE, name)
            decisions += 2
        rate = decisions / (time.perf_counter() - begins)
    return [{"metric": f"ledger of {robots} robots: decisions a second", "ours": round(rate), "limit": "at least 1000"}]


def store(writers: int, episodes: int) -> list[Row]:
    """Return how many episodes a second a coordinator stores that come from several writers at once."""
    names = [f"robot-{number}" for number in range(writers)]
    with coordinator(names) as (url, pid, run):
        links = {name: Link(url, name) for name in names}
        for link in links.values():
            join(link)
        packed = {
            name: [pack_episodes([episode(run.name, name, link.epoch, n)]) for n in range(episodes // writers)]
            for name, link in links.items()
        }

        def deliver(name: str) -> None:
            client = Coordinator(RemoteConfig(url=url, retries=5), 60.0)
            for data in packed[name]:
                client.request("POST", f"/v1/commit/{name}/{links[name].epoch}", data)

        cpu, begins = cpu_s(pid), time.perf_counter()
        together(deliver, names)
        seconds, used = time.perf_counter() - begins, cpu_s(pid) - cpu
        count = ask(url, "GET", "/v1/status")["episodes"]
        for link in links.values():
            link.end()
    return [
        {"metric": f"store, {writers} writers: episodes a second", "ours": round(count / seconds, 1), "limit": "at least 50"},
        {"metric": "store: CPU of the coordinator an episode [ms]", "ours": round(1000 * used / count, 2), "limit": None},
    ]


def robots(count: int, seconds: float) -> list[Row]:
    """Return what so many robots see of their coordinator, and what a new policy for all of them costs."""
    from tests.fleet.tiny_policy import tiny_policy

    names = [f"robot-{number}" for number in range(count)]
    with coordinator([*names, ALONE]) as (url, pid, run):
        with workers("practise", url, names, run.parent):
            until(lambda: ask(url, "GET", "/v1/status", timeout_s=60.0)["episodes"] >= count)  # the first of each, about
            cpu, begins = cpu_s(pid), time.perf_counter()
            before = ask(url, "GET", "/v1/status")["episodes"]
            alone_ms = ask_alone(url, seconds)
            minutes = (time.perf_counter() - begins) / 60
            share = (cpu_s(pid) - cpu) / (60 * minutes)
            middle = ask(url, "GET", "/v1/status")["episodes"]
            stored = middle - before
            policy = tiny_policy(run.parent / "new.onnx", "new")
            deployed = time.perf_counter()
            ask(url, "POST", "/v1/deploy", {"policy": str(policy), "canary": "", "episodes": 1}, timeout_s=60.0)
            until(
                lambda: (
                    sum(robot["policy"] == "new" for robot in ask(url, "GET", "/v1/status", timeout_s=60.0)["robots"]) == count
                )
            )
            took = time.perf_counter() - deployed
            time.sleep(2 * STEPS * STEP_S)
            after = ask(url, "GET", "/v1/status")["episodes"]
        late = late_policies(run, names)
    return [
        {"metric": f"{count} robots: episodes stored a minute", "ours": round(stored / minutes), "limit": None},
        {"metric": f"{count} robots: another one waits for the coordinator, p50 [ms]",
         "ours": round(float(np.percentile(alone_ms, 50)), 1), "limit": None},
        {"metric": "the same, p99 [ms]", "ours": round(float(np.percentile(alone_ms, 99)), 1), "limit": "below 20"},
        {"metric": f"{count} robots: the coordinator's share of a core", "ours": round(share, 2), "limit": "below 1"},
        {"metric": f"a policy for {count} robots: all of them run it after [s]", "ours": round(took, 1), "limit": None},
        {"metric": "the same: most episodes that a robot began with the old policy afterwards", "ours": late, "limit": 1},
        {"metric": "the same: episodes stored meanwhile", "ours": after - middle, "limit": None},
    ]  # fmt: skip


def ask_alone(url: str, seconds: float) -> list[float]:
    """Return what one more robot waits for answers before an episode [ms]; this process does nothing else."""
    link, waits_ms, ends = Link(url, ALONE), [], time.perf_counter() + seconds
    join(link)
    while time.perf_counter() < ends:
        begins = time.perf_counter()
        link.counts(SCENE)
        waits_ms.append(1000 * (time.perf_counter() - begins))
        time.sleep(0.05)
    link.end()
    return waits_ms


def late_policies(run: Path, names: list[str]) -> int:
    """Return how many episodes with the old policy a robot began at most after the new one was deployed.

    One that is stored within an episode's time after it was under way then; later ones count.
    """
    from soar.event_log import read_journal

    events, late = read_journal(run / "events.jsonl"), dict.fromkeys(names, 0)
    deployed_s = next(event["time_s"] for event in events if event["event"] == "deploy")
    for event in events:
        if event["event"] == "episode" and event["policy"] != "new" and event["time_s"] > deployed_s + STEPS * STEP_S:
            late[event["robot"]] += 1
    return max(late.values())


def day(count: int, episodes: int, land: Callable[[list[Row]], None]) -> list[Row]:
    """Return what of the coordinator's memory an accelerated day takes; what is known after each tenth is handed to `land`."""
    names = [f"robot-{number}" for number in range(count)]
    marks: list[tuple[int, int]] = []
    with coordinator(names) as (url, pid, run), workers("deliver", url, names, run.parent):
        begins, cpu = time.perf_counter(), cpu_s(pid)

        def rows() -> list[Row]:
            done, memory = marks[-1]
            later = [mark for mark in marks if mark[0] >= min(done, episodes / 10)]
            growth = round(float(10_000 * np.polyfit(*np.transpose(later), 1)[0]), 1) if len(later) > 2 else None
            limit = round(1.2 * later[0][1])
            return [
                {"metric": f"{count} robots deliver {done} episodes: in [s]", "ours": round(time.perf_counter() - begins),
                 "limit": None},
                {"metric": "the same: in so many appends", "ours": appends(url), "limit": None},
                {"metric": "the same: the coordinator's memory after a tenth of them [MB]", "ours": later[0][1], "limit": None},
                {"metric": "the same: at the end [MB]", "ours": memory, "limit": f"at most {limit}"},
                {"metric": "the same: growth in between, each 10,000 episodes [MB]", "ours": growth, "limit": None},
                {"metric": "the same: CPU of the coordinator an episode, with its beats [ms]",
                 "ours": round(1000 * (cpu_s(pid) - cpu) / max(done, 1), 2), "limit": None},
            ]  # fmt: skip

        landed = 0
        while landed < 10:
            time.sleep(min(10.0, episodes / 1000))
            if not Path(f"/proc/{pid}").exists():
                raise SystemExit((run.parent / "log").read_text())
            with contextlib.suppress(ModelAwayError):  # it is busy
                marks.append((ask(url, "GET", "/v1/status", timeout_s=60.0)["episodes"], memory_mb(pid)))
                logging.info("%d episodes, %d MB", *marks[-1])
                if (tenths := 10 * marks[-1][0] // episodes) > landed:
                    landed = tenths
                    land(rows())
        return rows()


def appends(url: str) -> int:
    """Return in how many appends the coordinator has stored all deliveries."""
    text = Coordinator(RemoteConfig(url=url), 60.0).read("/metrics").decode()
    return int(float(re.findall(r"^soar_fleet_store_batches_total\S* (\S+)$", text, re.MULTILINE)[0]))


def kill(robots: int, times: int) -> list[Row]:
    """Return how long it takes until a robot whose process was killed collects again."""
    from soar.fleet.robot_lock import robot_process

    names = [f"robot-{os.getpid()}-{number}" for number in range(robots)]
    took_s: list[float] = []
    with coordinator(names, at="here") as (url, _, _):

        def state(name: str) -> dict[str, Any]:
            robots: list[dict[str, Any]] = ask(url, "GET", "/v1/status", timeout_s=60.0)["robots"]
            return next(robot for robot in robots if robot["name"] == name)

        until(lambda: all(state(name)["stored"] for name in names))
        for name in names * times:
            before, pid = state(name), robot_process(name)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            begins = time.perf_counter()
            until(lambda: state(name)["epoch"] > before["epoch"] and state(name)["phase"] == "collecting")  # noqa: B023
            took_s.append(time.perf_counter() - begins)
            logging.info("%s is back after %.1f s", name, took_s[-1])
    return [
        {"metric": f"{len(took_s)} killed processes of robots: back after [s], median", "ours": round(median(took_s), 1),
         "limit": None},
        {"metric": "the same: longest [s]", "ours": round(max(took_s), 1), "limit": "at most 30"},
    ]  # fmt: skip


def simulated(count: int, episodes: int) -> list[Row]:
    """Let simulated WidowX collect with SOAR's own models."""
    with tempfile.TemporaryDirectory() as folder:
        file, run = Path(folder) / "lab.yaml", Path(folder) / "run"
        named = ", ".join(f'bench-{number}: {{workcell: "sim:scene{SCENES[number]}"}}' for number in range(count))
        file.write_text(f"robots: {{{named}}}\nepisodes: {episodes}\n")
        begins = time.perf_counter()
        subprocess.run([*SOAR, "up", str(file), "--run", str(run)], check=True, stdout=subprocess.DEVNULL)
        hours = (time.perf_counter() - begins) / 3600
        from soar.episodes.store import EpisodeStore

        records = EpisodeStore(run / "episodes").episodes()
        each = [sum(record.provenance.robot == f"bench-{number}" for record in records) for number in range(count)]
    return [
        {
            "metric": f"{count} simulated WidowX on {os.cpu_count()} cores: episodes stored",
            "ours": len(records),
            "limit": episodes,
        },
        {"metric": "the same: of each robot, fewest and most", "ours": f"{min(each)}, {max(each)}", "limit": None},
        {"metric": "the same: episodes an hour, processes' start included", "ours": round(len(records) / hours), "limit": None},
    ]


def improve(part: Path, more: list[str], folder: Path, trials: int) -> list[Row]:
    """Let five simulated robots at five scenes improve in one run, three at one node and two at another.

    Args:
        part: Folder of the fleet's file and the preset.
        more: Words of the command.
        folder: For the run; one that is there already goes on.
        trials: Of each task, of three policies, from starts that are nobody's figure.
    """
    from soar.episodes.store import EpisodeStore
    from soar.event_log import read_journal
    from soar.fleet.config import load_fleet
    from soar.run_folder import RunFolder

    file, preset = part / "five_scenes.yaml", part / "five_scenes_preset.yaml"
    joining = [name for name, robot in load_fleet(file).robots.items() if robot.at == "join"]
    os.environ["SOAR_TOKEN"] = secrets.token_urlsafe(32)
    run, there = folder / "run", folder / "node"
    there.mkdir(parents=True, exist_ok=True)
    words = ["--fleet", str(file), "--preset", str(preset), "--learner", "language", "--evaluate", "off", "--host", "127.0.0.2"]
    words += ["--run", str(run), *more]
    (run / "fleet.json").unlink(missing_ok=True)
    begins = time.perf_counter()
    loop = subprocess.Popen([sys.executable, "-m", "soar.cli", "improve", *words], stdout=subprocess.DEVNULL)
    robots: list[subprocess.Popen[bytes]] = []
    try:
        until(lambda: (run / "fleet.json").exists() or loop.poll() is not None)
        if loop.poll() is not None:
            raise SystemExit(f"the loop ended with status {loop.returncode}")
        url = json.loads((run / "fleet.json").read_text())["url"]
        robots += [  # its own folder for what is temporary makes it another computer: its own locks
            subprocess.Popen(
                [*SOAR, "join", url, "--robot", name, "--spool", str(there / "spool")], env=os.environ | {"TMPDIR": str(there)}
            )
            for name in joining
        ]
        if loop.wait():
            raise SystemExit(f"the loop ended with status {loop.returncode}")
        minutes = (time.perf_counter() - begins) / 60
        for robot in robots:
            robot.wait(60)
    finally:
        for process in (loop, *robots):
            process.kill()
    records = EpisodeStore(run / "episodes").episodes()
    tried = read_journal(run / "events.jsonl", "deploy")
    decided = read_journal(run / "events.jsonl", "deployed")
    promoted = [event["version"] for event in decided if event["done"] == "promoted"]
    rows: list[Row] = [
        {"metric": "five scenes, two nodes: minutes of the whole run", "ours": round(minutes, 1), "limit": None},
        {"metric": "the same: episodes stored", "ours": len(records), "limit": None},
        {"metric": "the same: scenes at which a promotion was tried", "ours": len({event["canary"] for event in tried}),
         "limit": len(SCENES)},
        {"metric": "the same: candidates tried, promoted", "limit": None, "ours": f"{len(tried)}, {len(promoted)}"},
    ]  # fmt: skip
    if promoted:
        policies = {"first policy": RunFolder(run).policy(0), "learner": RunFolder(run).learner}
        rows += compared(policies | {"last promoted": run / "deployed" / promoted[-1]}, folder / "evaluations", trials)
    return rows


def improved(run: Path | None, more: list[str], trials: int) -> list[Row]:
    """Return the rows of `improve`, of a run that stays in a folder, or of one that nobody keeps."""
    with contextlib.nullcontext(run) if run else tempfile.TemporaryDirectory() as folder:
        return improve(Path(__file__).parent, more, Path(folder), trials)


def compared(policies: dict[str, Path], folder: Path, trials: int) -> list[Row]:
    """Return what policies do from the same starts of each scene, by the simulator's truth."""

    def evaluate(scene: int) -> list[Evaluation]:
        out, counted = folder / f"scene{scene}.json", ["--trials", str(trials), "--first-trial", "1000"]
        words = ["--scene", f"scene{scene}", "--policy", *map(str, policies.values()), *counted, "--out", str(out)]
        subprocess.run([sys.executable, "-m", "soar.cli", "evaluate", *words], check=True, stdout=subprocess.DEVNULL)
        return [read_evaluation(out.with_name(f"{out.stem}-{number}.json")) for number in range(1, len(policies) + 1)]

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(evaluate, SCENES))
    rows: list[Row] = [
        {"metric": f"the same, scene{scene}: successes of {', '.join(policies)}", "limit": None,
         "ours": ", ".join(f"{rate.successes}/{rate.trials}" for rate in (each.rate() for each in evaluations))}
        for scene, evaluations in zip(SCENES, done, strict=True)
    ]  # fmt: skip
    for number, name in enumerate(policies):
        rates = [evaluations[number].rate() for evaluations in done]
        rows.append({"metric": f"the same, all five: {name}", "ours": str(sum(rates[1:], rates[0])), "limit": None})
    for number, name in enumerate(list(policies)[:-1]):
        first, last = ({k: v for one in done for k, v in one[which].outcomes().items()} for which in (number, -1))
        found = paired(first, last)
        said = f"{found.only_second}, {found.only_first}; p = {p_value(found.p_second_better)}"
        rows.append(
            {"metric": f"the same: starts at which only the last, only the {name} succeeds", "ours": said, "limit": None}
        )
    return rows


def paper(path: Path) -> list[Row]:
    """Say what the measured figures mean for many robots.

    The model: shares of a core and of the store add up, since each beat and each episode costs as much as any other.
    """
    rows = {str(row["metric"]): row["ours"] for row in read_results(path)["rows"]} if path.exists() else {}

    def find(pattern: str) -> tuple[float, int]:
        for name, value in rows.items():
            if re.search(pattern, name) and value is not None:
                return float(value), int((re.search(r"\d+", name) or ["1"])[0])
        raise SystemExit(f"{path} has nothing like {pattern!r}: run the parts store and robots first")

    share, some = find("robots: the coordinator's share of a core")
    (stored, _), (cpu_ms, _) = find("writers: episodes a second"), find("the coordinator an episode \\[ms\\]")
    writing = MANY * AN_HOUR / 3600
    loads = {"the coordinator's core": share * MANY / some, "the store": writing / stored}
    first = max(loads, key=loads.__getitem__)
    change = {
        "the coordinator's core": "a beat every few seconds instead of each, then a coordinator for each part of the robots",
        "the store": "robots that deliver several episodes at once, then a store for each part of the robots",
    }
    each = f"{MANY} robots, {AN_HOUR:g} episodes an hour each"
    return [
        {"metric": f"{each}: episodes a second; limit: what the store takes", "ours": round(writing, 1), "limit": stored},
        {"metric": "the same: beats and episodes, in cores", "ours": round(loads["the coordinator's core"], 2), "limit": 1},
        {"metric": "the same: storing alone, in cores", "ours": round(writing * cpu_ms / 1000, 2), "limit": None},
        {"metric": "the same: what breaks first, and at how many robots", "ours": f"{first}, {round(MANY / loads[first])}",
         "limit": None},
        {"metric": "the same: what one would change", "ours": change[first], "limit": None},
    ]  # fmt: skip


SOAR = [sys.executable, "-m", "soar.cli", "fleet"]


@contextlib.contextmanager
def coordinator(names: list[str], *, episodes: int = 10**9, at: str = "join") -> Iterator[tuple[str, int, Path]]:
    """Run `soar fleet up`, for robots that join by default, within; yields its address, its process and its run's folder."""
    os.environ["SOAR_TOKEN"] = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "cell.yaml").write_text(CELL)
        listed = ", ".join(f"{name}: {{workcell: cell.yaml, at: {at}}}" for name in names)
        (folder / "lab.yaml").write_text(FLEET % (listed, episodes))
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [*SOAR, "up", str(folder / "lab.yaml"), "--run", str(folder / "run")], stdout=log, stderr=log
            )
        try:
            address = folder / "run" / "fleet.json"
            until(lambda: address.exists() or process.poll() is not None)
            if process.poll() is not None:
                raise SystemExit((folder / "log").read_text())
            yield json.loads(address.read_text())["url"], process.pid, folder / "run"
        finally:
            with contextlib.suppress(Exception):
                ask(str(folder / "run"), "POST", "/v1/orders", {"do": "stop"})
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def workers(part: str, url: str, names: list[str], folder: Path) -> Iterator[None]:
    """Run robots in a few processes, within."""
    processes = [
        subprocess.Popen(
            ["nice", "-n", "19", sys.executable, __file__, "--worker", part, url, str(folder), *names[number::WORKERS]],
            stdin=subprocess.PIPE,
        )
        for number in range(WORKERS)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.communicate(b"\n")


def work(part: str, url: str, folder: Path, names: list[str]) -> None:
    """Be robots until a line comes."""
    ended, waited = threading.Event(), Histogram()
    waited.add(0.1)

    def practise(name: str) -> None:
        link, spool = Link(url, name), Spool(folder / "spool" / name, 100)
        ended.wait(np.random.default_rng().uniform(0, STEPS * STEP_S))  # they are not at the same step
        join(link)
        link.deliver(spool)
        running, number, version = "fake-policy", 0, ""
        while not ended.is_set():
            if link.orders.policy != version:
                version = link.orders.policy
                running = load_policy(str(link.fetch(version, spool.folder / "policies"))).id
            link.say("collecting", scene=SCENE, policy=running)
            link.counts(SCENE)
            ended.wait(STEPS * STEP_S)
            keep(spool, episode(link.about["run"], name, link.epoch, number, steps=STEPS, policy=running), number)
            link.event("episode", success=number % 2 == 0)
            number += 1
        link.end()

    def deliver(name: str) -> None:
        link, client = Link(url, name), Coordinator(RemoteConfig(url=url, retries=5), 60.0)
        join(link)
        link.say("collecting", scene=SCENE, instruction=TASK, policy="fake-policy")
        first, number = episode(link.about["run"], name, link.epoch, 0, steps=3, side=16), 0
        while not ended.is_set() and not link.lost:
            link.counts(SCENE)
            of = replace(first.provenance, seed=number)
            one = replace(first, id=f"{first.id[:-5]}{number:05d}", provenance=of)
            try:
                client.request("POST", f"/v1/commit/{name}/{link.epoch}", pack_episodes([one]))
            except ModelAwayError:  # it is brought again
                continue
            link.event("episode", id=one.id, success=True, steps=3)
            link.event("asked", feasible=3, looks=1, calls=4, tokens=0, untold=4, waits={"subgoal": waited.plain()})
            number += 1
        link.end()

    def wait() -> None:
        sys.stdin.readline()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    together(practise if part == "practise" else deliver, names)


def keep(spool: Spool, one: EncodedEpisode, number: int) -> None:
    """Put an episode where those are that wait."""
    (spool.folder / f".{number}").write_bytes(pack_episodes([one]))
    (spool.folder / f".{number}").rename(spool.folder / f"{number + 1:012d}.episode")


def join(link: Link) -> None:
    """Have the lease; a coordinator that is asked by all at once may need its time."""
    while True:
        with contextlib.suppress(ModelAwayError):
            link.join()
            return
        time.sleep(0.5)


def together(do: Callable[[str], None], names: list[str]) -> None:
    """Do something for all names, each in a thread."""
    threads = [threading.Thread(target=do, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def until(what: Callable[[], bool]) -> None:
    """Wait until something is so."""
    while not what():
        time.sleep(0.2)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process [s]."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu_s.last = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")  # type: ignore[attr-defined]
    return cpu_s.last  # type: ignore[attr-defined, no-any-return]


def memory_mb(pid: int) -> int:
    """Return the memory that a process holds [MB]."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) // 1024


def main() -> None:
    """Run the parts that are named; rows of the others stay as they are."""
    if sys.argv[1:2] == ["--worker"]:
        part, url, folder, *names = sys.argv[2:]
        work(part, url, Path(folder), names)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--robots", type=int, default=200, help="that sleep")
    parser.add_argument("--seconds", type=float, default=60.0, help="of measuring")
    parser.add_argument("--episodes", type=int, default=1600, help="of the store's part")
    parser.add_argument("--day-episodes", type=int, default=100_000)
    parser.add_argument("--simulated-episodes", type=int, default=20)
    parser.add_argument("--run", type=Path, help="folder for the run of improve; one that was interrupted goes on")
    parser.add_argument("--trials", type=int, default=5, help="of each task, of the policies of improve")
    parser.add_argument("--beside", default="", help="what else the computer did meanwhile, for the table")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--small", action="store_true", help="whether all parts run")
    options = parser.parse_args()
    if options.small:
        options.robots, options.seconds, options.episodes = 8, 5.0, 160
        options.day_episodes, options.simulated_episodes, options.trials = 400, 5, 1
    out = options.out or (Path(tempfile.gettempdir()) / "fleet-small.json" if options.small else RESULTS)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in ("soar", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.path.insert(0, str(ROOT))

    def land(part: str, rows: list[Row]) -> None:
        write(out, part, [row | ({"beside": options.beside} if options.beside else {}) for row in rows])

    run = {
        "ledger": lambda: ledger(options.robots, min(options.seconds, 10.0)),
        "store": lambda: store(16, options.episodes),
        "robots": lambda: robots(options.robots, options.seconds),
        "day": lambda: day(options.robots, options.day_episodes, partial(land, "day")),
        "kill": lambda: kill(3, 1 if options.small else 4),
        "simulated": lambda: simulated(5, options.simulated_episodes),
        "improve": lambda: improved(options.run, SHORTER if options.small else [], options.trials),
        "paper": lambda: paper(out),
    }
    for part in options.parts:
        land(part, run[part]())


def write(path: Path, part: str, rows: list[Row]) -> None:
    """Write the rows of a part into the results, in the place of its earlier ones."""
    there = [row for row in read_results(path)["rows"] if row["part"] != part] if path.exists() else []
    for row in rows:
        logging.info("%s", row)
    all = sorted([*there, *({"part": part} | row for row in rows)], key=lambda row: PARTS.index(row["part"]))
    parts = " ".join(dict.fromkeys(row["part"] for row in all))
    write_results(path, f"OMP_NUM_THREADS=1 python benchmarks/fleet.py {parts}", all)


if __name__ == "__main__":
    main()
