"""Does the first subgoal go to the named thing? The simulator's own subgoals are the measure.

    python benchmarks/first_subgoals.py --work WORK --out results/first_subgoals.json

From starts that are not those of any other evaluation, in the scenes in which several things can be taken, the subgoal that the
model imagines for a task is compared with those that the simulator imagines for the same picture, one a thing:

    picture    of these, that of the named thing is the nearest one
    hand       of the things, a policy that follows the model's subgoal for 20 steps comes nearest to the named one
    limit      the same of a policy that follows the simulator's

A scene that is finished stays in WORK. With `--model` another model than the one that ships.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soar.base_models import default_weights
from soar.evaluation.results import write_results
from soar.evaluation.statistics import Rate
from soar.files import write_json
from soar.instruction_grammar import parse_instruction, task_from_instruction
from soar.policies.base import Policy
from soar.policies.loading import load_policy
from soar.seeding import derive_seed
from soar.sim.ground_truth import is_contained, reset_for
from soar.sim.scene import load_scene
from soar.sim.scripted.expert import imagine
from soar.sim.world import World
from soar.subgoals.base import SubgoalModel
from soar.subgoals.loading import load_subgoal_model
from soar.types import SUBGOAL_STEPS, Image, Observation

COMMAND = "python benchmarks/first_subgoals.py --work WORK --out results/first_subgoals.json"
SCENES = ("unshifted", "scene1", "scene3", "scene4", "scene7", "scene8", "scene9")
SEED = 77
CHANGED = 24
"""Grey levels by which a pixel of the simulator's subgoals differs from the observation, to count."""
KEYS = ("hand", "picture", "hand_oracle")
Row = dict[str, Any]


def measure(scene: str, model: SubgoalModel, policy: Policy, starts: int) -> list[Row]:
    """Return a row for each start in a scene: what was named, and where picture and hand went."""
    world = World(load_scene(scene), image_size=64)
    rows = []
    try:
        for task in world.config.tasks:
            for start in range(starts):
                seed = derive_seed(SEED, f"grounding {scene} {task}", start)
                reset_for(world, task, seed % 2**31)
                rows.append({"scene": scene, "task": task, "k": start, **_row(world, task, model, policy, seed % 2**31)})
    finally:
        world.close()
    return rows


def _row(world: World, task: str, model: SubgoalModel, policy: Policy, seed: int) -> Row:
    named, image = parse_instruction(task).object, world.render()
    true = {name: imagine(world, task if name == named else _task(world, name), 5)[0] for name in world.graspable}
    made = model.generate([image], [task_from_instruction(task).instruction], [seed])[0]
    changed = np.any([np.abs(picture.astype(int) - image).max(-1) > CHANGED for picture in true.values()], axis=0)
    error = {name: float(np.abs(picture.astype(int) - made)[changed].mean()) for name, picture in true.items()}
    before = world.snapshot()
    hand = _followed(world, made, policy)
    world.restore(before)
    limit = _followed(world, true[named], policy)
    return {"named": named, "picture": min(error, key=lambda name: error[name]), "hand": hand, "hand_oracle": limit}


def _task(world: World, name: str) -> str:
    """Return a task by which a thing is taken first of all."""
    container = world.containers[0]
    if is_contained(world, name, container):
        return f"remove the {name} from the {container} and put it on the table"
    return f"put the {name} {'on' if world.specs[container].shape == 'plate' else 'in'} the {container}"


def _followed(world: World, goal: Image, policy: Policy) -> str:
    """Return the thing that the gripper comes nearest to while the policy reaches for a subgoal."""
    places = {name: world.object_position(name).copy() for name in world.graspable}
    nearest = dict.fromkeys(places, np.inf)
    policy.reset()
    for _ in range(SUBGOAL_STEPS):
        for name, place in places.items():
            nearest[name] = min(nearest[name], float(np.linalg.norm(world.grip_position - place)))
        seen = Observation(image_HWC=world.render(), state=world.proprioception())
        world.step(np.asarray(policy.act([seen], [goal])[0]))
    return min(nearest, key=lambda name: nearest[name])


def summary(rows: Sequence[Row], scene: str) -> list[Row]:
    """Return the rows of the results file for one scene, or for `all`."""
    own = [row for row in rows if scene in ("all", row["scene"])]
    right = {key: Rate(successes=sum(row[key] == row["named"] for row in own), trials=len(own)) for key in KEYS}
    return [
        {"metric": name, "scene": scene, **_figures(right[key]), "limit": _figures(right["hand_oracle"])["rate"]}
        for key, name in (("hand", "first subgoal takes the hand to the named thing"), ("picture", "its picture is nearest"))
    ]


def _figures(rate: Rate) -> Row:
    low, high = (round(end, 3) for end in rate.interval)
    return {"successes": rate.successes, "trials": rate.trials, "rate": round(rate.value, 3), "low": low, "high": high}


def main() -> int:
    """Measure the scenes that are not finished, and write the results."""
    parser = argparse.ArgumentParser(description="Does the first subgoal go to the named thing?")
    parser.add_argument("--work", type=Path, required=True, help="folder of finished scenes")
    parser.add_argument("--out", type=Path, required=True, help="results file")
    parser.add_argument("--model", default=str(default_weights("subgoal")), help="subgoal model")
    parser.add_argument("--scenes", nargs="+", default=list(SCENES))
    parser.add_argument("--starts", type=int, default=12, help="of each task")
    options = parser.parse_args()
    model, policy = load_subgoal_model(options.model), load_policy(str(default_weights("policy")))
    rows: list[Row] = []
    for scene in options.scenes:
        path = options.work / f"{scene}.json"
        if not path.exists():
            write_json(path, {"rows": measure(scene, model, policy, options.starts)})
        rows += json.loads(path.read_text(encoding="utf-8"))["rows"]
        print(scene, json.dumps(summary(rows, scene)))
    command = COMMAND if options.scenes == list(SCENES) else f"{COMMAND} --scenes {' '.join(options.scenes)}"
    write_results(options.out, command, [row for scene in [*options.scenes, "all"] for row in summary(rows, scene)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
