"""Scenes from YAML: what stands on the table and what may be practised there. `soar.sim.mjcf` draws them."""

from __future__ import annotations

from dataclasses import dataclass, field

from soar.configuration import find, read_yaml, validate
from soar.errors import ConfigError
from soar.instruction_grammar import task_from_instruction
from soar.sim.appearance import Look
from soar.sim.catalogue import find_object, find_table
from soar.types import Scene, Task, WorkspaceBox

BARRIER_LOW = (0.165, -0.165)
BARRIER_HIGH = (0.395, 0.165)
"""x and y [m] of the plexiglass."""
DRAWER_TRAVEL_M = 0.09
DRAWER_POSITION = (0.28, -0.105)
KNOB_HEIGHT_M = 0.074
BOWL_FLOOR_M = 0.004


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneConfig:
    """A simulated scene: what stands on the table, what may be practised, and how it looks.

    Raises:
        ConfigError: An object, a table or a task is unknown, a task names a missing object, or a cloth is not alone.
    """

    name: str
    objects: tuple[str, ...]
    tasks: tuple[str, ...]
    robot: str = "widowx-sim"
    workspace: WorkspaceBox = field(default_factory=lambda: WorkspaceBox(low=(0.14, -0.18, 0.008), high=(0.40, 0.18, 0.20)))
    look: Look = field(default_factory=Look)

    def __post_init__(self) -> None:
        where = f"scene {self.name!r}"
        for name in self.objects:
            find_object(name, where)
        find_table(self.look.table, where)
        cloths = [name for name in self.objects if find_object(name, where).is_cloth]
        if cloths and len(self.objects) > 1:
            raise ConfigError(f"{where}: {cloths[0]!r} needs the table to itself; remove the other objects or the cloth")
        for task in self.parsed_tasks():
            for name in task.objects:
                if name not in self.objects:
                    raise ConfigError(
                        f"{where}: task {task.instruction!r} names {name!r}, which is not among its objects: "
                        f"{', '.join(self.objects)}. Add it under `objects` or remove the task."
                    )

    def parsed_tasks(self) -> tuple[Task, ...]:
        """Return the tasks with their questions."""
        return tuple(task_from_instruction(text) for text in self.tasks)

    def scene(self) -> Scene:
        """Return what a collector may know of the scene: no looks, no positions."""
        return Scene(
            name=self.name, robot=self.robot, objects=self.objects, tasks=self.parsed_tasks(), workspace=self.workspace
        )


def load_scene(name: str) -> SceneConfig:
    """Load a scene by name (`scene1` … `scene10`) or by the path of a YAML file."""
    path = find("scenes", name)
    data = read_yaml(path)
    data.setdefault("name", path.stem)
    # Nested mappings are validated on their own, so that an unknown key in them is an error too.
    for key, cls in (("look", Look), ("workspace", WorkspaceBox)):
        if isinstance(data.get(key), dict):
            data[key] = validate(cls, data[key], f"{path}: {key}")
    return validate(SceneConfig, data, str(path))


def body_name(object_name: str) -> str:
    """Return the name of an object's body in the model."""
    return object_name.replace(" ", "_")
