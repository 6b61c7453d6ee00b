"""`soar robot check`: what an unattended night needs, before it. `soar robot box`: the workspace and the reference picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from soar.robots.checks import Finding
    from soar.robots.workcell import Workcell


@dataclass(frozen=True, kw_only=True)
class Check:
    """Try all that an unattended night needs of a workcell, and say what to do where something is missing.

    Connection, camera, motors, home, motions along and about each axis, gripper, the corners of the box and that beyond it is
    refused, a lost connection, a reboot, the models and whether they know the scene's words, the disk, and some episodes that
    are thrown away. Nothing moves before it was said what will move and somebody said yes. Status 0 when everything is well,
    2 when something is not.

    Example: soar robot check --workcell bench.yaml --run runs/tonight --subgoals susie.yaml --vlm vlm.yaml
    """

    workcell: str
    """Name of the workcell, or path of its YAML file (docs/how-to/your-robot.md)."""
    policy: str | None = None
    """The policy of the night, as `soar collect` takes it; the one that comes with SOAR by default."""
    subgoals: str | None = None
    """Its subgoal model; by default the one that comes with SOAR, which knows the words of the simulated tabletop."""
    vlm: str | None = None
    """Its vision-language model; by default the one that comes with SOAR, which knows the words of the simulated tabletop."""
    run_folder: Annotated[Path, tyro.conf.arg(name="run")] = Path("runs")
    """Where the night's episodes will go: is there room?"""
    episodes: int = 300
    """How many there will be."""
    dry_run: int = 10
    """Episodes to try all of it with, which are thrown away; 0 for none."""
    yes: bool = False
    """Nobody is asked: you know what will move."""
    json: Path | None = None
    """File for the findings."""

    def run(self) -> None:
        """Run it."""
        import sys

        from soar.errors import SoarError
        from soar.files import write_json
        from soar.robots.checks import Finding, check_robot, plan
        from soar.robots.workcell import load_workcell

        config = load_workcell(self.workcell)
        sys.stdout.write("What will move:\n" + "".join(f"  {sentence}\n" for sentence in plan(config)))
        if self.dry_run:
            sys.stdout.write(f"  Then the robot practises: {self.dry_run} episodes, which are thrown away.\n")
        _agree(self.yes)
        findings: list[Finding] = []

        def tell(finding: Finding) -> None:
            findings.append(finding)
            mark = {True: "✓", False: "✗", None: "?"}[finding.ok]
            advice = f"\n    → {finding.advice}" if finding.advice and finding.ok is not True else ""
            sys.stdout.write(f"{mark} {finding.check}: {finding.detail}{advice}\n")
            sys.stdout.flush()

        finished = False
        try:
            reference = _reference(config.reference)
            with config.open(image_size=None) as workcell:
                works = check_robot(workcell, reference, tell)
                models = self._models(workcell, tell)
                self._disk(workcell, tell)
                if works and models is not None and self.dry_run:
                    self._practise(workcell, models, tell)
            finished = True
        except SoarError as error:
            findings.append(Finding(check="workcell", ok=False, detail=str(error)))
            raise
        finally:
            if self.json is not None:
                rows = [
                    {"check": one.check, "ok": one.ok, "detail": one.detail, "advice": "" if one.ok else one.advice}
                    for one in findings
                ]
                well = finished and all(one.ok is not False for one in findings)
                write_json(self.json, {"workcell": config.name, "ok": well, "rows": rows})
        wrong = [finding.check for finding in findings if finding.ok is False]
        if wrong:
            raise SoarError(f"not ready for the night: {', '.join(wrong)}. Do what stands there at →, and check again.")
        sys.stdout.write("ready for the night\n")

    def _models(self, workcell: Workcell, tell: Any) -> Any:
        from soar.base_models import default_weights, policy_named
        from soar.collect.models import Models, check_models
        from soar.collect.words import check_words
        from soar.errors import SoarError
        from soar.extras import advice
        from soar.robots.checks import Finding

        models = Models(
            policy=policy_named(self.policy or ""),
            subgoals=self.subgoals or str(default_weights("subgoal")),
            vlm=self.vlm or str(default_weights("vqa")),
        )
        try:
            policy = check_models(models)
        except SoarError as error:
            tell(Finding(check="models", ok=False, detail=str(error), advice="start the servers, or correct the names"))
            return None
        except ImportError as error:
            if not (said := advice(error)):
                raise
            tell(Finding(check="models", ok=False, detail=said, advice="install that, or name models behind URLs"))
            return None
        tell(Finding(check="models", ok=True, detail=f"{policy.id}, {models.subgoals}, {models.vlm} answer"))
        for finding in check_words(models, policy, workcell.scene.tasks):
            tell(finding)
        return models

    def _disk(self, workcell: Workcell, tell: Any) -> None:
        import shutil

        from soar.episodes.jpeg import encode
        from soar.robots.checks import Finding
        from soar.types import SUBGOAL_STEPS, SUBGOALS_PER_EPISODE

        above = next(path for path in (self.run_folder, *self.run_folder.absolute().parents) if path.exists())
        frames = SUBGOAL_STEPS * SUBGOALS_PER_EPISODE + SUBGOALS_PER_EPISODE + 1
        image = workcell.robot.observe().image_HWC
        needed, free = 1.5 * self.episodes * frames * len(encode(image)), shutil.disk_usage(above).free
        tell(
            Finding(
                check="disk",
                ok=free > needed,
                detail=f"{self.episodes} episodes take about {needed / 1e9:.2g} GB; {free / 1e9:.3g} GB are free at {above}",
                advice="make room, or name another folder with --run",
            )
        )

    def _practise(self, workcell: Workcell, models: Any, tell: Any) -> None:
        import tempfile
        import time

        from soar.collect.config import CollectionConfig
        from soar.errors import RobotFault, SoarError
        from soar.event_log import read_journal
        from soar.fleet.session import SessionConfig, run_session
        from soar.robots.checks import Finding

        with tempfile.TemporaryDirectory(prefix="soar-check-") as folder:
            journal = Path(folder) / "events.jsonl"
            session = SessionConfig(
                models=models,
                workcell=self.workcell,
                robot=workcell.name,
                image_size=None,
                store=f"{folder}/episodes",
                journal=str(journal),
                episodes=self.dry_run,
                run="check",
                round=0,
                seed=0,
                config=CollectionConfig(episodes=self.dry_run),
            )
            begun, stopped = time.monotonic(), ""
            try:
                run_session(workcell, session)
            except SoarError as error:
                stopped = error.detail if isinstance(error, RobotFault) else str(error)
            done, faults = len(read_journal(journal, "episode")), read_journal(journal, "fault")
            minutes = (time.monotonic() - begun) / 60
        rate = (
            f", {60 * minutes / done:.0f} s each: {self.episodes} take {self.episodes * minutes / done / 60:.1f} hours"
            if done
            else ""
        )
        kinds = f"; faults: {', '.join(str(fault['kind']) for fault in faults)}" if faults else ""
        tell(
            Finding(
                check="dry run",
                ok=not stopped and done == self.dry_run and len(faults) <= done // 10,
                detail=f"{done} of {self.dry_run} episodes{rate}{kinds}{f'; {stopped}' if stopped else ''}",
                advice="mend what stands there; one fault in ten episodes is a person's night: find its cause first",
            )
        )


@dataclass(frozen=True, kw_only=True)
class Box:
    """Drive the gripper to the extremes of where it may be; write box and reference picture into the workcell's file.

    Keys move it by a centimetre, or move it by hand where the arm lets you: w s forward and back, a d left and right, r f up
    and down, Enter when it was everywhere, q to leave everything as it is. It is kept within 50 cm of the base meanwhile and
    out of nothing else: watch it. What it was within is the box, and the last picture, with the arm at home, is the
    reference.

    Example: soar robot box --workcell bench.yaml
    """

    workcell: Path
    """The workcell's YAML file, which is rewritten."""
    yes: bool = False
    """Nobody is asked: you know that the arm will move."""

    def run(self) -> None:
        """Run it."""
        import dataclasses
        import sys

        from soar.robots.measuring import KEYS, keys, measure, write_box
        from soar.robots.workcell import load_workcell
        from soar.types import WorkspaceBox

        config = load_workcell(str(self.workcell))
        robot = config.robot.device or config.robot.driver
        sys.stdout.write(f"What will move: the arm goes home, and by your keys. It is {robot}.\n")
        _agree(self.yes)
        wide = WorkspaceBox(low=(-0.5, -0.5, 0.0), high=(0.5, 0.5, 0.5))
        with dataclasses.replace(config, workspace=wide).open(image_size=None) as workcell:
            workcell.robot.home()
            sys.stdout.write(f"{KEYS}\n")
            sys.stdout.flush()
            with keys() as pressed:
                box = measure(workcell.robot, pressed, sys.stdout.write)
            if box is None:
                sys.stdout.write("nothing was changed\n")
                return
            workcell.robot.home()
            picture = write_box(self.workcell, box, workcell.robot.observe().image_HWC)
        sys.stdout.write(f"\n{self.workcell}: workspace {list(box.low)} to {list(box.high)} m; reference {picture.name}\n")


def _agree(yes: bool) -> None:
    """Go on only when somebody says so.

    Raises:
        SoarError: Nobody does.
    """
    from soar.errors import SoarError
    from soar.terminal import Terminal

    if (
        not yes
        and Terminal(otherwise="say --yes").ask(None, "Is everybody clear of the arm, and may it move?", ["y", "n"]) != "y"
    ):
        raise SoarError("you did not say y, so that nothing has moved. Run the command again when the arm may move")


def _reference(path: Path | None) -> Any:
    import cv2

    from soar.errors import ConfigError

    if path is None:
        return None
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ConfigError(f"reference: {path} is no picture; `soar robot box` takes a new one")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
