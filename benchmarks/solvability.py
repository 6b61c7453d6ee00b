"""Whether the simulator's tasks can be done, and not by luck: writes `results/simulation.json`.

Every task of scenes 1 to 10 is attempted from the same seeded starts by three variants, 100 steps each, and judged from the
state at the end:

    demonstrator    the script that looks at the simulator's state; should do at least 95 %. It stops when the task has been
                    done for 12 steps.
    random motion   a smooth random walk of the gripper that opens and closes it now and then; should do less than 5 %
    nothing         holds still with an open gripper; should do nothing

A fourth, `demonstrator, used table`, begins where things lie as practice leaves them (`soar.sim.placement`), and should do
95 %, too.

    OMP_NUM_THREADS=1 python benchmarks/solvability.py --workers 2

About half an hour on two free cores. What is finished is in the results file at once, and is kept in `--progress`: the same
command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from soar.evaluation.results import write_results
from soar.seeding import derive_seed, generator
from soar.sim.ground_truth import reset_for, succeeded
from soar.sim.scene import load_scene
from soar.sim.scripted.expert import ScriptedExpert
from soar.sim.scripted.style import Style
from soar.sim.world import World
from soar.types import Action

STEPS, REST_STEPS = 100, 12
SCENES = range(1, 11)
Actor = Callable[[], Action]
Item = tuple[int, str, str]
"""Number of the scene, task, variant."""


def demonstrator(world: World, task: str, rng: np.random.Generator) -> Actor:
    """Return the scripted demonstrator without noise."""
    return ScriptedExpert(world, task, Style(), rng).act


def random_motion(world: World, task: str, rng: np.random.Generator) -> Actor:
    """Return a walk whose velocity is remembered by 0.8 a step, and whose gripper toggles every 14 steps on average."""
    velocity, gripper = np.zeros(3), 1.0

    def act() -> Action:
        nonlocal velocity, gripper
        velocity = 0.8 * velocity + rng.normal(0, 0.008, 3)
        if rng.random() < 0.07:
            gripper = 1.0 - gripper
        return np.array([*velocity, 0, 0, rng.normal(0, 0.05), gripper], np.float32)

    return act


def nothing(world: World, task: str, rng: np.random.Generator) -> Actor:
    """Return stillness."""
    return lambda: np.array([0, 0, 0, 0, 0, 0, 1], np.float32)


USED = "demonstrator, used table"
VARIANTS = {"demonstrator": demonstrator, "random motion": random_motion, "nothing": nothing, USED: demonstrator}


def attempt(item: Item, trials: int) -> dict[str, Any]:
    """Return the row of one scene, task and variant, and the seeds of the trials that failed."""
    number, task, variant = item
    world = World(load_scene(f"scene{number}"))
    failed = []
    for trial in range(trials):
        seed = derive_seed(0, f"solvability {task}", trial) % 2**31
        reset_for(world, task, seed, used=variant == USED)
        act = VARIANTS[variant](world, task, generator(seed, variant))
        rest = 0
        for _ in range(STEPS):
            world.step(act())
            rest = rest + 1 if VARIANTS[variant] is demonstrator and succeeded(world, task) else 0
            if rest == REST_STEPS:
                break
        if not succeeded(world, task):
            failed.append(seed)
    row = {"variant": variant, "scene": number, "task": task, "successes": trials - len(failed), "trials": trials}
    return row | ({"failed_seeds": failed} if VARIANTS[variant] is demonstrator else {})


def main() -> None:
    """Run every variant on every task, print one JSON line each, and write the results file at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scenes", type=int, nargs="+", default=list(SCENES))
    parser.add_argument("--progress", type=Path, default=Path("runs/solvability.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("results/simulation.json"))
    options = parser.parse_args()
    options.progress.parent.mkdir(parents=True, exist_ok=True)
    lines = options.progress.read_text().splitlines() if options.progress.exists() else []
    rows: dict[Item, dict[str, Any]] = {
        (row["scene"], row["task"], row["variant"]): row for row in map(json.loads, lines) if row["trials"] == options.trials
    }
    tasks = [(number, task) for number in options.scenes for task in load_scene(f"scene{number}").tasks]
    # The cloth takes longest, so it comes first.
    items = [(number, task, variant) for variant in VARIANTS for number, task in reversed(tasks)]
    command = "python benchmarks/solvability.py" + (f" --trials {options.trials}" if options.trials != 50 else "")
    kept = ("variant", "scene", "task", "successes", "trials")

    def write() -> None:
        done = [rows[item] for number, task in tasks for variant in VARIANTS if (item := (number, task, variant)) in rows]
        write_results(options.out, command, [{key: row[key] for key in kept} for row in done])

    with (
        options.progress.open("a") as log,
        ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool,
    ):
        futures = {pool.submit(attempt, item, options.trials): item for item in items if item not in rows}
        for future in as_completed(futures):
            rows[futures[future]] = future.result()
            log.write(json.dumps(future.result()) + "\n")
            log.flush()
            print(json.dumps(future.result()), flush=True)
            write()
    write()


if __name__ == "__main__":
    main()
