"""How fast the simulator is, and how much of a transition is the picture.

Prints one JSON line: transitions (one action of 0.2 s and one picture) per CPU-second on one core with pictures of 64, 128 and
256 pixels, the share of the renderer, and the ratio to physics alone, all from one run.

    OMP_NUM_THREADS=1 python benchmarks/simulation_speed.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from soar.sim.demonstrator import Demonstrator, Style
from soar.sim.scene import load_scene
from soar.sim.truth import reset_for
from soar.sim.world import World

TASK = "put the green block in the wooden bowl"
SIZES = (64, 128, 256)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    steps = parser.parse_args().steps
    physics_s: list[float] = []
    pictures_s: dict[int, list[float]] = {size: [] for size in SIZES}
    worlds = {size: World(load_scene("scene1"), image_size=size) for size in SIZES}
    for size, world in worlds.items():
        world.render()  # the first picture makes the renderer
        demonstrator = None
        for step in range(steps):
            if demonstrator is None or step % 60 == 0:
                reset_for(world, TASK, step)
                demonstrator = Demonstrator(world, TASK, Style(), np.random.default_rng(step))
            action = demonstrator.act()
            start_s = time.process_time()
            world.step(action)
            stepped_s = time.process_time()
            world.render()
            physics_s.append(stepped_s - start_s)
            pictures_s[size].append(time.process_time() - stepped_s)
        world.close()
    # Medians: what else the machine does only makes a step slower.
    physics = statistics.median(physics_s)
    sizes = {
        str(size): {
            "transitions": round(1 / (physics + picture)),
            "renderer_share": round(picture / (physics + picture), 3),
            "ratio_to_physics": round(physics / (physics + picture), 3),
        }
        for size, picture in ((size, statistics.median(times)) for size, times in pictures_s.items())
    }
    metric = "transitions per CPU-second, scene 1, one core"
    result = {"metric": metric, "physics_alone": round(1 / physics), "sizes": sizes}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
