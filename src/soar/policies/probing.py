"""What a policy wants and what it gives, before a robot moves: it is asked about one observation, again and again.

    anew, each time the same      how long a plan takes; whether equal observations get equal actions
    and on, without a new start   what its actions are: numbers, ranges, and how they compare with the workcell's limits and box
    with another picture, and     whether it looks, and whether it listens
    another instruction

Nothing is executed. A policy that reaches goals is given the picture that it sees as its goal: it has arrived.

Shape suffixes: N actions, D action dimensions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from soar.cameras import MAIN, listed
from soar.errors import ConfigError, SoarError
from soar.policies.base import CONDITIONINGS, Policy, begin, cameras_of, told
from soar.robots.checks import Finding
from soar.robots.safety import SafetyLimits
from soar.types import ACTION_DIM, STEP_S, Goal, Observation, WorkspaceBox

NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
_GRIPPER = 6
_SAME = 1e-5
"""By how much two actions may differ that count as equal: arithmetic rounds."""
_FAR = 2.0
"""A motion beyond so many times the robot's limit speaks of other units."""


@runtime_checkable
class Described(Protocol):
    """A policy that can say more of itself than a policy must."""

    def describe(self) -> Mapping[str, str]:
        """Return sentences by their headings."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a policy is asked about, and what its actions are compared with.

    Attributes:
        observation: What the robot sees.
        instruction: What is to be done.
        another: Another instruction; empty: there is none.
        limits: Of one action.
        workspace: That the gripper never leaves.
    """

    observation: Observation
    instruction: str
    another: str
    limits: SafetyLimits
    workspace: WorkspaceBox


def probe(
    policy: Policy, situation: Situation, asks: int = 20, clock: Callable[[], float] = time.perf_counter
) -> Iterator[Finding]:
    """Ask a policy, and yield what was found.

    Args:
        policy: Open.
        situation: About what.
        asks: How often; at least 2.
        clock: Seconds, never going back.
    """
    yield Finding(check="policy", ok=True, detail=f"{policy.id}, {_wants(policy)}")
    cameras = _cameras(policy, situation)
    yield cameras
    if isinstance(policy, Described):
        yield from (Finding(check=name, ok=True, detail=said) for name, said in policy.describe().items())
    if not cameras.ok:
        return
    try:
        times, anew_ND = _asked_anew(policy, situation, asks, clock)
        going_on_ND = np.stack([_act(policy, situation.observation, _goal(policy, situation)) for _ in range(asks)])
        yield from _latency(times)
        spread = float(np.abs(anew_ND - anew_ND[0]).max())
        yield _determinism(anew_ND, spread)
        actions_ND = np.concatenate([anew_ND[:1], going_on_ND])
        yield from _ranges(policy, actions_ND)
        yield from _against_limits(actions_ND, situation)
        yield from _senses(policy, situation, anew_ND[0], spread)
    except SoarError as error:
        yield Finding(check="answer", ok=False, detail=str(error), advice="correct the policy, its file, or its server")


def _wants(policy: Policy) -> str:
    size = "pictures of any size" if policy.image_size is None else f"pictures of {policy.image_size} px"
    return f"follows {CONDITIONINGS[policy.conditioning]}, looks at {size}"


def _cameras(policy: Policy, situation: Situation) -> Finding:
    wanted, given = cameras_of(policy), situation.observation.extra_images
    missing = [camera for camera in wanted if camera not in (MAIN, *given)]
    return Finding(
        check="cameras",
        ok=not missing,
        detail=f"looks at {', '.join(wanted)}; here is {listed(given)}",
        advice=f"name {', '.join(missing)} in the workcell's file (`cameras`), or correct the policy's file (`images`)",
    )


def _goal(policy: Policy, situation: Situation) -> Goal:
    return told(policy, situation.observation.picture(cameras_of(policy)[0]), situation.instruction)


def _act(policy: Policy, observation: Observation, goal: Goal) -> NDArray[np.float32]:
    """Return an action (7,).

    Raises:
        ConfigError: The policy fails, or gives something else.
    """
    try:
        found = policy.act([observation], [goal])
    except SoarError:
        raise
    except Exception as error:
        raise ConfigError(f"the policy fails: {type(error).__name__}: {error}") from error
    action_BD = np.asarray(found)
    if action_BD.shape != (1, ACTION_DIM) or action_BD.dtype.kind not in "fiu":
        raise ConfigError(
            f"for one observation it gives {action_BD.dtype} {action_BD.shape}, and numbers of shape (1, {ACTION_DIM}) are "
            "wanted"
        )
    if not np.isfinite(action_BD).all():
        raise ConfigError(f"its action is not finite: {np.array2string(action_BD[0], precision=3)}")
    return np.asarray(action_BD[0], np.float32)


def _asked_anew(
    policy: Policy, situation: Situation, asks: int, clock: Callable[[], float]
) -> tuple[list[float], NDArray[np.float32]]:
    """Return the seconds that each plan took, and its first action; the first plan, which may compile, is not timed."""
    times, actions = [], []
    for ask in range(asks + 1):
        begin(policy, situation.instruction)
        begun = clock()
        actions.append(_act(policy, situation.observation, _goal(policy, situation)))
        if ask:
            times.append(clock() - begun)
    return times, np.stack(actions)


def _latency(times: Sequence[float]) -> Iterator[Finding]:
    p50, p99 = np.percentile(times, [50, 99])
    yield Finding(
        check="latency",
        ok=True if p99 < STEP_S else None,
        detail=f"a plan takes {1000 * p50:.0f} ms (p50), {1000 * p99:.0f} ms (p99); an action takes {1000 * STEP_S:.0f} ms",
        advice="the arm stands still meanwhile: more actions a plan, or a faster machine or way to it",
    )


def _determinism(anew_ND: NDArray[np.float32], spread: float) -> Finding:
    if spread <= _SAME:
        return Finding(check="determinism", ok=True, detail="equal observations get equal actions")
    column = int(np.abs(anew_ND - anew_ND[0]).max(0).argmax())
    return Finding(
        check="determinism",
        ok=None,
        detail=f"equal observations get different actions, by up to {spread:.3g} ({NAMES[column]})",
        advice="the same start is another trial then each time: more trials, or a fixed seed at its server",
    )


def _ranges(policy: Policy, actions_ND: NDArray[np.float32]) -> Iterator[Finding]:
    low_D, high_D = actions_ND.min(0), actions_ND.max(0)
    said = ", ".join(f"{name} {low:.3g} … {high:.3g}" for name, low, high in zip(NAMES, low_D, high_D, strict=True))
    yield Finding(check="actions", ok=True, detail=f"{said} [m, rad, 0 closed to 1 open], of {len(actions_ND)}")
    inside = low_D[_GRIPPER] >= 0 and high_D[_GRIPPER] <= 1
    yield Finding(
        check="gripper",
        ok=bool(inside),
        detail=f"its targets are {low_D[_GRIPPER]:.3g} … {high_D[_GRIPPER]:.3g}",
        advice="0 is closed and 1 open: scale what the policy says",
    )
    std_D = np.asarray(policy.action_std)
    well = std_D.shape == (ACTION_DIM,) and bool((std_D > 0).all() and np.isfinite(std_D).all())
    yield Finding(
        check="exploration",
        ok=well,
        detail=f"its unit (action_std) is {', '.join(f'{value:.3g}' for value in std_D.ravel())}",
        advice=f"`action_std` is {ACTION_DIM} positive numbers, the standard deviation of what it learned from",
    )


def _against_limits(actions_ND: NDArray[np.float32], situation: Situation) -> Iterator[Finding]:
    for name, part, limit, unit in (
        ("translation", slice(0, 3), situation.limits.translation_m, "m"),
        ("rotation", slice(3, 6), situation.limits.rotation_rad, "rad"),
    ):
        lengths_N = np.linalg.norm(actions_ND[:, part], axis=1)
        over, far_over = int((lengths_N > limit).sum()), int((lengths_N > _FAR * limit).sum())
        yield Finding(
            check=f"{name} of a step",
            # Somewhat faster than the robot may be is no reason to refuse a policy; other units are.
            ok=True if not over else None if 2 * far_over < len(lengths_N) else False,
            detail=f"up to {lengths_N.max():.3g} {unit}; {over} of {len(lengths_N)} exceed the limit of {limit:g} {unit}",
            advice="the shell would shorten these: other units, a slower policy, or other `limits` of the robot",
        )
    low, high = np.array(situation.workspace.low), np.array(situation.workspace.high)
    path_ND = situation.observation.state[:3].astype(np.float64) + np.cumsum(actions_ND[:, :3], 0)
    outside_m = float(np.maximum(low - path_ND, path_ND - high).max())
    stay = outside_m <= 0
    yield Finding(
        check="box",
        ok=True if stay else None,
        detail="these actions stay in the workspace" if stay else f"these actions would leave it by {outside_m:.3f} m",
        advice="a robot that moves sees other pictures than this one; the shell keeps its gripper in the box",
    )


def _senses(policy: Policy, situation: Situation, first_D: NDArray[np.float32], spread: float) -> Iterator[Finding]:
    seen = situation.observation
    for camera in cameras_of(policy):
        dark = 255 - seen.picture(camera)
        changed = {"image_HWC": dark} if camera == MAIN else {"extra_images": {**seen.extra_images, camera: dark}}
        begin(policy, situation.instruction)
        what = "picture" if camera == MAIN else f"picture of {camera}"
        yield _reacts(what, _act(policy, replace(seen, **changed), _goal(policy, situation)), first_D, spread)
    if policy.conditioning != "goal" and situation.another:
        begin(policy, situation.another)
        goal = _goal(policy, replace(situation, instruction=situation.another))
        yield _reacts("instruction", _act(policy, seen, goal), first_D, spread)


def _reacts(what: str, action_D: NDArray[np.float32], first_D: NDArray[np.float32], spread: float) -> Finding:
    difference = float(np.abs(action_D - first_D).max())
    if difference > max(_SAME, spread):
        return Finding(check=f"another {what}", ok=True, detail=f"its action differs by up to {difference:.3g}")
    told = "its action is the same" if spread <= _SAME else "its action differs by no more than it does by chance"
    return Finding(
        check=f"another {what}", ok=None, detail=told, advice=f"does it get the {what} under the name that it knows?"
    )
