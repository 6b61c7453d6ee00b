"""Demonstrations by the scripted expert, in several processes; what was recorded already is not recorded again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from soar.configuration import load
from soar.episodes.store import EpisodeStore
from soar.fleet.processes import run_workers
from soar.pretraining.demonstrations import finished_file, record_world
from soar.pretraining.worlds import DemonstrationConfig, draw_world
from soar.sim.scene import load_scene
from soar.sim.world import World


def record(
    kind: str,
    folder: Path,
    *,
    worlds: int,
    seed: int,
    workers: int,
    scene: str = "",
    student: tuple[str, str] | None = None,
    on_world: Callable[[int, int], None] | None = None,
) -> Path:
    """Record all demonstrations of worlds 0 to `worlds` - 1.

    Args:
        kind: Name of a configuration under `configs/demonstrations`, or path of a YAML file.
        folder: Gets `episodes` (the store) and `worlds` (one file a finished world, with the answers if the kind has any).
        worlds: How many.
        seed: Of the worlds.
        workers: Processes.
        scene: Name of the scene, or path of its YAML file, for a kind that is recorded in a scene instead of random worlds.
        student: Names of a policy and of a subgoal model whose attempts are corrected (`soar.pretraining.expert_corrections`).
        on_world: Called with (worlds done, worlds in all).

    Returns:
        The folder of the store.

    Raises:
        RenderingError: Nothing can be drawn here.
        SoarError: The folder cannot be written.
    """
    config = load(DemonstrationConfig, "demonstrations", kind)
    missing = [index for index in range(worlds) if not finished_file(folder, seed, index).exists()]
    if on_world is not None:
        on_world(worlds - len(missing), worlds)
    if not missing:
        return folder / "episodes"
    world = World(load_scene(scene) if scene else draw_world(config, seed, missing[0]), image_size=config.image_size)
    try:
        world.render()
    finally:
        world.close()
    EpisodeStore(folder / "episodes", mode="open_or_create")
    attempts = dict.fromkeys(missing, 0)

    def receive(index: int, _report: dict[str, Any]) -> None:
        attempts[missing[index]] += 1
        finished = sum(count >= config.per_world + config.corrections for count in attempts.values())
        if on_world is not None:
            on_world(worlds - len(missing) + finished, worlds)

    item = {"config": kind, "scene": scene, "folder": str(folder), "seed": seed, "student": student}
    items = [item | {"index": index} for index in missing]
    run_workers(record_world, items, workers=workers, on_report=receive)
    return folder / "episodes"


def looks_and_objects(kind: str, *, worlds: int, seed: int) -> dict[str, list[str]]:
    """Return the names of all `tables` and `objects` that the worlds of a recording show."""
    config = load(DemonstrationConfig, "demonstrations", kind)
    scenes = [draw_world(config, seed, index) for index in range(worlds)]
    return {
        "tables": sorted({scene.appearance.table for scene in scenes}),
        "objects": sorted({name for scene in scenes for name in scene.objects}),
    }
