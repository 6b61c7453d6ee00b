"""Demonstrations of a script that knows where things are: `python demonstrate.py STORE`, in LIBERO's environment.

LIBERO's own demonstrations are downloads. This script grasps what the task names and lets go of it above the basket, with noise
on its way, so that it shows how to recover; only successes are kept. They begin at starts that the environment draws, which are
not those of an evaluation.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from cell import MAP, Libero
from numpy.typing import NDArray

from soar.episodes import EpisodeStore
from soar.robots.gymnasium import GymCell
from soar.robots.gymnasium_maps import MappedEnv
from soar.types import Episode, Observation, Provenance

LONGEST, STUCK, NOISE_M, STILL_M, HIGH_M = 60, 15, 0.01, 0.004, 0.30
NEAR_M, CLOSE_M = 0.03, 0.08  # so close it may touch a tall bottle, and noise would keep it from standing still there
OPEN, CLOSED = 1.0, 0.0


class Script:
    """Above the thing, down until it is there or touches, close, up, above the basket, open."""

    def __init__(self, env: Libero, rng: np.random.Generator) -> None:
        thing = env.task.language.removeprefix("pick up the ").removesuffix(" and place it in the basket")
        self._thing = f"{thing.replace(' ', '_')}_1_pos"
        self._env, self._rng, self._phase, self._in_phase, self._still = env, rng, 0, 0, 0
        self._was = np.zeros(3)

    @property
    def is_stuck(self) -> bool:
        """Whether something is in its way."""
        return self._in_phase > STUCK

    def act(self) -> NDArray[np.float32]:
        """Return the next action."""
        hand, thing, basket = (np.asarray(self._env.seen[name]) for name in ("robot0_eef_pos", self._thing, "basket_1_pos"))
        goals = [
            np.add(thing, [0, 0, 0.12]),
            thing,
            hand,
            [*hand[:2], HIGH_M],
            [*basket[:2], HIGH_M],
            hand,
        ]
        error = np.asarray(goals[self._phase]) - hand
        carries = self._phase in (2, 3, 4)
        far = np.abs(error).max() > CLOSE_M
        noise = self._rng.normal(0, NOISE_M, 3) if self._phase in (0, 3, 4) or (self._phase == 1 and far) else np.zeros(3)
        action = np.array([*(np.clip(error, -0.05, 0.05) + noise), 0, 0, 0, CLOSED if carries else OPEN], np.float32)
        self._in_phase += 1
        self._still = self._still + 1 if np.abs(hand - self._was).max() < STILL_M else 0
        self._was = hand
        near = np.abs(error).max() < (NEAR_M if self._phase in (0, 3, 4) else 0.012) or (self._phase == 1 and self._still >= 2)
        if self._in_phase >= 3 if self._phase == 2 else near and self._phase < 5:
            self._phase, self._in_phase = self._phase + 1, 0
        return action


def attempt(cell: GymCell, env: Libero, rng: np.random.Generator) -> tuple[list[Observation], list[NDArray[np.float32]], bool]:
    """Return what was seen and done, and whether it worked."""
    cell.recover()
    script, seen, done = Script(env, rng), [cell.observe()], list[NDArray[np.float32]]()
    for _ in range(LONGEST):
        done.append(script.act())
        cell.act(done[-1])
        seen.append(cell.observe())
        if cell.truth is not None and cell.truth(env.task.language):
            return seen, done, True
        if script.is_stuck:
            break
    return seen, done, False


def main() -> None:
    """Record what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--suite", default="libero_object")
    parser.add_argument("--tasks", type=int, nargs="+", default=[0, 3, 4, 5, 7])
    parser.add_argument("--episodes", type=int, default=40, help="of each task")
    parser.add_argument("--size", type=int, default=128, help="of pictures [px]")
    told = parser.parse_args()
    store = EpisodeStore(told.store, mode="open_or_create")
    have = {record.id for record in store.episodes()}
    for task in told.tasks:
        env = Libero(told.suite, task, told.size)
        cell = GymCell(MappedEnv(env, MAP), success={env.task.language: "done"})
        number, kept = 0, 0
        while kept < told.episodes and number < 4 * told.episodes:
            id, number = f"{told.suite}-{task}-{number:04d}", number + 1
            if id in have:
                kept += 1
                continue
            seen, done, worked = attempt(cell, env, np.random.default_rng([task, number]))
            sys.stdout.write(f"{id}: {len(done)} steps, {'kept' if worked else 'failed'}\n")
            sys.stdout.flush()
            if not worked:
                continue
            kept += 1
            store.append(
                Episode(
                    id=id,
                    scene=f"{told.suite.replace('_', '-')}-{task}",
                    instruction=env.task.language,
                    images_THWC=np.stack([one.image_HWC for one in seen]),
                    states_TD=np.stack([one.state for one in seen]),
                    actions_TD=np.stack(done),
                    provenance=Provenance(policy="script"),
                )
            )
        cell.close()


if __name__ == "__main__":
    main()
