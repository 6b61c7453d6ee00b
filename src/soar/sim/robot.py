"""The simulated WidowX as a `Robot`, with the simulator's truth beside it for those who may ask."""

from __future__ import annotations

import numpy as np

from soar.robots.base import Health
from soar.sim.ground_truth import answer, reset_for, succeeded
from soar.sim.scene import load_scene
from soar.sim.scripted.expert import imagine
from soar.sim.world import World
from soar.types import Action, Image, Observation


class SimRobot:
    """Drives a `World` as a robot.

    `observe`, `act`, `home`, `health` and `recover` are all that a policy, a VLM or a subgoal model may touch. The methods
    under `truth` read the simulator's state: evaluation judges with them, and models called `oracle` use them.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._frames = 0

    def observe(self) -> Observation:
        """Return the camera image and the arm's own pose."""
        self._frames += 1
        image = self.world.render()
        # A real sensor never gives the same frame twice, not even of a still table with the arm out of sight: one grey level
        # in a few pixels keeps a frozen camera distinguishable.
        rng = np.random.default_rng(self._frames)
        rows, columns = rng.integers(image.shape[0], size=8), rng.integers(image.shape[1], size=8)
        image[rows, columns] ^= 1
        return Observation(image_HWC=image, state=self.world.proprioception())

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

    def succeeded(self, instruction: str) -> bool:
        """Whether the task is done."""
        return succeeded(self.world, instruction)

    def answer(self, question: str) -> bool:
        """Return the true answer to a question."""
        return answer(self.world, question)

    def imagine(self, instruction: str, seed: int) -> Image:
        """Return what the camera would see after the demonstrator had worked on the task for one subgoal's time."""
        return imagine(self.world, instruction, seed)[0]


def open_robot(scene: str, image_size: int = 256) -> SimRobot:
    """Return the simulated robot in front of a scene, given by name or by the path of a YAML file."""
    return SimRobot(World(load_scene(scene), image_size=image_size))
