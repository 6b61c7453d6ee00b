"""`soar fleet`: several robots in one run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from soar.cli.fleet_rehearse import Rehearse

if TYPE_CHECKING:
    from soar.fleet.config import FleetConfig


@dataclass(frozen=True, kw_only=True)
class Up:
    """Let all robots of a fleet practise: start those that stand here, wait for those that join, until all episodes are there.

    Ctrl-C lets each robot end its episode; a second one stops them at once. The same command resumes.

    Example: soar fleet up lab.yaml --run runs/monday
    """

    file: Annotated[Path, tyro.conf.Positional]
    """The fleet's YAML file (docs/fleet.md)."""
    run_folder: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of the run: RUN/episodes is the dataset of all robots, RUN/events.jsonl the journal."""
    episodes: int | None = None
    """How many there shall be in the end; the file's number by default."""
    round: int = 0
    """Number of the round."""
    host: str = "127.0.0.1"
    """Address to listen on. By default only this machine's robots can join; 0.0.0.0 lets others, who need SOAR_TOKEN."""
    port: int = 0
    """Port to listen on; 0 for any that is free."""
    tokens: Path | None = None
    """YAML file of further tokens, and what each may do: look, label, drive, stop, promote (docs/fleet.md)."""
    dry_run: bool = False
    """Check the fleet's file and the models, say what the run would take at most, and end; no robot is opened."""

    def run(self) -> None:
        """Run it."""
        import sys

        from soar.cli.flags import changed, opening
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.evaluation.canary import canary_verdict
        from soar.fleet.config import load_fleet
        from soar.fleet.estimate import estimate
        from soar.fleet.running import check_reachable, run_fleet
        from soar.fleet.status import phases_said
        from soar.fleet.tokens import read_tokens

        config = changed(load_fleet(self.file), episodes=self.episodes)
        check_reachable(self.host)
        others = {} if self.tokens is None else read_tokens(self.tokens)
        opening(f"{len(config.robots)} robots", config.models.policy or "the base policy")
        if self.dry_run:
            for name, value in estimate(config):
                say(f"{name}: {value}")
            return

        def on_ready(url: str) -> None:
            sys.stderr.write(how_to_join(config, url, self.run_folder))

        with progress_bars() as report:
            count = run_fleet(
                config,
                self.run_folder,
                decide=canary_verdict,
                host=self.host,
                port=self.port,
                round=self.round,
                others=others,
                on_ready=on_ready,
                on_tick=lambda done, total, robots: report("episodes", min(done, total), total, phases_said(robots)),
            )
        say(f"{count} episodes of round {self.round} in {self.run_folder / 'episodes'}; `soar data stats` counts them.")


@dataclass(frozen=True, kw_only=True)
class Join:
    """Drive one robot of a fleet from this computer, until the fleet is told to stop.

    The process goes on by itself when the coordinator is away: episodes wait on this computer's disk and are delivered later,
    and when the lease ends the arm is left safe. SOAR_TOKEN holds the fleet's token.

    Example: soar fleet join http://10.0.0.5:8130 --robot bench-2 --workcell bench-2.yaml
    """

    url: Annotated[str, tyro.conf.Positional]
    """Address of the coordinator, as `soar fleet up` shows it."""
    robot: str
    """Name of the robot in the fleet's file."""
    workcell: str = ""
    """Its workcell's name or YAML file on this computer; what the fleet's file says by default."""
    spool: Path = Path("soar-spool")
    """Folder for episodes that wait to be delivered."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.fleet.member import run_member

        say(f"{self.robot} joins the fleet at {self.url} as soon as it answers; `soar fleet status` shows it from then on.")
        run_member(self.url, self.robot, workcell=self.workcell, spool=self.spool)


@dataclass(frozen=True, kw_only=True)
class _Asking:
    run_name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(name="run")]
    """Folder of the run, or address of its coordinator (with the token in SOAR_TOKEN)."""


@dataclass(frozen=True, kw_only=True)
class Status(_Asking):
    """Show what each robot of a fleet does.

    Example: soar fleet status runs/monday
    """

    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        """Run it."""
        import json

        from soar.cli.tables import print_fleet, say
        from soar.fleet.asking import ask

        state = ask(self.run_name, "GET", "/v1/status")
        if self.json:
            say(json.dumps(state, indent=1))
        else:
            print_fleet(state)


@dataclass(frozen=True, kw_only=True)
class _Order(_Asking):
    robot: tuple[str, ...] = ()
    """Which robots; all by default."""

    def _order(self, do: Literal["pause", "resume", "stop"]) -> None:
        from soar.cli.tables import print_fleet
        from soar.fleet.asking import ask

        print_fleet(ask(self.run_name, "POST", "/v1/orders", {"do": do, "robots": list(self.robot)}))


@dataclass(frozen=True, kw_only=True)
class Pause(_Order):
    """Let robots pause after the episode that they are at.

    Example: soar fleet pause runs/monday --robot bench-1
    """

    def run(self) -> None:
        """Run it."""
        self._order("pause")


@dataclass(frozen=True, kw_only=True)
class Resume(_Order):
    """Let robots go on: those that pause, that wait for a person, and that were stopped.

    Example: soar fleet resume runs/monday --robot bench-1
    """

    def run(self) -> None:
        """Run it."""
        self._order("resume")


@dataclass(frozen=True, kw_only=True)
class Stop(_Order):
    """Stop robots at once, in the middle of an episode, which is dropped; without --robot the fleet ends.

    A robot obeys within a second or two. For less, use the arm's own emergency stop.

    Example: soar fleet stop runs/monday
    """

    def run(self) -> None:
        """Run it."""
        from soar.fleet.asking import stop_processes
        from soar.remote.client import ModelAwayError

        try:
            self._order("stop")
        except ModelAwayError:
            # A coordinator that does not answer must not keep anybody from stopping the robots of this computer. One that
            # refuses does, and would start them again.
            if not self.robot and (stopped := stop_processes(Path(self.run_name))):
                from soar.cli.tables import say

                say(f"The coordinator does not answer; {stopped} robot processes of this computer were ended.")
                return
            raise


@dataclass(frozen=True, kw_only=True)
class Deploy(_Asking):
    """Bring a new policy to the robots of a fleet that works: each takes it over between two episodes.

    With --canary one robot tries it first; then all have it, or nobody: `soar fleet status` and the journal say why.

    Example: soar fleet deploy runs/monday --policy runs/train/policy --canary bench-1 --episodes 20
    """

    policy: str
    """Its folder, or ONNX file, on the coordinator's computer; or `base` or `language`, which come with SOAR."""
    canary: str = ""
    """The robot that tries it first; all robots have it at once by default."""
    episodes: int = 20
    """Attempts of the canary before it is decided."""

    def run(self) -> None:
        """Run it."""
        from soar.base_models import is_own
        from soar.cli.tables import print_fleet
        from soar.fleet.asking import ask

        # The coordinator knows where its own are.
        policy = self.policy if is_own(self.policy) else str(Path(self.policy).absolute())
        body = {"policy": policy, "canary": self.canary, "episodes": self.episodes}
        print_fleet(ask(self.run_name, "POST", "/v1/deploy", body, timeout_s=120.0))


@dataclass(frozen=True, kw_only=True)
class Logs:
    """Show what the processes of a fleet's robots said last.

    Example: soar fleet logs runs/monday --robot bench-1
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")]
    """Folder of the run."""
    robot: tuple[str, ...] = ()
    """Which robots; all by default."""
    lines: int = 20
    """How many lines of each."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.errors import UnknownNameError

        logs = {path.stem: path for path in sorted((self.run_folder / "logs").glob("*.log"))}
        for name in self.robot or logs:
            if name not in logs:
                raise UnknownNameError("robot", name, logs, f"{self.run_folder / 'logs'} has their logs.")
            said = logs[name].read_bytes().decode(errors="replace").splitlines()[-self.lines :]
            say(f"{name}:")
            for line in said:
                say(f"  {line}")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Show what a fleet's run came to: episodes a robot-hour, success over time, calls for a person, where the hours went.

    Example: soar fleet report runs/monday
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")]
    """Folder of the run; it may go on."""
    json: bool = False
    """Print JSON instead of tables."""

    def run(self) -> None:
        """Run it."""
        import dataclasses
        import json

        from soar.cli.tables import say
        from soar.reports.fleet_report import fleet_report

        report = fleet_report(self.run_folder)
        if self.json:
            say(json.dumps(dataclasses.asdict(report), indent=1))
        else:
            for table in report.tables():
                say(table + "\n")


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Let many robots practise in one run, on this machine or on many, with one coordinator (docs/fleet.md).

    Example: soar fleet up lab.yaml --run runs/monday
    """

    command: (
        Annotated[Up, tyro.conf.subcommand("up")]
        | Annotated[Join, tyro.conf.subcommand("join")]
        | Annotated[Status, tyro.conf.subcommand("status")]
        | Annotated[Pause, tyro.conf.subcommand("pause")]
        | Annotated[Resume, tyro.conf.subcommand("resume")]
        | Annotated[Stop, tyro.conf.subcommand("stop")]
        | Annotated[Deploy, tyro.conf.subcommand("deploy")]
        | Annotated[Report, tyro.conf.subcommand("report")]
        | Annotated[Rehearse, tyro.conf.subcommand("rehearse")]
        | Annotated[Logs, tyro.conf.subcommand("logs")]
    )

    def run(self) -> None:
        """Run it."""
        self.command.run()


def how_to_join(config: FleetConfig, url: str, run: Path) -> str:
    """Return what somebody who starts a fleet reads: where it is, and how robots of other computers join."""
    joining = [name for name, robot in config.robots.items() if robot.at == "join"]
    lines = [f"The coordinator listens at {url}; `soar fleet status {run}` asks it."]
    lines += [
        f"  on the computer of {name}: SOAR_TOKEN=… soar fleet join {url} --robot {name} --workcell FILE" for name in joining
    ]
    return "\n".join(lines) + "\n"
