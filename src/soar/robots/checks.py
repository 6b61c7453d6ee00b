"""What an unattended night needs of a robot, tried one after another: connection, camera, motions, gripper, box, home, faults.

Each check yields findings: ✓, ✗ with what to do, or ? when it cannot be known. A fault in a check is a finding of that check;
the robot is recovered, and the next check follows. Everything moves through the safety shell, within the workcell's box.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from soar.cameras import MAIN
from soar.errors import RobotFault
from soar.robots.safety import SafetyError
from soar.robots.workcell import Workcell, WorkcellConfig
from soar.types import ACTION_DIM, Image

FloatArray = NDArray[np.float64]
ROUND_TRIPS, FRAMES, HOMES = 50, 100, 5
SLOW_S, LEAST_FPS, NEAR_HOME_M = 0.2, 10.0, 0.01
_STEP_M, _TURN_RAD, _SETTLE = 0.01, 0.1, 3
_CORNER_M, _BEYOND_M, _MARGIN_M = 0.02, 0.03, 0.01
_UNDONE, _DETOUR, _LAST_STEPS = 0.1, 1.5, 15
_VIEW = 25.0
"""Grey levels by which the picture may differ from the reference on average: things move, light changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name.
        ok: Whether it is as it should be; None: that cannot be known.
        detail: What was seen, in figures.
        advice: What to do when it is not.
    """

    check: str
    ok: bool | None
    detail: str
    advice: str = ""


def plan(config: WorkcellConfig) -> list[str]:
    """Return what will move, in sentences, before anything does."""
    low, high = ([f"{value:.3f}" for value in corner] for corner in (config.workspace.low, config.workspace.high))
    corners = f"x y z {' '.join(low)} to {' '.join(high)} m"
    return [
        "Opening the workcell may initialise the robot, which then goes to its neutral pose.",
        "The arm goes home about a dozen times, and moves 1 cm along and 0.1 rad about each axis.",
        "The gripper closes and opens.",
        f"The gripper goes to the eight corners of the box, {corners}, and tries to go beyond.",
        "Where the driver can, the connection is dropped, and all motors are rebooted, one after another, in the sleep pose.",
    ]


def check_robot(workcell: Workcell, reference: Image | None, tell: Callable[[Finding], None]) -> bool:
    """Try everything, telling each finding as it is there; returns whether the robot still works.

    Args:
        workcell: Open.
        reference: How the table looks when a trial begins; None: nobody said.
        tell: Called with each finding.
    """
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("connection", lambda: _connection(workcell)),
        ("camera", lambda: _camera(workcell, reference)),
        ("motors", lambda: _motors(workcell)),
        ("home", lambda: _home(workcell)),
        ("motion", lambda: _motion(workcell)),
        ("gripper", lambda: _gripper(workcell)),
        ("box", lambda: _box(workcell)),
        ("lost connection", lambda: _lost(workcell)),
        ("reboot", lambda: _reboot(workcell)),
    )
    for name, check in checks:
        try:
            for finding in check():
                tell(finding)
        except (RobotFault, SafetyError) as error:
            detail = error.detail if isinstance(error, RobotFault) else str(error)
            tell(Finding(check=name, ok=False, detail=detail, advice="look at the arm, then at the robot's own messages"))
            try:
                workcell.robot.recover()
            except (RobotFault, SafetyError) as fault:
                advice = "look at arm, cables and power, mend that, and check again: all else waits for it"
                tell(Finding(check="recovery", ok=False, detail=str(fault), advice=advice))
                return False
    return True


def _connection(workcell: Workcell) -> Iterator[Finding]:
    times = []
    for _ in range(ROUND_TRIPS):
        begun = time.perf_counter()
        workcell.robot.observe()
        times.append(time.perf_counter() - begun)
    p50, p99 = np.percentile(times, [50, 99])
    detail = f"an observation takes {1000 * p50:.0f} ms (p50), {1000 * p99:.0f} ms (p99)"
    yield Finding(
        check="connection",
        ok=bool(p99 < SLOW_S),
        detail=detail,
        advice=f"{SLOW_S:g} s is what a step has: a cable, not wireless, smaller pictures, another tunnel, a computer at rest",
    )


def _camera(workcell: Workcell, reference: Image | None) -> Iterator[Finding]:
    seen, begun = [], time.perf_counter()
    for _ in range(FRAMES):
        seen.append(workcell.robot.observe())
    passed_s = time.perf_counter() - begun
    for camera in (MAIN, *workcell.robot.cameras):
        yield from _pictures([one.picture(camera) for one in seen], passed_s, "" if camera == MAIN else f" {camera}")
    yield _colours(seen[-1].image_HWC, reference)


def _pictures(images: list[Image], passed_s: float, whose: str) -> Iterator[Finding]:
    """Look at the pictures that one camera gave."""
    different = 1 + sum(not np.array_equal(one, other) for one, other in itertools.pairwise(images))
    rate = different / passed_s
    yield Finding(
        check=f"camera{whose}",
        ok=rate >= LEAST_FPS and different > 1,
        detail=f"{different} different pictures of {FRAMES}, {rate:.0f} a second",
        advice="the camera's driver repeats pictures or is slow: restart it, use another USB port",
    )
    image, luminance = images[-1], float(images[-1].mean())
    yield Finding(
        check=f"exposure{whose}",
        ok=bool(10 < luminance < 245 and image.std() > 5),
        detail=f"mean brightness {luminance:.0f} of 255, {image.shape[0]} x {image.shape[1]} px",
        advice="the picture is black, white or of one colour: light, lens cap, exposure",
    )


def _colours(image: Image, reference: Image | None) -> Finding:
    if reference is None:
        return Finding(
            check="view", ok=None, detail="no reference picture to compare with", advice="`soar robot box` writes one"
        )
    small, wanted = (
        cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float64) for picture in (image, reference)
    )
    difference, swapped = np.abs(small - wanted).mean(), np.abs(small[..., ::-1] - wanted).mean()
    if swapped < 0.7 * difference:
        return Finding(
            check="view",
            ok=False,
            detail="red and blue are exchanged, compared with the reference picture",
            advice="the driver has to give RGB",
        )
    return Finding(
        check="view",
        ok=bool(difference < _VIEW),
        detail=f"differs from the reference picture by {difference:.0f} grey levels on average ({_VIEW:g} are allowed)",
        advice="put camera, table and light back as they were, or write a new reference picture with `soar robot box`",
    )


def _motors(workcell: Workcell) -> Iterator[Finding]:
    ask = workcell.ability("motors")
    try:
        error = ask() if ask is not None else None
    except RobotFault as fault:
        if fault.kind != "driver":
            raise
        error = None
    health = workcell.robot.health()
    yield Finding(
        check="motors",
        ok=health.ok and (None if error is None else not error),
        detail=(health.detail if not health.ok else error) or ("well" if error == "" else "the robot does not tell"),
        advice="power cycle the arm; exchange a motor that stays in an error"
        if error or not health.ok
        else "watch them at first",
    )


def _home(workcell: Workcell) -> Iterator[Finding]:
    robot, places = workcell.robot, []
    for _ in range(HOMES):
        robot.home()
        places.append(robot.observe().state[:3].astype(np.float64))
        for sign in (1, 1, -1):
            robot.act(_action(step=sign * _inwards(workcell) * 0.02))
    spread = float(np.linalg.norm(np.stack(places) - np.mean(places, 0), axis=1).max())
    inside = workcell.config.workspace.contains(places[-1], NEAR_HOME_M)
    yield Finding(
        check="home",
        ok=spread < NEAR_HOME_M and inside,
        detail=f"{HOMES} times within {1000 * spread:.0f} mm, {'inside' if inside else 'OUTSIDE'} of the box",
        advice="check the joints' screws and calibration" if inside else "make the box larger, or choose another home",
    )


def _motion(workcell: Workcell) -> Iterator[Finding]:
    robot, box = workcell.robot, workcell.config.workspace
    robot.home()
    # Where the box ends at home, what the shell refuses is nothing that the arm does wrong.
    low, high = np.array(box.low), np.array(box.high)
    clear = np.minimum(np.full(3, 2 * _STEP_M), (high - low) / 2)
    _go(workcell, np.clip(robot.observe().state[:3].astype(np.float64), low + clear, high - clear))
    for axis, sign in itertools.product(range(3), (1, -1)):
        wanted = np.zeros(3)
        wanted[axis] = sign * _STEP_M
        moved = _moved(workcell, _action(step=wanted))[:3]
        along, across = float(moved @ wanted) / _STEP_M, float(np.linalg.norm(moved - wanted))
        robot.act(_action(step=-wanted))
        yield Finding(
            check=f"move {'+-'[sign < 0]}{'xyz'[axis]}",
            ok=0.5 * _STEP_M < along < 1.6 * _STEP_M and across < 0.6 * _STEP_M,
            detail=f"told 10 mm, moved {1000 * along:.1f} mm that way",
            advice="the driver's axes are others (x forward, y left, z up), or the arm is too weak or too stiff",
        )
    for axis, sign in itertools.product(range(3), (1, -1)):
        turn = np.zeros(3)
        turn[axis] = sign * _TURN_RAD
        turned = sign * float(_moved(workcell, _action(turn=turn))[3 + axis])
        robot.act(_action(turn=-turn))
        name = ("roll", "pitch", "yaw")[axis]
        if np.isnan(turned):
            yield Finding(check=f"turn {'+-'[sign < 0]}{name}", ok=None, detail="this robot does not turn that way")
            continue
        yield Finding(
            check=f"turn {'+-'[sign < 0]}{name}",
            ok=0.4 * _TURN_RAD < turned < 1.8 * _TURN_RAD,
            detail=f"told 0.1 rad, turned {turned:.2f} rad",
            advice="the driver's angles are in another order or sense",
        )


def _gripper(workcell: Workcell) -> Iterator[Finding]:
    robot = workcell.robot
    robot.home()
    seen = []
    for target in (0.0, 1.0):
        for _ in range(6):
            robot.act(_action(gripper=target))
        seen.append(float(robot.observe().state[6]))
    yield Finding(
        check="gripper",
        ok=seen[0] < 0.5 < seen[1],
        detail=f"closed it says {seen[0]:.2f}, open {seen[1]:.2f}",
        advice="0 is closed and 1 open, for what it is told and what it tells",
    )


def _box(workcell: Workcell) -> Iterator[Finding]:
    box, robot = workcell.config.workspace, workcell.robot
    middle = (np.array(box.low) + np.array(box.high)) / 2
    reached, beyond, furthest, missed = 0, 0, 0.0, ""
    robot.home()
    corners = itertools.product(*zip(box.high, box.low, strict=True))
    for corner in sorted((np.array(corner) for corner in corners), key=lambda place: -place[2]):
        away = _go(workcell, corner)
        if away < _CORNER_M:
            reached += 1
        else:
            missed = missed or f"; {corner.round(3).tolist()} was missed by {100 * away:.0f} cm"
        for _ in range(2):
            robot.observe()
            robot.act(_action(step=np.sign(corner - middle) * _BEYOND_M))
        robot.act(_action())
        place = robot.observe().state[:3].astype(np.float64)
        outside = float(np.maximum(np.array(box.low) - place, place - np.array(box.high)).max())
        furthest, beyond = max(furthest, outside), beyond + (outside > _MARGIN_M)
        _go(workcell, np.array([*((corner + middle) / 2)[:2], box.high[2]]))
    yield Finding(
        check="box",
        ok=reached == 8,
        detail=f"{reached} of 8 corners reached{missed}",
        advice="make the box smaller (`soar robot box` measures it), or clear what is in the way",
    )
    yield Finding(
        check="beyond the box",
        ok=beyond == 0,
        detail=f"told to leave it, the gripper was at most {1000 * furthest:.0f} mm outside",
        advice="correct limits.lag_m in the robot's file, and make the box smaller until that is understood",
    )
    robot.home()


def _lost(workcell: Workcell) -> Iterator[Finding]:
    drill = workcell.ability("drill")
    if drill is None:
        yield Finding(check="lost connection", ok=None, detail="the driver cannot try it")
        return
    begun = time.perf_counter()
    drill()
    workcell.robot.recover()
    yield Finding(check="lost connection", ok=True, detail=f"found again in {time.perf_counter() - begun:.0f} s")


def _reboot(workcell: Workcell) -> Iterator[Finding]:
    if workcell.reboot is None:
        yield Finding(check="reboot", ok=None, detail="the driver cannot try it")
        return
    begun = time.perf_counter()
    workcell.reboot()
    workcell.robot.home()
    yield Finding(check="reboot", ok=True, detail=f"all motors, and home again, in {time.perf_counter() - begun:.0f} s")


def _go(workcell: Workcell, place: FloatArray) -> float:
    """Go to a place (3,) by steps, and return how far away the gripper is in the end [m]."""
    limits = workcell.config.robot.limits  # an arm that is far behind what it was told is kept further inside by the shell
    longest = 0.8 * min(limits.translation_m, limits.lag_m / 2 if limits.lag_m > 0 else np.inf)
    away = float(np.linalg.norm(place - workcell.robot.observe().state[:3]))
    for _ in range(math.ceil(_DETOUR * away / longest) + _LAST_STEPS):  # more than the straight way takes, and to settle there
        rest = place - workcell.robot.observe().state[:3]
        if (away := float(np.linalg.norm(rest))) < 0.004:
            break
        workcell.robot.act(_action(step=rest * min(1.0, longest / away)))
    return away


def _moved(workcell: Workcell, action: NDArray[np.float32]) -> FloatArray:
    """Execute an action, let the arm come to rest, and return the change of its state (7,); NaN where it was not executed."""
    before = workcell.robot.observe().state
    workcell.robot.act(action)
    executed = workcell.robot.last_action
    for _ in range(_SETTLE):
        workcell.robot.act(_action())
    change = (workcell.robot.observe().state - before).astype(np.float64)
    change[3:6] = (change[3:6] + np.pi) % (2 * np.pi) - np.pi
    undone = (np.abs(action[3:6]) > 0) & (np.abs(executed[3:6]) < _UNDONE * np.abs(action[3:6]))
    change[3:6] = np.where(undone, np.nan, change[3:6])
    return change


def _inwards(workcell: Workcell) -> FloatArray:
    """Return a direction (3,) of length 1 from where the gripper is to the middle of the box."""
    box = workcell.config.workspace
    way = (np.array(box.low) + np.array(box.high)) / 2 - workcell.robot.observe().state[:3]
    return np.asarray(way / max(float(np.linalg.norm(way)), 1e-9), np.float64)


def _action(step: FloatArray | None = None, turn: FloatArray | None = None, gripper: float = 1.0) -> NDArray[np.float32]:
    action = np.zeros(ACTION_DIM, np.float32)
    action[:3], action[3:6], action[6] = 0 if step is None else step, 0 if turn is None else turn, gripper
    return action
