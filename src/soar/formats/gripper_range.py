"""What a gripper's numbers mean, found out over a whole dataset before anything of it is stored.

| numbers | taken for |
|---|---|
| 0 to 1, both ends reached or nearly, or never changing | as they are |
| -1 to 1, the same | -1 closed, 1 open |
| 0 to 90 or 100 and a little | percent |
| 0 to at most 0.2, and much less than that, too | metres, as far as it ever opens |
| what is named `closed` | the other way round |

Commands that rise where the measured opening falls are turned round where that opening is in metres, which leave no doubt. All
else is refused, with the flag that says it; so are commands whose direction would only be a guess and looks wrong.

Shape suffixes: N steps, D numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soar.datasets.action_processing import GRIPPER
from soar.episodes.gripper import FULL, SAME, TOLERANCE, doubt, outside
from soar.errors import ConfigError, FormatError
from soar.formats.gripper_relation import relation
from soar.formats.vector_maps import VectorConfig

_OPENING_TOLERANCE = 0.25
"""How far a measured opening may be outside 0..1: grippers are calibrated by hand."""
_METRES = 0.2
"""No gripper opens farther; commands that never exceed it, and change, are lengths."""
_FEW_M = 0.005
_RELATED = 0.5
_MOST = 0.8
_STILL = 0.02
_Numbers = list[tuple[NDArray[np.float64], NDArray[np.float64]]]
"""By episode, openings and commands."""
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class GripperRange:
    """Which numbers mean closed and open."""

    closed: float = 0.0
    open: float = 1.0

    def __str__(self) -> str:
        return f"{self.closed:.6g}:{self.open:.6g}"

    def __call__(self, values_N: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the numbers with 0 for closed and 1 for open."""
        if self == AS_IT_IS:
            return values_N
        # No minus zero.
        return (values_N - self.closed) / (self.open - self.closed) + 0.0

    def ends(self, low: float, high: float) -> tuple[float, float]:
        """Return the least and the greatest that numbers between `low` and `high` become."""
        first, last = sorted(self(np.array([low, high])).tolist())
        return first, last

    @property
    def reversed(self) -> GripperRange:
        """The same with open and closed exchanged."""
        return GripperRange(closed=self.open, open=self.closed)


AS_IT_IS = GripperRange()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grippers:
    """What the gripper's numbers of a dataset mean, and what is to be said about it."""

    commands: GripperRange = AS_IT_IS
    openings: GripperRange = AS_IT_IS
    notes: tuple[str, ...] = ()

    def __call__(
        self, states_ND: NDArray[np.float32], actions_ND: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return states and actions whose gripper is 0 to 1."""
        return _mapped(states_ND, self.openings), _mapped(actions_ND, self.commands)


def parse_range(text: str, flag: str) -> GripperRange:
    """Return the range that somebody wrote, CLOSED:OPEN.

    Raises:
        ConfigError: It is none.
    """
    found = re.fullmatch(rf"\s*({_NUMBER})\s*:\s*({_NUMBER})\s*", text)
    if found is None or float(found[1]) == float(found[2]):
        raise ConfigError(f"{flag} must be CLOSED:OPEN, two different numbers, for example -1:1 or 0:0.08; it is {text!r}")
    return GripperRange(closed=float(found[1]), open=float(found[2]))


def survey(
    numbers: Iterable[tuple[NDArray[np.floating], NDArray[np.floating]]],
    config: VectorConfig,
    *,
    place: str,
    state_closed: bool = False,
    action_closed: bool = False,
) -> Grippers:
    """Find out what the gripper's numbers of a dataset mean.

    Args:
        numbers: By episode, the gripper's number in the N states and N actions, as the file has them.
        config: What somebody says.
        place: The dataset, for messages.
        state_closed: The file calls the state's number one that says how far the gripper is closed.
        action_closed: The same of the action's.

    Raises:
        FormatError: It cannot be told; the message says with which flag to say it.
        ConfigError: A flag is no range.
    """
    episodes = [
        # The last action led to nothing that was recorded, and is often none.
        (np.asarray(states_N, np.float64), np.asarray(actions_N, np.float64)[:-1])
        for states_N, actions_N in numbers
        if len(states_N) == len(actions_N) > 1
    ]
    notes: list[str] = []
    states = [states_N for states_N, _ in episodes]
    openings, certain = _openings(states, config, place=place, closed=state_closed, notes=notes)
    commands = _commands(episodes, config, place=place, closed=action_closed, openings=openings, certain=certain, notes=notes)
    return Grippers(commands=commands, openings=openings, notes=tuple(notes))


def _openings(
    states: list[NDArray[np.float64]], config: VectorConfig, *, place: str, closed: bool, notes: list[str]
) -> tuple[GripperRange, bool]:
    """Return the range of the measured openings, and whether it is certain which of its ends is open."""
    if config.opening_range:
        return parse_range(config.opening_range, "--opening-range"), True
    low, high = _extremes(states)
    found = _unit(low, high)
    if found is None:
        found = AS_IT_IS
        if low < -_OPENING_TOLERANCE or high > 1 + _OPENING_TOLERANCE:
            notes.append(
                f"{place}: the measured openings of the gripper lie between {low:.4g} and {high:.4g} and are stored as they "
                "are; --opening-range CLOSED:OPEN makes them 0 to 1"
            )
    metric = found != AS_IT_IS and found.open <= _METRES
    if closed:
        found = found.reversed
    if found != AS_IT_IS:
        notes.append(
            f"{place}: the measured openings of the gripper, {low:.4g} to {high:.4g}, are stored as 0 (closed, "
            f"{found.closed:.4g}) to 1 (open, {found.open:.4g}); --opening-range CLOSED:OPEN says otherwise"
        )
    return found, metric or closed


def _commands(
    episodes: _Numbers,
    config: VectorConfig,
    *,
    place: str,
    closed: bool,
    openings: GripperRange,
    certain: bool,
    notes: list[str],
) -> GripperRange:
    low, high = _extremes([commands_N for _, commands_N in episodes])
    given = parse_range(config.gripper_range, "--gripper-range") if config.gripper_range else None
    if not low <= high:
        return given or AS_IT_IS
    if given:
        least, most = given.ends(low, high)
        if outside(least, most):
            raise FormatError(
                f"{place}: with --gripper-range {given} the gripper's commands, {low:.4g} to {high:.4g}, become {least:.4g} to "
                f"{most:.4g}, and must be 0 to 1"
            )
        return given
    found = _unit(low, high)
    if found is None or (found == AS_IT_IS and high - low >= SAME and doubt(low, high)):
        asitis = "; --gripper-range 0:1 if they are what they seem" if found else ""
        raise FormatError(
            f"{place}: the gripper's commands lie between {low:.4g} and {high:.4g}, which is neither 0 to 1, -1 to 1, percent "
            f"nor metres. Say which are closed and open: --gripper-range {low:.4g}:{high:.4g}, or {high:.4g}:{low:.4g} where "
            f"greater numbers close{asitis}"
        )
    _refuse_changes(found, episodes, place)
    return _directed(
        found.reversed if closed else found,
        episodes,
        place=place,
        closed=closed,
        openings=openings,
        certain=certain,
        notes=notes,
    )


def _refuse_changes(found: GripperRange, episodes: _Numbers, place: str) -> None:
    """Refuse commands that say how the gripper changes: -1, 0 and 1, where 0 is no change."""
    if found.closed != -1:
        return
    values_N = np.concatenate([commands_N for _, commands_N in episodes])
    still = np.abs(values_N) < SAME
    if np.mean(still) > _STILL and np.all(still | (np.abs(np.abs(values_N) - 1) < SAME)):
        raise FormatError(
            f"{place}: the gripper's commands are -1, 0 and 1, and {np.mean(still):.0%} are 0, which then means no change and "
            "not half open; make targets of them before the import, or say that it does with --gripper-range -1:1"
        )


def _directed(
    found: GripperRange,
    episodes: _Numbers,
    *,
    place: str,
    closed: bool,
    openings: GripperRange,
    certain: bool,
    notes: list[str],
) -> GripperRange:
    """Return the range of the commands, turned round where that is certain; refused where it is in doubt."""
    low, high = _extremes([commands_N for _, commands_N in episodes])
    related = relation([(openings(states_N), found(commands_N)) for states_N, commands_N in episodes])
    closed_share = float(np.mean(found(np.array([commands_N[0] for _, commands_N in episodes])) < 0.5))
    begins_closed = closed_share >= _MOST and not doubt(*found.ends(low, high)) and not closed and related < _RELATED
    if related < -_RELATED and certain and not closed:
        found = found.reversed
        notes.append(f"{place}: the gripper's commands fall where it opens: they are turned round")
    elif related < -_RELATED:
        raise FormatError(
            f"{place}: the gripper's commands ({low:.4g} to {high:.4g}) fall where the measured opening rises, so one of the "
            f"two says how far it is closed. If the commands: --gripper-range {found.reversed}; if the openings: "
            f"--opening-range {openings.reversed}; if neither: --gripper-range {found}"
        )
    elif begins_closed and found.closed == -1:
        raise FormatError(
            f"{place}: the gripper's commands lie between {low:.4g} and {high:.4g}, and begin with {found.closed:.4g} in "
            f"{closed_share:.0%} of the episodes; which of the two is open? --gripper-range {found} if {found.open:.4g} is, "
            f"{found.reversed} if {found.closed:.4g} is"
        )
    elif begins_closed:
        notes.append(
            f"{place}: the gripper's commands begin closed, below half, in {closed_share:.0%} of the episodes; if that is "
            f"open, import into a new store with --gripper-range {found.reversed}"
        )
    if found != AS_IT_IS:
        greater = "open" if found.open > found.closed else "closed"
        why = "the file calls them closed" if closed else f"greater is more {greater}"
        notes.append(
            f"{place}: the gripper's commands, {low:.4g} to {high:.4g}, are stored as 0 (closed, {found.closed:.4g}) to 1 "
            f"(open, {found.open:.4g}): {why}; if that is wrong, import into a new store with --gripper-range {found.reversed}"
        )
    elif odd := doubt(low, high):
        notes.append(f"{place}: {odd}; --gripper-range CLOSED:OPEN says what they mean")
    return found


def _unit(low: float, high: float) -> GripperRange | None:
    """Return the range that numbers between `low` and `high` are of; None where that is not clear."""
    if not low <= high:
        return AS_IT_IS
    if not outside(low, high):
        lengths = -SAME <= low <= high / 2 and _FEW_M < high <= _METRES + SAME
        return GripperRange(open=high) if lengths else AS_IT_IS
    if -1 - TOLERANCE <= low <= -FULL and FULL <= high <= 1 + TOLERANCE:
        return GripperRange(closed=-1.0)
    if -2 <= low < 50 and 90 <= high <= 102:
        return GripperRange(open=100.0)
    return None


def _extremes(episodes: Iterable[NDArray[np.float64]]) -> tuple[float, float]:
    """Return the least and greatest number; infinite, the wrong way round, where there is none."""
    low, high = np.inf, -np.inf
    for values_N in episodes:
        finite = values_N[np.isfinite(values_N)]
        low, high = min(low, finite.min(initial=np.inf)), max(high, finite.max(initial=-np.inf))
    return float(low), float(high)


def _mapped(vectors_ND: NDArray[np.float32], range: GripperRange) -> NDArray[np.float32]:
    if range == AS_IT_IS:
        return vectors_ND
    mapped_ND = np.array(vectors_ND, np.float32)
    mapped_ND[:, GRIPPER] = range(vectors_ND[:, GRIPPER].astype(np.float64))
    return mapped_ND
