"""Scenes from YAML: what stands on the table and what may be practised there. `soar.sim.mjcf` draws them."""

from __future__ import annotations

from dataclasses import dataclass, field

from soar.configuration import validate
from soar.errors import ConfigError
from soar.instruction_grammar import task_from_instruction
from soar.scenes import SceneFile, read_scene
from soar.sim.appearance import Appearance
from soar.sim.catalogue import find_object, find_table
from soar.types import Task, WorkspaceBox

BARRIER_LOW = (0.165, -0.165)
BARRIER_HIGH = (0.395, 0.165)
"""x and y [m] of the plexiglass."""
DRAWER_TRAVEL_M = 0.09
DRAWER_POSITION = (0.28, -0.105)
KNOB_HEIGHT_M = 0.074
BOWL_FLOOR_M = 0.004


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneConfig:
    """A scene that can be drawn: what stands on the table, and how it looks. What may be practised there is in anybody's words.

    Raises:
        ConfigError: An object or a table is unknown, there is no object, or a cloth is not alone.
    """

    name: str
    objects: tuple[str, ...]
    tasks: tuple[str, ...]
    workspace: WorkspaceBox = field(default_factory=lambda: WorkspaceBox(low=(0.14, -0.18, 0.008), high=(0.40, 0.18, 0.20)))
    appearance: Appearance = field(default_factory=Appearance)

    def __post_init__(self) -> None:
        where = f"scene {self.name!r}"
        for name in self.objects:
            find_object(name, where)
        find_table(self.appearance.table, where)
        cloths = [name for name in self.objects if find_object(name, where).is_cloth]
        if cloths and len(self.objects) > 1:
            raise ConfigError(f"{where}: {cloths[0]!r} needs the table to itself; remove the other objects or the cloth")

    def parsed_tasks(self) -> tuple[Task, ...]:
        """Return the tasks with their questions, by the paper's patterns."""
        return tuple(task_from_instruction(text) for text in self.tasks)


def load_scene(name: str) -> SceneConfig:
    """Load a scene by name (`scene1` … `scene10`) or by the path of a YAML file.

    Raises:
        UnknownNameError: There is no such scene, or a key in its file is unknown.
        ConfigError: It cannot be drawn, or a task has no question.
    """
    scene = read_scene(name)
    drawn = drawable(scene)
    scene.scene()
    return drawn


def drawable(scene: SceneFile) -> SceneConfig:
    """Return what MuJoCo needs to draw a scene.

    Raises:
        ConfigError: It cannot be drawn.
    """
    if not scene.objects:
        raise ConfigError(f"{scene.where}: objects: the simulator needs to know what stands on the table")
    box = {} if scene.workspace is None else {"workspace": scene.workspace}
    appearance = validate(Appearance, scene.appearance, f"{scene.where}: appearance")
    return SceneConfig(name=scene.name, objects=scene.objects, tasks=scene.instructions, appearance=appearance, **box)


def body_name(object_name: str) -> str:
    """Return the name of an object's body in the model."""
    return object_name.replace(" ", "_")
