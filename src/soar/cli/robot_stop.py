"""`soar robot stop`, and `soar robot simulate-widowx`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Stop:
    r"""Stop every arm at once that a SOAR process of this user drives on this computer; needs no models and no store.

    No motion begins any more; at most one step of 0.2 s is under way, or a motion that the robot's controller does by itself
    (going home), for which the command waits. The arm holds its position. In the terminal of a command that drives an arm,
    Ctrl-\ does the same. This is no emergency stop: that is the power switch.

    Example: soar robot stop
    """

    name: str | None = None
    """Name of the workcell; all by default."""
    wait_s: float = 10.0
    """How long a motion that is under way may take to end [s]."""

    def run(self) -> None:
        """Run it."""
        import sys

        from soar.errors import SoarError
        from soar.robots.stopping import stop

        stopped = stop(self.name, self.wait_s)
        for one in stopped:
            state = "stopped" if one.still else "STILL MOVING: its last motion has not ended. Switch the arm's power off."
            sys.stdout.write(f"{one.name} (process {one.pid}, {one.command}): {state}\n")
        if not stopped:
            sys.stdout.write("no arm is driven from this computer by this user\n")
        if not all(one.still for one in stopped):
            raise SoarError("not every arm has stopped: switch the power off")


@dataclass(frozen=True, kw_only=True)
class SimulateWidowX:
    """Run a WidowX server with a simulated arm in front of a scene: real ZeroMQ, LZ4 and pickles, for tests and demonstrations.

    A workcell's file reaches it by `robot: {driver: widowx, options: {host: 127.0.0.1}}`. Faults that were seen on real servers
    come at random with --faults.

    Example: soar robot simulate-widowx --scene scene1 --dialect bridge-motors --faults 0.01
    """

    scene: str = "scene1"
    """The scene: its name, or path of its YAML file."""
    dialect: Literal["bridge", "bridge-motors", "manipulator"] = "bridge"
    """Which kind of server it is (docs/robots.md)."""
    host: str = "127.0.0.1"
    """Address to listen on. The protocol has no passwords."""
    port: int = 5556
    """Port to listen on; 0 for any that is free."""
    faults: float = 0.0
    """Chance that something goes wrong with an observation or a step."""
    seed: int = 0
    """Of those."""
    speed: float = 1.0
    """How fast time passes: 1 as on a real arm, 0 without waiting."""
    image_size: int = 256
    """Height and width of the camera's pictures [px]."""

    def run(self) -> None:
        """Run it."""
        import signal
        import sys
        from typing import Any

        from soar.errors import ConfigError
        from soar.sim.scene import load_scene
        from soar.sim.workcell import open_robot
        from soar.testing.widowx_faults import FaultPlan
        from soar.testing.widowx_server import WidowXServer

        if not 0 <= self.faults < 1 or self.speed < 0 or not 0 <= self.port < 2**16:
            raise ConfigError(
                f"--faults lies between 0 and 1, --speed is at least 0, --port below {2**16}; "
                f"got {self.faults}, {self.speed}, {self.port}"
            )
        load_scene(self.scene)

        def make() -> Any:
            return open_robot(self.scene, self.image_size)

        plan = FaultPlan(chance=self.faults, seed=self.seed)
        server = WidowXServer(
            make, dialect=self.dialect, port=self.port, host=self.host, faults=plan, speed=self.speed, late_s=4.0
        )
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
        try:
            with server:
                sys.stdout.write(f"a simulated WidowX ({self.dialect}) is served at {self.host}, port {server.port}\n")
                sys.stdout.flush()
                server.wait()
        except KeyboardInterrupt:
            return
        finally:
            if plan.happened:
                sys.stdout.write(f"{len(plan.happened)} faults: {', '.join(sorted(set(plan.happened)))}\n")
