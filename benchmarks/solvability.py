"""Whether the simulator's tasks can be done, and not by luck: writes `results/simulation.json`.

Every task of scenes 1 to 9 is attempted from the same seeded starts by three arms, 100 steps each, and judged from the state
at the end:

    demonstrator    the script that looks at the simulator's state; should do at least 95 %
    random motion   a smooth random walk of the gripper that opens and closes it now and then; should do less than 5 %
    nothing         holds still with an open gripper; should do nothing

    OMP_NUM_THREADS=1 python benchmarks/solvability.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from soar.evaluation.results import write_results
from soar.seeding import derive_seed, generator
from soar.sim.demonstrator import Demonstrator, Style
from soar.sim.scene import load_scene
from soar.sim.truth import reset_for, succeeded
from soar.sim.world import World
from soar.types import Action

STEPS = 100
SCENES = range(1, 10)
Actor = Callable[[], Action]


def demonstrator(world: World, task: str, rng: np.random.Generator) -> Actor:
    """Return the scripted demonstrator without noise."""
    return Demonstrator(world, task, Style(), rng).act


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


ARMS = {"demonstrator": demonstrator, "random motion": random_motion, "nothing": nothing}


def main() -> None:
    """Run every arm on every task, print one JSON line each, and write the results file at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("results/simulation.json"))
    options = parser.parse_args()
    rows = []
    for number in SCENES:
        world = World(load_scene(f"scene{number}"))
        for task in world.config.tasks:
            for arm, start in ARMS.items():
                failed = []
                for trial in range(options.trials):
                    seed = derive_seed(0, f"solvability {task}", trial) % 2**31
                    reset_for(world, task, seed)
                    act = start(world, task, generator(seed, arm))
                    for _ in range(STEPS):
                        world.step(act())
                    if not succeeded(world, task):
                        failed.append(seed)
                successes = options.trials - len(failed)
                row = {"arm": arm, "scene": number, "task": task, "successes": successes, "trials": options.trials}
                rows.append(row)
                note = {"failed_seeds": failed} if arm == "demonstrator" else {}
                print(json.dumps(row | note), flush=True)
    command = "python benchmarks/solvability.py"
    write_results(options.out, command if options.trials == 50 else f"{command} --trials {options.trials}", rows)


if __name__ == "__main__":
    main()
