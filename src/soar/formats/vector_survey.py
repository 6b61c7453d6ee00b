"""One look at all states and actions of a dataset before anything of it is stored: are they what a store holds?

| what is seen | what becomes of it |
|---|---|
| sizes that no arm has (`soar.episodes.magnitudes`) | refused with a map that fits; only said where somebody wrote a map |
| sizes that are unusual, or impossible at a few steps | said |
| actions that are near the next position and far from the motion to it: poses to reach | refused, `--actions reached` |
| actions that go with the motions that the states show, and are many times as large or small | said |
| what the gripper's numbers mean | see `soar.formats.gripper_range` |

With `--actions reached` motions come from the states, and those of the actions do not matter.

Shape suffixes: N steps, D numbers, T = N - 1 actions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from soar.datasets.action_processing import GRIPPER
from soar.episodes.magnitudes import KINDS, POSITION, TURN, Kind, extent
from soar.errors import FormatError
from soar.formats.gripper_range import Grippers, survey
from soar.formats.steps import Actions
from soar.formats.vector_maps import EULER, PLAIN, ROTATION_VECTOR, VectorConfig, VectorMap
from soar.formats.vector_maps import POSITION as AXES

Measured = tuple[NDArray[np.float32], NDArray[np.float32]]
"""States and actions of an episode, (N, 7) each, as `VectorMap.measured` gives them."""
_NEAR, _FAR, _LEAST_M = 0.2, 5.0, 0.05
"""Poses are this share of their length away from the next position, this many motions long, and so long at least."""
_FEW = 30
_RELATED, _TIMES = 0.9, 5.0
_DEGREES_RAD = np.pi / 180


@dataclass(slots=True)
class _Motions:
    """Commanded motions or turns of all episodes against those that the states show."""

    commanded: list[NDArray[np.float32]] = field(default_factory=list)
    shown: list[NDArray[np.float32]] = field(default_factory=list)

    def scale(self) -> float | None:
        """Return how many times the commanded ones those that the states show are; None where they are not related."""
        if sum(map(len, self.commanded)) < _FEW:
            return None
        commanded_T3, shown_T3 = (np.concatenate(parts).astype(np.float64) for parts in (self.commanded, self.shown))
        whole = np.isfinite(commanded_T3).all(1) & np.isfinite(shown_T3).all(1)
        commanded_T3, shown_T3 = commanded_T3[whole], shown_T3[whole]
        norms = np.linalg.norm(commanded_T3), np.linalg.norm(shown_T3)
        product = float((commanded_T3 * shown_T3).sum())
        if not all(norms) or product / (norms[0] * norms[1]) < _RELATED:
            return None
        return product / float(norms[0] ** 2)


def survey_vectors(
    episodes: Iterable[Measured],
    config: VectorConfig,
    *,
    actions: Actions,
    place: str,
    state: VectorMap = PLAIN,
    action: VectorMap = PLAIN,
) -> tuple[Grippers, tuple[str, ...]]:
    """Look at all vectors of a dataset.

    Args:
        episodes: Those of each episode.
        config: What somebody says of them.
        actions: Which motions are stored.
        place: The dataset, for messages.
        state: The map that states are read by, unless somebody wrote one.
        action: The same of actions.

    Returns:
        What the gripper's numbers mean, and what is to be said.

    Raises:
        FormatError: They are not what a store holds, or that cannot be told; the message says with which flag to say it.
        ConfigError: A flag is no range.
    """
    sizes: dict[Kind, list[NDArray[np.float32]]] = {kind: [] for kind in KINDS}
    motions, turns, grippers = _Motions(), _Motions(), []
    nexts: list[NDArray[np.float32]] = []
    for episode in episodes:
        # What is not finite is refused when it is stored, and says nothing here.
        states_ND, actions_ND = (np.where(np.isfinite(vectors), vectors, np.nan) for vectors in episode)
        if not len(states_ND) == len(actions_ND) > 1:
            continue
        # The last action led to nothing that was recorded, and is often none.
        for kind in KINDS:
            vectors_ND = states_ND if kind.vector == "state" else actions_ND[:-1]
            sizes[kind].append(np.abs(vectors_ND[:, kind.part]).max(axis=1))
        grippers.append((states_ND[:, GRIPPER], actions_ND[:, GRIPPER]))
        changes_TD = np.diff(states_ND, axis=0)
        changes_TD[:, TURN] = (changes_TD[:, TURN] + np.pi) % (2 * np.pi) - np.pi
        for pairs, part in ((motions, POSITION), (turns, TURN)):
            pairs.commanded.append(actions_ND[:-1, part])
            pairs.shown.append(changes_TD[:, part])
        nexts.append(states_ND[1:, POSITION])
    reached = actions == "reached"
    notes: list[str] = []
    if not reached and nexts:
        _refuse_poses(motions, np.concatenate(nexts), place)
    for kind, parts in sizes.items():
        if parts and not (reached and kind.vector == "action"):
            map, scale = (state, None) if kind.vector == "state" else (action, motions.scale() if kind.is_length else None)
            notes += _judged(kind, np.concatenate(parts), config, place, map=map, scale=scale)
    if not reached:
        angles = all(EULER[0] in map.terms for map in (state, action)) and not (config.state_map or config.action_map)
        notes += _odd_scales({"motions": motions} | ({"turns": turns} if angles else {}), place)
    found = survey(grippers, config, place=place, state_closed=state.closed, action_closed=action.closed)
    return found, (*notes, *found.notes)


def _refuse_poses(motions: _Motions, nexts_T3: NDArray[np.float32], place: str) -> None:
    """Refuse actions that say where the arm should be, and not how it should move."""
    commanded_T3, shown_T3 = np.concatenate(motions.commanded), np.concatenate(motions.shown)
    lengths_3T = np.stack([np.linalg.norm(vectors, axis=1) for vectors in (commanded_T3, commanded_T3 - nexts_T3, shown_T3)])
    lengths_3T = lengths_3T[:, np.isfinite(lengths_3T).all(0)]
    if not lengths_3T.size:
        return
    length, away, moved = np.median(lengths_3T, axis=1).tolist()
    if length > _LEAST_M and length > _FAR * moved and away < _NEAR * length:
        raise FormatError(
            f"{place}: the actions are poses to reach and no motions: they are {length:.3g} m long, {away:.3g} m away from the "
            f"next position, and the arm moves by {moved:.3g} m (medians). Import with --actions reached: motions are then "
            "what the states show"
        )


def _judged(
    kind: Kind,
    sizes_N: NDArray[np.float32],
    config: VectorConfig,
    place: str,
    *,
    map: VectorMap,
    scale: float | None,
) -> list[str]:
    """Return what is odd about the sizes of one kind.

    Raises:
        FormatError: They are impossible, and nobody wrote a map.
    """
    common, most = extent(sizes_N)
    text, wrong = kind.judge(common, most)
    if not text:
        return []
    flag = f"--{kind.vector}-map"
    written = config.state_map if kind.vector == "state" else config.action_map
    if not wrong or written:
        return [f"{place}: {text}" + (f", by the {flag} that was given" if written else "")]
    targets = AXES if kind.is_length else EULER if EULER[0] in map.terms else ROTATION_VECTOR
    guesses = [("degrees", _DEGREES_RAD)] if not kind.is_length else [("millimetres", 1e-3), ("centimetres", 1e-2)]
    if kind.is_length and common < 20 * kind.impossible:
        guesses.reverse()
    if scale is not None:
        guesses.insert(0, ("what makes the motions that the states show", float(f"{scale:.3g}")))
    maps = "; ".join(f"if they are {unit}: {flag} {map.scaled(targets, factor)}" for unit, factor in guesses)
    motions = "; or import with --actions reached: motions are then what the states show" if kind.vector == "action" else ""
    raise FormatError(f"{place}: {text}. Say which: {maps}; if they are what they seem: {flag} {map}{motions}")


def _odd_scales(found: dict[str, _Motions], place: str) -> list[str]:
    """Return which actions go with what the states show, and are of another size."""
    notes = []
    for what, motions in found.items():
        scale = motions.scale()
        if scale is not None and not 1 / _TIMES < scale < _TIMES:
            targets = ", ".join(AXES if what == "motions" else EULER)
            notes.append(
                f"{place}: the {what} that the states show are {scale:.3g} times those of the actions: are these of another "
                f"unit, or speeds? --action-map with *{scale:.3g} at {targets} makes them the same, and --actions reached "
                "takes them from the states"
            )
    return notes
