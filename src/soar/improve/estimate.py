"""What a run would take, before it begins: robot time, questions to the vision-language model, disk.

Everything is counted from the configuration, at most: an attempt may end early. Only the size of a picture is measured, on one
that the camera gives now. How long training takes nobody knows before it has begun; nothing is said about it but its size.
"""

from __future__ import annotations

from pathlib import Path

from soar.collect.estimate import attempt_cost
from soar.episodes import jpeg
from soar.fleet.config import load_fleet
from soar.improve.config import ImproveConfig
from soar.robots.workcell import load_workcell


def estimate(config: ImproveConfig) -> list[tuple[str, str]]:
    """Return what a run takes at most, in words: name and value. Looks through the camera once; nothing moves.

    Raises:
        ConfigError, RobotFault: The workcell cannot be opened, or shows nothing.
    """
    cell, preset = load_workcell(config.workcell), config.preset
    improvement, collection = preset.improvement, preset.improvement.collection
    questions = Path(collection.proposal.questions) if collection.proposal.questions else None
    with cell.open(image_size=preset.image_size if cell.simulated else None, questions=questions) as workcell:
        picture_bytes = len(jpeg.encode(workcell.robot.observe().image_HWC))
        cost, tasks = attempt_cost(collection, workcell.scene), workcell.scene.tasks
    rollout = collection.rollout
    attempts = improvement.rounds * collection.episodes
    evaluations = {"off": 0, "person": 2 * improvement.rounds}.get(config.evaluate, improvement.rounds + 1)
    trials = evaluations * improvement.trials * len(tasks)
    robots = collection.robots if cell.simulated else 1
    if config.fleet is not None:
        robots = len(load_fleet(config.fleet).robots)
    hours, trial_hours = attempts * cost.hours, trials * cost.hours
    judged = trials * (cost.looks + cost.judged * (config.evaluate == "vlm"))
    disk_mb = attempts * (cost.steps + 1 + rollout.subgoals) * picture_bytes / 1e6
    return [
        ("attempts", f"{attempts} ({improvement.rounds} x {collection.episodes}) by {robots} robot{'s' * (robots != 1)}"),
        ("robots in motion", f"{hours:.1f} h of attempts, {trial_hours:.1f} h of {trials} trials"),
        (
            "by the clock",
            "a simulated robot is not bound to real time: the progress bars say it once the run has begun"
            if cell.simulated
            else f"{hours / robots + trial_hours:.1f} h, ways home and training not counted",
        ),
        (
            "questions to the VLM",
            f"{attempts * cost.questions + judged} ({cost.asked} what is feasible, {cost.looks} on the way and {cost.judged} "
            f"at the end of each attempt{f'; {judged} in trials' if judged else ''})",
        ),
        ("subgoal images", f"{attempts * rollout.subgoals + trials * rollout.subgoals}, more where a robot backs off"),
        ("disk", f"{disk_mb:.0f} MB of episodes ({picture_bytes / 1000:.1f} kB a picture), beside policies and films"),
        (
            "training",
            f"{improvement.rounds} x {improvement.policy.fit.steps} steps of {improvement.policy.fit.batch_size}",
        ),
    ]
