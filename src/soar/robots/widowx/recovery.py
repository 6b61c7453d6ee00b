"""Getting a WidowX back to work after a fault, as SOAR's authors did (§G), and calling a person when that does not help.

the server answers again ─► it has a robot ─► reset ─► motors well, arm at home, and it follows? ──► done
                                              ▲                         │ no, up to ten times
                                              └── reboot, one joint after another ◄── the sleep pose, where torque may go
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from soar.errors import RobotFault
from soar.robots.widowx.replies import JOINTS
from soar.robots.widowx.server import Server, UninitialisedError

log = logging.getLogger(__name__)
OVER_SLEEP = (0.1425, -0.0024, 0.0980, -0.0054, -0.7836, 0.0055, 1.0)
"""State (7,) over the arm's rest, from which it may sink."""
REBOOTS = 10
BETWEEN_JOINTS_S = 0.5
HOME_M = 0.03
_NUDGE_M, _NUDGE_RAD, _FOLLOWS = 0.01, 0.1, 0.3


class Recovery:
    """Recovers one arm; remembers how often it was rebooted since it last worked.

    Args:
        home: State (7,) where every episode starts.
        inwards: Direction (3,) from there that stays in the workspace.
        sleep: Waits for some seconds.
        budget_s: How long one recovery may take [s].
    """

    def __init__(
        self,
        home: tuple[float, ...],
        inwards: tuple[float, ...],
        *,
        sleep: Callable[[float], None] = time.sleep,
        budget_s: float = 240.0,
    ) -> None:
        self._home, self._inwards = np.array(home), np.array(inwards)
        self._sleep, self._budget_s = sleep, budget_s
        self.reboots = 0

    def go_home(self, server: Server) -> NDArray[np.float64]:
        """Go home, and return the state (7,) there; that the server says so is not enough.

        Raises:
            RobotFault: `motor`: the motors are in an error, or the arm is not there.
        """
        try:
            server.home()
        except UninitialisedError:
            server.begin()
            server.home()
        seen = server.look()
        if error := seen.motors or (server.motors() if server.asks_motors else ""):
            raise RobotFault("motor", error)
        away_m = float(np.linalg.norm(seen.state[:3] - self._home[:3]))
        if away_m > HOME_M:
            raise RobotFault(
                "motor",
                f"the server says that the arm is home, and it is {100 * away_m:.0f} cm away, at {seen.state[:3].round(3)}",
            )
        return seen.state

    def recover(self, server: Server) -> NDArray[np.float64]:
        """Bring the arm home, rebooting its motors as often as it takes and is allowed.

        Raises:
            RobotFault: `unrecoverable`: a person has to come; `motor`: there was no time for more; `connection`: it was lost.
        """
        deadline_s = time.monotonic() + self._budget_s
        while True:
            try:
                state = self.go_home(server)
                if not server.tells_motors:
                    state = self._nudge(server, state)
                self.reboots = 0
                return state
            except RobotFault as fault:
                if fault.kind != "motor":
                    raise
                if self.reboots >= REBOOTS:
                    raise RobotFault(
                        "unrecoverable",
                        f"{fault.detail}; {REBOOTS} reboots did not help. A person has to look: cables, power, obstacles",
                    ) from fault
                if time.monotonic() > deadline_s:
                    raise RobotFault("motor", f"{fault.detail}; reboot {self.reboots} did not help yet") from fault
                log.warning("the arm is rebooted: %s", fault.detail)
            self.reboots += 1
            self.reboot(server)

    def _nudge(self, server: Server, state: NDArray[np.float64]) -> NDArray[np.float64]:
        """Move a little and back, where motors do not tell, and return the state afterwards."""
        nudge = np.array([*self._inwards * _NUDGE_M, 0.0, 0.0, _NUDGE_RAD, 1.0])
        server.step(nudge)
        server.step(np.array([0.0] * 6 + [1.0]))
        moved = server.look().state - state
        server.step(nudge * np.array([-1, -1, -1, -1, -1, -1, 1]))
        share = float(moved[:3] @ nudge[:3] / max(nudge[:3] @ nudge[:3], 1e-9)) if nudge[:3].any() else 1.0
        if share < _FOLLOWS or moved[5] / _NUDGE_RAD < _FOLLOWS:
            raise RobotFault(
                "motor",
                f"the arm does not follow: told to move {1000 * np.linalg.norm(nudge[:3]):.0f} mm and turn {_NUDGE_RAD:g} rad, "
                f"it moved {1000 * np.linalg.norm(moved[:3]):.0f} mm and turned {moved[5]:.2f} rad",
            )
        return server.look().state

    def reboot(self, server: Server) -> None:
        """Go to the sleep pose, and reboot one joint after another.

        A motor that is off may keep the arm from getting there; it is rebooted where it is then.
        """
        try:
            server.sleep(np.array(OVER_SLEEP))
        except RobotFault as fault:
            if fault.kind != "motor":
                raise
            log.warning("the sleep pose was not reached (%s); the motors are rebooted in place", fault.detail)
        except UninitialisedError:
            server.begin()
        for joint in JOINTS:
            server.reboot(joint)
            self._sleep(BETWEEN_JOINTS_S)
