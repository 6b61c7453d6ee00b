"""How large a fleet one coordinator carries. Writes `results/fleet.json`.

    ledger      decisions a second: leases that are renewed, attempts that are asked for
    store       episodes a second, through the coordinator, from 16 writers
    robots      200 light robots (`soar.testing.light`), each the code of `soar fleet join` in a thread: how long a robot waits
                for the coordinator, and what of a core that takes; then a policy for all of them
    day         an accelerated day: 200 robots without arms deliver episodes; memory of the coordinator
    simulated   5 simulated WidowX collect for real
    improve     five of them at five scenes, on two nodes (127.0.0.1 and 127.0.0.2), improve in one run (five_scenes.yaml)
    paper       what the figures say of 2,000 robots

    OMP_NUM_THREADS=1 python benchmarks/fleet.py ledger store robots day simulated improve paper

A light robot's episode is one subgoal long (20 steps), so that two cores carry the pictures of 200 of them; what the
coordinator does for an episode does not depend on that much. An accelerated day has 100,000 episodes with
`--day-episodes 100000`.

The coordinator is a process of its own, `soar fleet up` as it is; its share of a core is its CPU time by the clock's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from soar.episodes.encoded import EncodedEpisode, encode
from soar.evaluation.results import read_results, write_results
from soar.fleet.asking import ask
from soar.fleet.episode_bytes import pack_episodes
from soar.fleet.ledger import Holder, Ledger, episode_prefix
from soar.fleet.link import Coordinator, Link
from soar.fleet.member import run_member
from soar.fleet.spool import Spool
from soar.remote.client import ModelAwayError, RemoteConfig
from soar.types import Episode, Label, Provenance

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "fleet.json"
SCENE, TASK = "table", "put the carrot on the plate"
CELL = """
robot: {driver: "soar.testing.light:LightRobot", options: {step_s: %g}}
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
EPISODE_STEPS = 30
"""Of a light robot, the way home and what it waits for included."""
SCENES = (1, 2, 4, 6, 9)
WORKERS = 2
Row = dict[str, Any]


def episode(run: str, robot: str, epoch: int, number: int, *, steps: int = 20, side: int = 64) -> EncodedEpisode:
    """Return an episode of one grey picture."""
    images = np.full((steps + 1, side, side, 3), number % 256, np.uint8)
    return encode(
        Episode(
            id=f"{episode_prefix(run, 0, robot, epoch)}{number:05d}",
            scene=SCENE,
            instruction=TASK,
            images_THWC=images,
            states_TD=np.zeros((steps + 1, 7), np.float32),
            actions_TD=np.zeros((steps, 7), np.float32),
            labels=(Label(success=number % 2 == 0, probability=0.5, source="vlm"),),
            provenance=Provenance(policy="fake-policy", robot=robot, run=run, round=0, seed=number),
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


def robots(count: int, seconds: float, step_s: float) -> list[Row]:
    """Return what so many light robots see of their coordinator, and what a new policy for all of them costs."""
    from tests.fleet.tiny_policy import tiny_policy

    names = [f"robot-{number}" for number in range(count)]
    with coordinator(names, step_s=step_s) as (url, pid, run):
        with workers("live", url, names, run.parent) as said:
            until(lambda: phases(url).get("collecting", 0) == count)
            cpu, begins = cpu_s(pid), time.perf_counter()
            time.sleep(seconds)
            share = (cpu_s(pid) - cpu) / (time.perf_counter() - begins)
            before = ask(url, "GET", "/v1/status")["episodes"]
            policy = tiny_policy(run.parent / "new.onnx", "new")
            deployed = time.perf_counter()
            ask(url, "POST", "/v1/deploy", {"policy": str(policy), "canary": "", "episodes": 1}, timeout_s=60.0)
            until(lambda: all(robot["policy"] == "new" for robot in ask(url, "GET", "/v1/status")["robots"]))
            took = time.perf_counter() - deployed
            time.sleep(1.5 * EPISODE_STEPS * step_s)
            ask(url, "POST", "/v1/orders", {"do": "pause"})
            until(lambda: phases(url).get("collecting", 0) == 0)
            after = ask(url, "GET", "/v1/status")["episodes"]
        waits_ms = np.array([1000 * wait for one in said for wait in one["waits_s"]])
        late = late_policies(run, names)
    return [
        {"metric": f"{count} light robots: episodes stored", "ours": after, "limit": None},
        {"metric": f"{count} light robots: a robot waits for the coordinator, once an episode, p50 [ms]",
         "ours": round(float(np.percentile(waits_ms, 50)), 1), "limit": None},
        {"metric": f"{count} light robots: the same, p99 [ms]",
         "ours": round(float(np.percentile(waits_ms, 99)), 1), "limit": "below 20"},
        {"metric": f"{count} light robots: the coordinator's share of a core", "ours": round(share, 2), "limit": "below 1"},
        {"metric": f"a policy for {count} robots: all of them run it after [s]", "ours": round(took, 1), "limit": None},
        {"metric": "the same: most episodes that a robot began with the old policy afterwards", "ours": late, "limit": 1},
        {"metric": "the same: episodes stored meanwhile", "ours": after - before, "limit": None},
    ]  # fmt: skip


def late_policies(run: Path, names: list[str]) -> int:
    """Return how many episodes with the old policy a robot stored at most after the new one was deployed."""
    from soar.event_log import read_journal

    events, late = read_journal(run / "events.jsonl"), dict.fromkeys(names, 0)
    deployed = next(number for number, event in enumerate(events) if event["event"] == "deploy")
    for event in events[deployed:]:
        if event["event"] == "episode" and event["policy"] != "new":
            late[event["robot"]] += 1
    return max(late.values())


def day(count: int, episodes: int) -> list[Row]:
    """Return what of the coordinator's memory an accelerated day takes."""
    names = [f"robot-{number}" for number in range(count)]
    marks: list[tuple[int, int]] = []
    with coordinator(names, episodes=episodes) as (url, pid, run), workers("deliver", url, names, run.parent):
        begins, cpu = time.perf_counter(), cpu_s(pid)
        while True:
            with contextlib.suppress(Exception):  # it is busy, or has what it wanted and ends
                marks.append((ask(url, "GET", "/v1/status")["episodes"], memory_mb(pid)))
                logging.info("%d episodes, %d MB", *marks[-1])
            if (marks and marks[-1][0] >= episodes) or not Path(f"/proc/{pid}").exists():
                break
            time.sleep(10.0)
        seconds, used = time.perf_counter() - begins, cpu_s(pid) - cpu
    tenth = next(memory for done, memory in marks if done >= episodes / 10)
    return [
        {"metric": f"{count} robots deliver {marks[-1][0]} episodes: in [s]", "ours": round(seconds), "limit": None},
        {"metric": "the same: the coordinator's memory after a tenth of them [MB]", "ours": tenth, "limit": None},
        {"metric": "the same: at the end [MB]", "ours": marks[-1][1], "limit": f"at most {round(1.2 * tenth)}"},
        {"metric": "the same: CPU of the coordinator an episode, with its beats [ms]",
         "ours": round(1000 * used / marks[-1][0], 2), "limit": None},
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


def improve(part: Path) -> list[Row]:
    """Let five simulated robots at five scenes improve in one run, three at one node and two at another.

    Args:
        part: Folder of the fleet's file and the preset.
    """
    from soar.episodes.store import EpisodeStore
    from soar.event_log import read_journal
    from soar.fleet.config import load_fleet

    file, preset = part / "five_scenes.yaml", part / "five_scenes_preset.yaml"
    joining = [name for name, robot in load_fleet(file).robots.items() if robot.at == "join"]
    os.environ["SOAR_TOKEN"] = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        run, there = folder / "run", folder / "node"
        there.mkdir()
        words = ["--fleet", str(file), "--preset", str(preset), "--evaluate", "off", "--host", "127.0.0.2", "--run", str(run)]
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
                    [*SOAR, "join", url, "--robot", name, "--spool", str(there / "spool")],
                    env=os.environ | {"TMPDIR": str(there)},
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
    rows: list[Row] = [
        {"metric": "five scenes, two nodes: minutes of the whole run", "ours": round(minutes, 1), "limit": None},
        {"metric": "the same: scenes at which a promotion was tried", "ours": len({event["canary"] for event in tried}),
         "limit": len(SCENES)},
        {"metric": "the same: candidates tried, promoted", "limit": None,
         "ours": f"{len(tried)}, {sum(event['done'] == 'promoted' for event in decided)}"},
    ]  # fmt: skip
    first = records[0].provenance.policy
    for scene in sorted({record.scene for record in records}):
        mine = [record for record in records if record.scene == scene]
        parts = [[r for r in mine if (r.provenance.policy == first) is base] for base in (True, False)]
        said = [f"{sum(r.simulator_success is True for r in part)}/{len(part)}" for part in parts]
        rows.append(
            {"metric": f"the same, {scene}: true successes with the first policy, with candidates", "ours": ", ".join(said),
             "limit": None}
        )  # fmt: skip
    return rows


def paper(path: Path) -> list[Row]:
    """Say what the measured figures mean for 2,000 robots: shares add up, since each beat and each episode costs the same."""
    rows = {str(row["metric"]): row["ours"] for row in read_results(path)["rows"]}

    def find(pattern: str) -> float:
        return next(float(value) for name, value in rows.items() if re.search(pattern, name) and value is not None)

    share, stored = find("share of a core"), find("episodes a second")
    cpu_ms = find("CPU of the coordinator an episode \\[ms\\]")
    an_hour = 120.0
    writing = 2000 * an_hour / 3600
    return [
        {"metric": "2,000 robots: beats and episodes, in cores (ten times those of 200)", "ours": round(10 * share, 1),
         "limit": None},
        {"metric": f"2,000 robots, {an_hour:g} episodes an hour each: episodes a second; limit: what the store takes",
         "ours": round(writing, 1), "limit": stored},
        {"metric": "the same: storing alone, in cores", "ours": round(writing * cpu_ms / 1000, 2), "limit": None},
    ]  # fmt: skip


SOAR = [sys.executable, "-m", "soar.cli", "fleet"]


@contextlib.contextmanager
def coordinator(names: list[str], *, episodes: int = 10**9, step_s: float = 0.2) -> Iterator[tuple[str, int, Path]]:
    """Run `soar fleet up` for robots that join, within; yields its address, its process and its run's folder."""
    os.environ["SOAR_TOKEN"] = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "cell.yaml").write_text(CELL % step_s)
        listed = ", ".join(f"{name}: {{workcell: cell.yaml, at: join}}" for name in names)
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
def workers(part: str, url: str, names: list[str], folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Run robots in a few processes, within; the list that it yields holds what they say at their end."""
    said: list[dict[str, Any]] = []
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", part, url, str(folder), *names[number::WORKERS]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"TMPDIR": str(folder)},
        )
        for number in range(WORKERS)
    ]
    try:
        yield said
    finally:
        for process in processes:
            out, _ = process.communicate(b"\n")
            said.append(json.loads(out.splitlines()[-1]) if out.strip() else {"waits_s": []})


class TimedLink(Link):
    """Notes how long a robot waits for an answer."""

    waits_s: list[float]

    def counts(self, scene: str) -> Any:
        """Ask, and note it."""
        begins = time.perf_counter()
        answer = super().counts(scene)
        self.waits_s.append(time.perf_counter() - begins)
        return answer


def work(part: str, url: str, folder: Path, names: list[str]) -> None:
    """Be robots until a line comes."""
    ended = threading.Event()
    waits_s: list[float] = []

    def live(name: str) -> None:
        link = TimedLink(url, name)
        link.waits_s = waits_s
        run_member(url, name, workcell=str(folder / "cell.yaml"), spool=folder / "spool", stopping=ended.is_set, link=link)

    def deliver(name: str) -> None:
        link, spool = Link(url, name), Spool(folder / "spool" / name, 100)
        join(link)
        link.say("collecting", scene=SCENE)
        link.deliver(spool)
        number = 0
        while not ended.is_set() and not link.lost and link.orders.do != "stop":
            if len(spool.waiting()) < 4:  # as fast as the coordinator takes them
                link.counts(SCENE)
                data = pack_episodes([episode(link.about["run"], name, link.epoch, number, steps=3, side=16)])
                (spool.folder / f".{number}").write_bytes(data)
                (spool.folder / f".{number}").rename(spool.folder / f"{number + 1:012d}.episode")
                link.event("episode", success=number % 2 == 0)
                number += 1
            else:
                ended.wait(0.1)
        link.end()

    def wait() -> None:
        sys.stdin.readline()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    together(live if part == "live" else deliver, names)
    sys.stdout.write(json.dumps({"waits_s": waits_s}) + "\n")


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


def phases(url: str) -> dict[str, int]:
    """Return how many robots are in which phase."""
    robots = [robot["phase"] for robot in ask(url, "GET", "/v1/status", timeout_s=60.0)["robots"]]
    return {phase: robots.count(phase) for phase in robots}


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
    parts = ["ledger", "store", "robots", "day", "simulated", "improve", "paper"]
    parser.add_argument("parts", nargs="+", choices=parts)
    parser.add_argument("--robots", type=int, default=200, help="light ones")
    parser.add_argument("--seconds", type=float, default=60.0, help="of measuring")
    parser.add_argument("--step", type=float, default=1.0, help="of a light robot [s]")
    parser.add_argument("--episodes", type=int, default=1600, help="of the store's part")
    parser.add_argument("--day-episodes", type=int, default=20_000)
    parser.add_argument("--simulated-episodes", type=int, default=20)
    parser.add_argument("--beside", default="", help="what else the computer did meanwhile, for the table")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in ("soar", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.path.insert(0, str(ROOT))
    command = f"python benchmarks/fleet.py {' '.join(options.parts)}"
    run = {
        "ledger": lambda: ledger(options.robots, min(options.seconds, 10.0)),
        "store": lambda: store(16, options.episodes),
        "robots": lambda: robots(options.robots, options.seconds, options.step),
        "day": lambda: day(options.robots, options.day_episodes),
        "simulated": lambda: simulated(5, options.simulated_episodes),
        "improve": lambda: improve(Path(__file__).parent),
        "paper": lambda: paper(options.out),
    }
    for part in options.parts:
        write(options.out, command, [row | {"beside": options.beside} for row in run[part]()])


def write(path: Path, command: str, rows: list[Row]) -> None:
    """Write rows into the results, in the place of those of the same name."""
    new = {row["metric"] for row in rows}
    kept = [row for row in read_results(path)["rows"] if row["metric"] not in new] if path.exists() else []
    for row in rows:
        logging.info("%s", row)
    write_results(path, command, [*kept, *rows])


if __name__ == "__main__":
    main()
