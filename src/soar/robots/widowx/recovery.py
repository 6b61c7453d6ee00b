"""Getting a WidowX back to work after a fault, as SOAR's authors did (§G), and calling a person when that does not help.

    the server answers again ─► it has a robot ─► reset ─► motors well and arm at home? ──► done
                                                  ▲                    │ no, up to ten times
                                                  └── reboot, one joint after another ◄── the sleep pose, where torque may go
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from soar.errors import RobotFault
from soar.robots.widowx.servers import JOINTS, Server, UninitialisedError

log = logging.getLogger(__name__)
OVER_SLEEP = (0.1425, -0.0024, 0.0980, -0.0054, -0.7836, 0.0055, 1.0)
"""State (7,) over the arm's rest, from which it may sink."""
REBOOTS = 10
BETWEEN_JOINTS_S = 0.5
HOME_M = 0.03


class Recovery:
    """Recovers one arm; remembers how often it was rebooted since it last worked.

    Args:
        home: State (7,) where every episode starts.
        sleep: Waits for some seconds.
        budget_s: How long one recovery may take [s].
    """

    def __init__(self, home: tuple[float, ...], *, sleep: Callable[[float], None] = time.sleep, budget_s: float = 240.0) -> None:
        self._home = np.array(home)
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
                "motor", f"the server says that the arm is home, and it is {100 * away_m:.0f} cm away, at {seen.state[:3].round(3)}"
            )
        self.reboots = 0
        return seen.state

    def recover(self, server: Server) -> NDArray[np.float64]:
        """Bring the arm home, rebooting its motors as often as it takes and is allowed.

        Raises:
            RobotFault: `unrecoverable`: a person has to come; `motor`: there was no time for more; `connection`: it was lost.
        """
        deadline_s = time.monotonic() + self._budget_s
        while True:
            try:
                return self.go_home(server)
            except RobotFault as fault:
                if fault.kind != "motor":
                    raise
                if self.reboots >= REBOOTS:
                    raise RobotFault(
                        "unrecoverable",
                        f"{fault.detail}; {REBOOTS} reboots did not help. A person has to look: cables, power, what blocks the arm",
                    ) from fault
                if time.monotonic() > deadline_s:
                    raise RobotFault("motor", f"{fault.detail}; reboot {self.reboots} did not help yet") from fault
                log.warning("the arm is rebooted: %s", fault.detail)
            self.reboots += 1
            self.reboot(server)

    def reboot(self, server: Server) -> None:
        """Go to the sleep pose, and reboot one joint after another.

        A motor that is off may keep the arm from getting there; it is rebooted where it is then.
        """
        try:
            server.sleep(np.array(OVER_SLEEP))
        except RobotFault as fault:
            if fault.kind == "connection":
                raise
            log.warning("the sleep pose was not reached (%s); the motors are rebooted in place", fault.detail)
        except UninitialisedError:
            server.begin()
        for joint in JOINTS:
            server.reboot(joint)
            self._sleep(BETWEEN_JOINTS_S)
