"""What a fleet's run would take, before it begins; nothing is opened but the models."""

from __future__ import annotations

from soar.base_models import named
from soar.collect.estimate import attempt_cost
from soar.collect.models import Models, check_models
from soar.collect.preset import load_collection
from soar.fleet.config import FleetConfig
from soar.robots.workcell import load_workcell
from soar.types import STEP_S


def estimate(config: FleetConfig) -> list[tuple[str, str]]:
    """Return what a run takes at most, in words: name and value.

    What robots that join have in front of them, their own computers know; they are counted as the others are.

    Raises:
        ConfigError: The preset or a workcell is invalid.
        CheckpointError: A model cannot be loaded.
    """
    collection = load_collection(config.preset, config.set).improvement.collection
    said = config.models
    check_models(
        Models(policy=named(said.policy, "policy"), subgoals=named(said.subgoals, "subgoal"), vlm=named(said.vlm, "vqa"))
    )
    here = {name: load_workcell(robot.workcell) for name, robot in config.robots.items() if robot.at == "here"}
    scenes = [cell.scene.scene() for cell in here.values()]
    costs = [attempt_cost(collection, scene) for scene in scenes]
    robots, joining = len(config.robots), [name for name in config.robots if name not in here]
    rows = [("robots", ", ".join(f"{name} in {scene.name}" for name, scene in zip(here, scenes, strict=True)))] if here else []
    if joining:
        rows.append(("robots that join", ", ".join(joining)))
    steps = collection.rollout.steps
    hours = config.episodes * steps * STEP_S / 3600
    rows.append(("attempts", f"{config.episodes}, some {config.episodes / robots:.0f} a robot"))
    rows.append(("robots in motion", f"{hours:.1f} h, {hours / robots:.1f} h by the clock where robots are real"))
    if costs:
        most = max(cost.questions for cost in costs)
        rows.append(("questions to the VLM", f"{config.episodes * most} ({most} an attempt)"))
    return rows
