"""The simulated workcell: a WidowX as a `Robot`, and all that a place can do besides (see `soar.robots.workcell`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soar.errors import ConfigError
from soar.instruction_grammar import parse_instruction
from soar.robots.base import Health
from soar.scenes import SceneFile
from soar.seeding import generator
from soar.sim.ground_truth import answer, reset_for, succeeded
from soar.sim.scene import drawable, load_scene
from soar.sim.scripted.expert import imagine
from soar.sim.world import World
from soar.types import Action, Image, Observation

IMAGE_SIZE = 256
"""Height and width of the pictures when nobody asks for another size [px]."""


class SimRobot:
    """Drives a `World` as a robot.

    `observe`, `act`, `home`, `health` and `recover` are all that a policy, a VLM or a subgoal model may touch. The methods
    under `truth` read or set the simulator's state: evaluation judges with them, and models called `oracle` use them.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._frames = 0

    def observe(self) -> Observation:
        """Return the camera's image, those of further cameras, and the arm's own pose."""
        self._frames += 1
        image = self.world.render()
        # A real sensor never gives the same frame twice, not even of a still table with the arm out of sight: one grey level
        # in a few pixels keeps a frozen camera distinguishable.
        rng = np.random.default_rng(self._frames)
        further = {name: self.world.render(name) for name in self.world.cameras}
        for picture in (image, *further.values()):
            rows, columns = rng.integers(picture.shape[0], size=8), rng.integers(picture.shape[1], size=8)
            picture[rows, columns] ^= 1
        return Observation(image_HWC=image, state=self.world.proprioception(), extra_images=further)

    def act(self, action: Action) -> None:
        """Execute one action in 0.2 simulated seconds."""
        self.world.step(action)

    def home(self) -> None:
        """Open the gripper and go to the home pose; objects stay where they are."""
        self.world.home()

    def health(self) -> Health:
        """A simulated robot works; faults are injected by `soar.robots.FaultyRobot`."""
        return Health(ok=True)

    def recover(self) -> None:
        """Go home."""
        self.world.home()

    # --- truth -----------------------------------------------------------------------------------------------------------

    def reset_for(self, instruction: str, seed: int) -> None:
        """Put the scene into a random start from which the task is feasible."""
        self._frames = 0
        reset_for(self.world, instruction, seed)

    def set_table(self, seed: int) -> None:
        """Put everything somewhere, two things of five in a container where there is one, and the arm home."""
        self._frames = 0
        world, rng = self.world, generator(seed, "table")
        inside = {
            name: str(rng.choice(world.containers)) for name in world.graspable if world.containers and rng.random() < 0.4
        }
        world.reset(seed, inside=inside)

    def truth(self, instruction: str) -> bool | None:
        """Whether the task is done; None when the simulator has no such task, which is in words of somebody's own."""
        try:
            parsed = parse_instruction(instruction)
        except ConfigError:
            return None
        named = {parsed.object} if parsed.target in (None, "table") else {parsed.object, str(parsed.target)}
        if not self.world.specs.keys() >= named or (parsed.kind in ("open", "close") and "drawer" not in self.world.specs):
            return None
        return succeeded(self.world, instruction)

    def answer(self, question: str) -> bool:
        """Return the true answer to a question."""
        return answer(self.world, question)

    def close(self) -> None:
        """Free the renderer."""
        self.world.close()

    def imagine(self, instruction: str, seed: int) -> Image:
        """Return what the camera would see after the demonstrator had worked on the task for one subgoal's time."""
        return imagine(self.world, instruction, seed)[0]


def open_robot(
    scene: SceneFile | str, image_size: int | tuple[int, int] | None = None, cameras: Sequence[str] = ()
) -> SimRobot:
    """Return the simulated robot in front of a scene (the driver of the robot `widowx-sim`).

    Args:
        scene: The scene, its name, or the path of its YAML file.
        image_size: Height and width of the cameras' pictures [px]; 256 by default.
        cameras: Further ones: `wrist`, `side`, or both.

    Raises:
        ConfigError: There is no such camera, the scene cannot be drawn, or the picture is not square.
        RenderingError: No headless rendering library works here.
    """
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size or (IMAGE_SIZE, IMAGE_SIZE)
    if height != width:
        raise ConfigError(f"the simulated camera's pictures are square; image_size is {height} x {width}")
    drawn = load_scene(scene) if isinstance(scene, str) else drawable(scene)
    return SimRobot(World(drawn, image_size=height, cameras=cameras))
