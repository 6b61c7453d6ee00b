"""A night on scene 1 behind simulated WidowX servers that fail at random, and the time of a step. Writes `results/robots.json`.

Faults: SOAR's own models practise through real ZeroMQ, LZ4 and pickles, in each dialect; every kind of fault that
`soar.testing.widowx_faults` lists is injected with a chance an observation or step. What is stored is compared with what the
arm was told: episodes lost, actions executed twice or not at all, and how far the gripper was outside of its box.

Improve: the same server and faults, and `soar improve` as a command: evaluation by the model, collection, training, evaluation.

Speed: the server is a process of its own. The period is that of observe, 30 ms of thinking, act, with a server that takes 0.1
s for an action; our share of a step is the CPU time of this process for an observation and an action, all of it: of a WidowX
over that wire, of an SO-101 with joints that go where they are told at once, and pictures of 640 x 480. Kinematics: an SO-101
goes from place to place in its box; a solution is that of one tick, and an action is all of its ticks. Two minutes on a quiet
machine.

    OMP_NUM_THREADS=1 python benchmarks/robots.py speed
    OMP_NUM_THREADS=1 python benchmarks/robots.py faults
    OMP_NUM_THREADS=1 python benchmarks/robots.py improve --dialects bridge-motors
"""

from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import soar.sim.rendering  # noqa: F401  before anything imports MuJoCo

# isort: split
from soar.base_models import default_weights
from soar.collect.config import CollectionConfig
from soar.collect.models import Models
from soar.episodes.store import EpisodeStore
from soar.evaluation import read_evaluation
from soar.evaluation.results import read_results, write_results
from soar.event_log import read_journal
from soar.fleet.session import SessionConfig, run_session
from soar.improve.preset import load_preset
from soar.pretraining.recording import record
from soar.robots.lerobot.arms import ArmConfig, load_arm
from soar.robots.lerobot.kinematics import Kinematics
from soar.robots.lerobot.reach import check_reach
from soar.robots.lerobot.robot import LeRobotArm
from soar.robots.lerobot.steering import Steering
from soar.robots.registry import load_robot
from soar.robots.widowx.driver import open_widowx
from soar.robots.workcell import load_workcell, open_workcell
from soar.run_folder import RunFolder
from soar.sim.workcell import SimRobot, open_robot
from soar.testing.widowx_faults import KINDS, FaultPlan
from soar.testing.widowx_server import KEYS, WidowXServer

RESULTS = Path(__file__).resolve().parents[1] / "results" / "robots.json"
LOW, HIGH = np.array([0.16, -0.16, 0.02]), np.array([0.38, 0.16, 0.19])
HOME = (0.27, 0.0, 0.14, 0.0, 0.0, 0.0, 1.0)
THINKING_S, MOVE_S = 0.03, 0.1
_WARM_UP = 16
"""Steps before the first that counts."""
Row = dict[str, Any]


class Wire:
    """Scene 1 behind a failing WidowX server, and what the arm did; a context manager.

    Args:
        dialect: How the server speaks.
        plan: What goes wrong.
        folder: For the workcell's file.
    """

    def __init__(self, dialect: Any, plan: FaultPlan, folder: Path) -> None:
        self._arm: list[SimRobot] = []
        self.plan, self.cell, self.outside_m = plan, folder / "night.yaml", 0.0
        self.server = WidowXServer(self._make, dialect=dialect, faults=plan, late_s=4.0, told=self._told)

    def __enter__(self) -> Wire:
        self.server.__enter__()
        options = f"{{host: 127.0.0.1, port: {self.server.port}, home: {list(HOME)}, period_s: 0}}"
        box = f"{{low: {LOW.tolist()}, high: {HIGH.tolist()}}}"
        self.cell.write_text(f"robot: {{driver: widowx, options: {options}}}\nscene: scene1\nworkspace: {box}\n")
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def _make(self) -> SimRobot:
        self._arm.append(open_robot("scene1", 128))
        return self._arm[0]

    def _told(self, by_client: bool) -> None:
        if by_client:
            place = self._arm[0].world.grip_position
            self.outside_m = max(self.outside_m, float(np.maximum(LOW - place, place - HIGH).max()))

    def rows(self, whose: str, store: Path, journal: Path, episodes: int) -> list[Row]:
        """Return what became of a collection."""
        happened = sorted(Counter(self.plan.happened).items())
        records = EpisodeStore(str(store)).episodes()
        actions = [EpisodeStore(str(store)).read(record.id).actions_TD for record in records]
        differing = sum(not _executed(one, self.server.attempts) for one in actions)
        twice = len(records) - len({record.id for record in records})
        faults, recovered = len(read_journal(journal, "fault")), len(read_journal(journal, "recovered"))
        kinds = ", ".join(f"{kind} {count}" for kind, count in happened)
        rows: list[tuple[str, float, float | None]] = [
            (f"faults injected ({kinds})", len(self.plan.happened), None),
            ("attempts dropped, all of them recovered from", recovered, faults),
            ("episodes stored", len(records), episodes),
            ("episodes stored twice", twice, 0),
            ("episodes whose actions are not, once, those that were executed", differing, 0),
            ("furthest outside of the box [mm]", round(1000 * self.outside_m, 1), 5),
        ]
        return [{"metric": f"{whose}: {name}", "ours": ours, "limit": limit} for name, ours, limit in rows]


def _plan(dialect: str, chance: float, seed: int) -> FaultPlan:
    # A manipulator server always has a robot; and a bridge server without registers is silent about which are missing.
    never = {"manipulator": ("uninitialised",), "bridge": ("few_motors",)}.get(dialect, ())
    return FaultPlan(chance=chance, seed=seed, kinds=[kind for kind in KINDS if kind not in never])


def night(dialect: Any, episodes: int, chance: float, seed: int, folder: Path) -> list[Row]:
    """Collect through a failing server, and return what became of it."""
    with Wire(dialect, _plan(dialect, chance, seed), folder) as wire:
        journal, store = folder / "events.jsonl", folder / "episodes"
        models = Models(
            **{name: str(default_weights(kind)) for name, kind in (("policy",) * 2, ("subgoals", "subgoal"), ("vlm", "vqa"))}
        )
        session = SessionConfig(
            models=models,
            workcell=str(wire.cell),
            robot="night",
            image_size=None,
            store=str(store),
            journal=str(journal),
            episodes=episodes,
            run="night",
            round=0,
            seed=seed,
            config=CollectionConfig(episodes=episodes, watch_objects=False),
        )
        with open_workcell(str(wire.cell)) as workcell:
            run_session(workcell, session)
    return wire.rows(dialect, store, journal, episodes)


def loop(dialect: Any, plan: FaultPlan, episodes: int, trials: int, run: Path) -> list[Row]:
    """Run `soar improve` through a failing server: evaluate, collect, train, evaluate, decide."""
    run.parent.mkdir(parents=True, exist_ok=True)
    preset = load_preset("smoke")
    worlds, seed = preset.improvement.cotraining_worlds, preset.pretraining.demonstration_seed
    demonstrations = record("demonstrations", run.parent / "demonstrations", worlds=worlds, seed=seed, workers=1)
    with Wire(dialect, plan, run.parent) as wire:
        command = [sys.executable, "-m", "soar", "improve", "--workcell", str(wire.cell), "--run", str(run)]
        command += ["--preset", "smoke", "--episodes", str(episodes), "--trials", str(trials), "--evaluate", "vlm"]
        # Few episodes may all have failed: all of them are learned from, so that there is a candidate.
        command += ["--pretraining", str(demonstrations), "--set", "improvement.success_only=false", "improvement.threshold=0"]
        began_s = time.monotonic()
        done = subprocess.run([*command, "--seed", str(plan.seed)], stderr=subprocess.PIPE, encoding="utf-8", check=False)
        minutes = (time.monotonic() - began_s) / 60
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    folder, tasks = RunFolder(run), len(load_workcell(str(wire.cell)).scene.tasks)
    tried = [len(one.trials) + len(one.done_before) for one in map(read_evaluation, map(folder.evaluation, (0, 1)))]
    again = done.stderr.count("a trial is begun again")
    return [
        {"metric": "improve: minutes", "ours": round(minutes, 1), "limit": None},
        *wire.rows("improve", folder.episodes, folder.journal_file, episodes),
        {"metric": "improve: trials of the evaluations before and after", "ours": sum(tried), "limit": 2 * trials * tasks},
        {"metric": "improve: trials begun again after a fault", "ours": again, "limit": None},
        {"metric": "improve: candidates that were decided upon", "ours": len(folder.events("promotion")), "limit": 1},
    ]


def _executed(actions_TD: Any, attempts: list[list[Any]]) -> bool:
    """Whether an episode's actions are exactly what the arm was told between two visits at home, in one place only."""
    same = [told for told in attempts if len(told) == len(actions_TD) and np.allclose(np.stack(told), actions_TD, atol=1e-6)]
    return len(same) == 1


def speed(steps: int) -> list[Row]:
    """Return the period of control, and our share of a step."""
    rows: list[Row] = []
    for moving, name in ((1.0, "period"), (0.0, "share")):
        command = [sys.executable, "-m", "soar.cli", "robot", "simulate-widowx", "--port", "0", "--speed", str(moving)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as server:
            assert server.stdout is not None
            found = re.search(r"port (\d+)", server.stdout.readline())
            assert found
            robot = open_widowx("127.0.0.1", int(found[1]), home=HOME, move_s=MOVE_S, **({} if moving else {"period_s": 0.0}))
            try:
                robot.home()
                began, cpu = [], 0.0
                for step in range(-_WARM_UP, steps):
                    if step == 0:
                        began, cpu = [], time.process_time()
                    robot.observe()
                    if moving:
                        time.sleep(THINKING_S)
                    robot.act(np.array([0.005 * (1 if step // 8 % 2 else -1), 0, 0, 0, 0, 0, 1], np.float32))
                    began.append(time.monotonic())
                share_ms = 1000 * (time.process_time() - cpu) / steps
            finally:
                robot.close()
                server.terminate()
        if name == "share":
            rows.append({"metric": "our share of a step, CPU [ms]", "ours": round(share_ms, 2), "limit": 5})
        else:
            periods_ms = 1000 * np.diff(began)
            for quantile in (50, 99):
                value = round(float(np.percentile(periods_ms, quantile)), 1)
                rows.append({"metric": f"control period, p{quantile} [ms]", "ours": value, "limit": "190 to 210"})
    return rows


def kinematics(places: int) -> list[Row]:
    """Return how long inverse kinematics of an SO-101 take, between random places in its box."""
    arm, box = load_arm("so101", "so101_follower"), load_robot("so101").workspace
    assert box is not None
    model = Kinematics(arm.model_path(), arm.frame, list(arm.joints.values()))
    steering = Steering(arm, model, workspace=box, lag_m=0.05, lag_rad=0.5)
    angles = check_reach(steering, np.array(arm.home), box)
    solve, solved_ms, actions_ms = model.solve, [], []

    def timed(*arguments: Any) -> Any:
        began = time.perf_counter()
        solution = solve(*arguments)
        solved_ms.append(1000 * (time.perf_counter() - began))
        return solution

    model.solve = timed  # type: ignore[method-assign]
    for place in np.random.default_rng(0).uniform(box.low, box.high, (places, 3)):
        for _ in range(8):
            step = place - model.pose(angles)[0]
            action = np.array([*step * min(1.0, 0.03 / float(np.linalg.norm(step))), 0, 0, 0, 1])
            began = time.perf_counter()
            angles = steering.motion(action, angles, 1.0, MOVE_S).targets[-1].angles
            actions_ms.append(1000 * (time.perf_counter() - began))
    return [
        *(
            {"metric": f"inverse kinematics, a solution, p{q} [ms]", "ours": _percentile(solved_ms, q), "limit": 2}
            for q in (50, 99)
        ),
        {"metric": "all solutions of an action, p50 [ms]", "ours": _percentile(actions_ms, 50), "limit": None},
    ]


class Joints:
    """As much of a robot of LeRobot as a step asks for: joints that are where they were told to be, and one picture."""

    is_connected = True

    def __init__(self, arm: ArmConfig, angles: Any) -> None:
        self._seen: dict[str, Any] = {f"{motor}.pos": value for motor, value in arm.values(angles).items()}
        self._seen |= {
            f"{arm.gripper}.pos": arm.gripped(1.0),
            "front": np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8),
        }

    def get_observation(self) -> dict[str, Any]:
        """Return where the joints are, and the picture."""
        return dict(self._seen)

    def send_action(self, told: dict[str, Any]) -> dict[str, Any]:
        """Go there."""
        self._seen |= told
        return told


def lerobot_share(steps: int) -> Row:
    """Return our share of a step of an SO-101, between random places in its box; time passes when somebody sleeps."""
    arm, box = load_arm("so101", "so101_follower"), load_robot("so101").workspace
    assert box is not None
    model = Kinematics(arm.model_path(), arm.frame, list(arm.joints.values()))
    steering = Steering(arm, model, workspace=box, lag_m=0.05, lag_rad=0.5)
    angles, now_s = check_reach(steering, np.array(arm.home), box), [0.0]

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    home = np.array(arm.home), angles
    robot = LeRobotArm(
        Joints(arm, angles), arm, steering, camera="front", home=home, move_s=MOVE_S, clock=lambda: now_s[0], sleep=sleep
    )
    places = np.random.default_rng(0).uniform(box.low, box.high, (steps // 8 + 1, 3))
    cpu = time.process_time()
    for step in range(steps):
        way = places[step // 8] - robot.observe().state[:3]
        robot.act(np.array([*way * min(1.0, 0.03 / float(np.linalg.norm(way))), 0, 0, 0, 1], np.float32))
    share_ms = 1000 * (time.process_time() - cpu) / steps
    return {"metric": "our share of a step of an SO-101, CPU [ms]", "ours": round(share_ms, 2), "limit": 5}


def _percentile(values: list[float], quantile: int) -> float:
    return round(float(np.percentile(values, quantile)), 2)


def main() -> None:
    """Run the parts that are named; rows of the others stay as they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=["faults", "improve", "speed"])
    parser.add_argument("--episodes", type=int, default=20, help="of each dialect, or of the loop")
    parser.add_argument("--trials", type=int, default=2, help="of each task, in each evaluation of the loop")
    parser.add_argument("--run", type=Path, help="folder of the loop's run")
    parser.add_argument("--chance", type=float, default=0.003, help="of a fault an observation or step")
    parser.add_argument("--dialects", nargs="+", choices=sorted(KEYS), default=sorted(KEYS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("soar").setLevel(logging.WARNING)
    for dialect in options.dialects if "faults" in options.parts else ():
        seed = options.seed + sorted(KEYS).index(dialect)
        flags = f"faults --dialects {dialect} --episodes {options.episodes} --chance {options.chance:g} --seed {options.seed}"
        with tempfile.TemporaryDirectory() as folder:
            write(options.out, flags, night(dialect, options.episodes, options.chance, seed, Path(folder)))
    if "improve" in options.parts:
        flags = f"improve --dialects {options.dialects[0]} --episodes {options.episodes} --trials {options.trials}"
        with tempfile.TemporaryDirectory() as folder:
            run = options.run or Path(folder) / "run"
            plan = _plan(options.dialects[0], options.chance, options.seed)
            rows = loop(options.dialects[0], plan, options.episodes, options.trials, run)
        write(options.out, f"{flags} --chance {options.chance:g} --seed {options.seed}", rows)
    if "speed" in options.parts:
        write(
            options.out,
            f"speed --steps {options.steps}",
            [*speed(options.steps), lerobot_share(options.steps), *kinematics(100)],
        )


def write(path: Path, flags: str, rows: list[Row]) -> None:
    """Write rows into the results, in the place of those of the same name, and the command beside those of the others."""
    new = {_name(row) for row in rows}
    before = read_results(path) if path.exists() else {"rows": [], "command": ""}
    for row in rows:
        logging.info("%s", row)
    program = "python benchmarks/robots.py "
    made = flags.partition(" --episodes")[0].partition(" --steps")[0]  # the part, and the dialect
    commands = [old for old in before["command"].split("; ") if old and not f"{old} ".startswith(f"{program}{made} ")]
    write_results(path, "; ".join([*commands, program + flags]), [*(r for r in before["rows"] if _name(r) not in new), *rows])


def _name(row: Row) -> str:
    return str(row["metric"]).partition(" (")[0]


if __name__ == "__main__":
    main()
