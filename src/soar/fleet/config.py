"""A fleet's file: which robots there are, where each stands, and what they do together.

    name: lab
    robots:
      bench-1: {workcell: bench-1.yaml}              # its process is started here, by `soar fleet up`
      bench-2: {workcell: bench-2.yaml, at: join}    # somebody starts it there, by `soar fleet join`
      sim-1:   {workcell: "sim:scene1"}
    episodes: 5000                                   # of all robots together
    models: {policy: …, subgoals: …, vlm: …}         # the base models that come with SOAR by default
    preset: laptop                                   # what it says of collecting
    faults: {most: 3, of: 10}                        # more of a robot's last attempts: it waits for a person
    rest: {after_h: 6, for_min: 20}
    lease_s: 600                                     # how long a robot may go on without the coordinator
    spool_mb: 2000                                   # how much it may keep meanwhile
    notify: https://hooks.slack.com/…                # who is told when a person is needed
    canary: 20                                       # attempts of one robot with a new policy of `soar improve --fleet`
    tls: {certificate: lab.pem, key: lab.key}        # the coordinator is https:// then

Paths are relative to the file.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import yaml

from soar.configuration import read_yaml, validate
from soar.errors import ConfigError, UnknownNameError
from soar.robots.workcell import SIMULATED, load_workcell

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRobot:
    """One robot of a fleet.

    Attributes:
        workcell: Name of its workcell, path of its YAML file, or `sim:SCENE`.
        at: `here`: the coordinator starts its process; `join`: its own computer does, with `soar fleet join`.
    """

    workcell: str
    at: Literal["here", "join"] = "here"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultBudget:
    """How many of a robot's last attempts may end with a fault before it waits for a person.

    Attributes:
        most: So many may.
        of: Of so many.
    """

    most: int = 3
    of: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.most <= self.of:
            raise ConfigError(f"faults: most must lie between 1 and of, got {self.most} of {self.of}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """When a robot rests, its workcell closed (which leaves the arm safe, with torque off where its driver does that).

    Attributes:
        after_h: Hours of work before it [h]; 0 for never.
        for_min: How long [min].
    """

    after_h: float = 6.0
    for_min: float = 20.0

    def __post_init__(self) -> None:
        if self.after_h < 0 or self.for_min < 0:
            raise ConfigError(f"rest: after_h and for_min must not be negative, got {self.after_h} and {self.for_min}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetModels:
    """Models by name, as `soar collect` takes them; empty for those that come with SOAR."""

    policy: str = ""
    subgoals: str = ""
    vlm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How what travels is encrypted; empty for not at all.

    Attributes:
        certificate: PEM file of the coordinator's certificate, and of whoever vouches for it.
        key: PEM file of its key, without a password.
    """

    certificate: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key):
            raise ConfigError("tls: name both the certificate and its key, or neither")

    def check(self, host: str) -> None:
        """Refuse what no robot could trust.

        Raises:
            ConfigError: The files are no certificate and its key, or none can be for this address.
        """
        if not self.certificate:
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key, password="")
        except OSError as error:
            raise ConfigError(
                f"tls: {self.certificate} and {self.key} are no certificate and its key without a password "
                f"({error.strerror or error})"
            ) from error
        if host in ("0.0.0.0", "::"):
            raise ConfigError(f"--host {host}: no certificate is for all addresses; name the one that robots ask")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetConfig:
    """A fleet; see the module's docstring.

    Attributes:
        robots: By name, which is that of their episodes.
        name: Of the fleet.
        episodes: Of all robots together, in a round.
        models: Of all robots.
        preset: Whose part on collecting counts.
        set: NAME=VALUE of the preset that count more.
        faults: When a robot waits for a person.
        rest: When a robot rests.
        lease_s: How long a robot works without an answer of the coordinator [s].
        spool_mb: How much a robot keeps whose episodes cannot be delivered [MB].
        notify: URL of a webhook that takes {"text": …}, Slack's or any other; empty for none.
        canary: Attempts of one robot with a candidate of `soar improve --fleet` before all have it; 0: all have it at once.
        tls: Certificate of the coordinator.
        seed: Of everything random.
    """

    robots: Mapping[str, FleetRobot]
    name: str = "fleet"
    episodes: int = 1000
    models: FleetModels = field(default_factory=FleetModels)
    preset: str = "laptop"
    set: tuple[str, ...] = ()
    faults: FaultBudget = field(default_factory=FaultBudget)
    rest: Rest = field(default_factory=Rest)
    lease_s: float = 600.0
    spool_mb: int = 2000
    notify: str = ""
    canary: int = 20
    tls: Tls = field(default_factory=Tls)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.robots:
            raise ConfigError(
                "fleet: it has no robots: list at least one under `robots`, such as bench-1: {workcell: bench-1.yaml}"
            )
        for name in (self.name, *self.robots):
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"fleet: {name!r} is no name: letters, digits, - and _, at most 63, beginning with a letter or digit"
                )
        if self.episodes < 1 or self.spool_mb < 1 or self.lease_s <= 0 or self.canary < 0:
            raise ConfigError(
                "fleet: episodes and spool_mb must be at least 1, lease_s positive, canary not negative; "
                f"got {self.episodes}, {self.spool_mb}, {self.lease_s} and {self.canary}"
            )
        if self.notify and not self.notify.startswith(("http://", "https://")):
            raise ConfigError(f"fleet: notify must be the http:// or https:// URL of a webhook, got {self.notify!r}")


def load_fleet(path: Path) -> FleetConfig:
    """Read a fleet's file, with all paths made absolute.

    Raises:
        UnknownNameError: A key, or a workcell of a robot that is started here, does not exist.
        ConfigError: The file cannot be read, has a robot twice, or a value is invalid; the message names the key.
    """
    data = read_yaml(path)
    _check_twice(path)
    config = validate(FleetConfig, data, str(path))
    beside = path.resolve().parent
    robots = {}
    for name, robot in config.robots.items():
        workcell = _beside(robot.workcell, beside)
        robots[name] = replace(robot, workcell=workcell)
        if robot.at == "here":
            try:
                load_workcell(workcell)
            except UnknownNameError as error:
                raise UnknownNameError("workcell", robot.workcell, error.choices, f"Of robot {name!r} in {path}.") from error
    models = {kind: _beside(getattr(config.models, kind), beside) for kind in ("policy", "subgoals", "vlm")}
    preset = _beside(config.preset, beside)
    tls = Tls(certificate=_beside(config.tls.certificate, beside), key=_beside(config.tls.key, beside))
    return replace(config, robots=robots, models=FleetModels(**models), preset=preset, tls=tls)


def _beside(name: str, folder: Path) -> str:
    """Return the path of what lies beside the fleet's file, else the name as it is."""
    if not name or name.startswith(SIMULATED):
        scene = name.removeprefix(SIMULATED)
        return SIMULATED + _beside(scene, folder) if scene else name
    return str(folder / name) if (folder / name).exists() else name


def _check_twice(path: Path) -> None:
    """Refuse a robot that is listed twice: YAML would keep the second one without a word."""
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    for key, value in getattr(node, "value", ()):
        if key.value != "robots" or not isinstance(value, yaml.MappingNode):
            continue
        names = [inner.value for inner, _ in value.value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"{path}: two robots are called {twice[0]!r}; give each a name of its own")
