"""Kills that land while an episode is being stored: a command that collects, and what is there after it was killed.

A command runs in a session of its own, in the example of a robot of one's own with episodes of four steps. Whoever kills it
watches the files of the store: a new file of steps without the line of the journal that acknowledges its episode is an episode
that is being stored. Only kills that land there are counted.

Commands come from a server that has imported what they need and has never used Lance, so that a kill takes a few seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

import numpy as np

from soar.episodes import EpisodeStore
from soar.episodes.integrity import examine
from soar.event_log import read_journal
from soar.seeding import generator

from .tally import Tally

Command = Literal["collect", "improve"]
How = Literal["parent", "worker", "group", "stopped"]
WAYS: tuple[tuple[How, int], ...] = (("group", 0), ("stopped", 0), ("group", 0), ("parent", 2), ("group", 0), ("worker", 2))
"""How a command is killed in turn, and with how many workers; 0 takes the least time."""
EXAMPLE = Path(__file__).parents[2] / "examples" / "own_robot"
PRELOAD = ["soar.cli.run", "soar.fleet.collection", "soar.episodes", "soar.fleet.session"]
LEARNING = [*PRELOAD, "soar.improve.loop", "soar.policies.learned", "soar.base_models"]
GONE_S = 600.0
"""So long the processes of a command that was killed may take to leave, on a machine that is busy with other things."""
_SPREAD_S = 0.01
"""A kill comes at most so long after the file that it waited for."""


@dataclass
class Lab:
    """A folder with an arm, models, and runs.

    Attributes:
        folder: Made by `make_lab`.
        command: What collects.
        workers: Of simulated robots; 0 for a real arm, which the command moves itself.
        acknowledged: Ids of which a journal says that they are stored.
        landed: Kills while an episode was being stored.
    """

    folder: Path
    command: Command
    workers: int = 0
    acknowledged: set[str] = field(default_factory=set)
    landed: int = 0

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / f"{self.command}-{self.workers}"

    @property
    def store(self) -> Path:
        """Its episodes."""
        return self.run / "episodes"

    def words(self, episodes: int = 100_000) -> list[str]:
        """The command."""
        workcell = f"{'simulated' if self.workers else 'workcell'}.yaml"
        short = ["--improvement.collection.rollout.subgoals", "1", "--improvement.collection.rollout.steps_per_subgoal", "4"]
        models = ["--vlm", "models:Eye", "--subgoals", "models:Imagination"]
        words = ["--workcell", workcell, "--run", str(self.run), "--episodes", str(episodes), *models, *short]
        if self.workers:
            words += ["--workers", str(self.workers), "--robots", str(self.workers)]
        if self.command == "collect":
            return ["collect", *words, "--policy", "models:Play"]
        return ["improve", *words, "--pretraining", str(self.folder / "play" / "episodes"), "--evaluate", "off"]

    def acks(self) -> set[str]:
        """Ids that the journal acknowledges now."""
        return {event["id"] for event in read_journal(self.run / "events.jsonl", "episode")}

    def files(self) -> int:
        """How many appends have written steps."""
        return _count(self.store / "steps.lance" / "data")

    def unacknowledged(self) -> int:
        """How many appends have written steps of which no journal says that they are stored."""
        return self.files() - len(self.acks())


def make_lab(folder: Path, command: Command, workers: int = 0) -> Lab:
    """Copy the example into a folder, once."""
    if not folder.exists():
        shutil.copytree(EXAMPLE, folder)
        text = (folder / "workcell.yaml").read_text(encoding="utf-8")
        driver = "  driver: arm:Arm"
        (folder / "simulated.yaml").write_text(text.replace(driver, f"  simulated: true\n{driver}"), encoding="utf-8")
    lab = Lab(folder, command, workers)
    if command == "improve" and not (folder / "play").exists():
        play = Lab(folder, "collect")
        process = start(lab, [*play.words(4), "--run", str(folder / "play")])
        process.join()
        if process.exitcode:
            raise RuntimeError((folder / "said.txt").read_text(encoding="utf-8"))
    return lab


def start(lab: Lab, words: list[str], said: str = "said.txt") -> BaseProcess:
    """Start a command in a session of its own; what it says goes into a file of the lab."""
    context = get_context("forkserver")
    context.set_forkserver_preload(LEARNING)
    process = context.Process(target=_command, args=(str(lab.folder), words, said))
    process.start()
    return process


def _command(folder: str, words: list[str], said: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where the soak runs in a shell's background
    os.setsid()
    os.chdir(folder)
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for number in (1, 2):
        os.dup2(output, number)
    sys.argv = ["soar", *words]
    sys.path.insert(0, folder)
    from soar.cli import main

    sys.exit(main(words))


def kill_while_storing(lab: Lab, how: How, number: int, seed: int = 0) -> Tally:
    """Start the command, kill it while it stores an episode, and look at what is there; count 1 if the kill landed there."""
    rng = generator(seed, f"{lab.command}, {how}", number)
    tally = Tally(what=f"kills while storing, {lab.command}: {how}")
    before = lab.unacknowledged()
    process = start(lab, lab.words())
    assert process.pid is not None
    try:
        if not _wait_for_storing(lab, process, wait=int(rng.integers(1, 4))):
            raise RuntimeError(f"the command ended by itself: {(lab.folder / 'said.txt').read_text()[-2000:]}")
        time.sleep(rng.uniform(0, _SPREAD_S))
        members = session_of(process.pid)
        if how == "worker":
            victims = [pid for pid in members if pid != process.pid and _is_worker(pid)]
            os.kill(int(rng.choice(victims)), signal.SIGKILL)
            storing = lab.unacknowledged() > before
            _wait_for_storing(lab, process, wait=lab.workers + 1)  # it goes on with another worker
            os.killpg(process.pid, signal.SIGKILL)
        elif how == "stopped":
            os.killpg(process.pid, signal.SIGSTOP)
            storing = lab.unacknowledged() > before
            tally.unclear += not _is_told_who_works_there(lab)
            os.killpg(process.pid, signal.SIGCONT)
            _wait_for_storing(lab, process, wait=1)
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid, signal.SIGKILL) if how == "parent" else os.killpg(process.pid, signal.SIGKILL)
            storing = lab.unacknowledged() > before
    finally:
        process.kill()
        process.join()
        left = _left(process.pid)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    tally.count = int(storing)
    lab.landed += storing
    tally.orphans += len(left)
    tally.add(look(lab))
    return tally


def look(lab: Lab, *, frames: bool = False) -> Tally:
    """Compare what is in the store with what was acknowledged."""
    tally = Tally(what="")
    lab.acknowledged |= lab.acks()
    kinds = Counter(finding.kind for finding in examine(str(lab.store), check_frames=frames))
    store = EpisodeStore(lab.store)
    ids = [record.id for record in store.episodes()]
    tally.lost = len(lab.acknowledged - set(ids))
    tally.doubled = len(ids) - len(set(ids)) + kinds.pop("duplicate id", 0)
    kinds.pop("orphaned steps", 0)  # of episodes that nobody was told to be there
    tally.half = sum(kinds.values())
    if ids:
        rows = store.rows(np.arange(store.row_count)[-200:])
        tally.half += int(not np.isfinite(rows.states_ND).all())
    return tally


def session_of(pid: int) -> list[int]:
    """Return the processes of the session that a command leads."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == pid and state not in "ZX":
                    found.append(int(entry.name))
    return found


def _is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _left(session: int) -> list[int]:
    """Wait until the processes of a session are gone, and return those that are not."""
    deadline_s = time.monotonic() + GONE_S
    while (left := session_of(session)) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return left


def _wait_for_storing(lab: Lab, process: BaseProcess, wait: int) -> bool:
    """Wait until so many more appends have written steps; False when the command ended before."""
    before = lab.files()
    while lab.files() < before + wait:
        if process.exitcode is not None:
            return False
        time.sleep(0.0005)
    return True


def _is_told_who_works_there(lab: Lab) -> bool:
    """Whether a second command on the same run ends at once, with one line that names the first."""
    second = start(lab, lab.words(), said="second.txt")
    second.join(GONE_S)
    if second.exitcode is None:
        second.kill()
    said = (lab.folder / "second.txt").read_text(encoding="utf-8")
    return second.exitcode == 2 and "is in use by process" in said and "Traceback" not in said


def _count(folder: Path) -> int:
    try:
        return len(os.listdir(folder))
    except FileNotFoundError:
        return 0


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """Mount a file system in memory of so many MB; yields whether that is allowed here."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = os.system(f"mount -t tmpfs -o size={megabytes}m tmpfs '{folder}' 2>/dev/null") == 0
    try:
        yield mounted
    finally:
        if mounted:
            os.system(f"umount -l '{folder}'")


def fill_the_disk(lab: Lab, place: Path) -> Tally:
    """Collect onto a disk that gets full, until the command ends by itself; then give it room, and let it go on."""
    tally = Tally(what="full disk (tmpfs of 3 MB), collect", count=1)
    lab.folder.mkdir(parents=True, exist_ok=True)
    words = lab.words()
    words[words.index("--run") + 1] = str(place / "run")
    process = start(lab, words)
    process.join()
    said = (lab.folder / "said.txt").read_text(encoding="utf-8")
    tally.unclear += not (process.exitcode == 2 and "No space left" in said and "Traceback" not in said)
    os.system(f"mount -o remount,size=64m '{place}'")
    there = Lab(place, "collect")
    shutil.move(place / "run", there.run)
    (there.run / ".lock").touch()
    seen = look(there, frames=True)
    tally.add(seen)
    goal = EpisodeStore(there.store).count() + 2
    words[words.index("--run") + 1] = str(place / "run")
    shutil.move(there.run, place / "run")
    words[words.index("--episodes") + 1] = str(goal)
    process = start(lab, words)
    process.join()
    tally.unclear += process.exitcode != 0 or EpisodeStore(place / "run" / "episodes").count() != goal
    return tally


def kills(folder: Path, command: Command, count: int, seed: int = 0, ways: Sequence[tuple[How, int]] = WAYS) -> list[Tally]:
    """Kill a command in turn in all ways until so many kills landed while it stored; return a row a way."""
    rows: dict[str, Tally] = {}
    labs = {workers: make_lab(folder / f"{command}-{workers}", command, workers) for _, workers in ways}
    number = landed = 0
    while landed < count:
        how, workers = ways[number % len(ways)]
        tally = kill_while_storing(labs[workers], how, number, seed)
        rows.setdefault(tally.what, Tally(what=tally.what)).add(tally)
        landed, number = landed + tally.count, number + 1
        if number > 20 * count:
            raise RuntimeError(f"{number} kills, of which {landed} landed while an episode was stored")
    return list(rows.values())


def soak(folder: Path, scale: float, seed: int) -> Iterator[Tally]:
    """Do all of it, at a scale of 1 for 100 kills of each command."""
    for command in ("collect", "improve"):
        yield from kills(folder, command, round(100 * scale), seed)
    with small_disk(folder / "small", 3) as mounted:
        if mounted:
            yield fill_the_disk(make_lab(folder / "full", "collect"), folder / "small")
