"""`soar policy probe`: what a policy wants and gives, before a robot moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from soar.cli.flags import opening, workcell_name

if TYPE_CHECKING:
    from soar.policies.base import Policy
    from soar.policies.probing import Situation


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Ask a policy about what a workcell's cameras see, and say what comes: shapes, ranges, how long it takes, how sure it is.

    Nothing is executed. Some robots go to a pose of theirs when they are opened; with --picture the robot is not opened at all.
    Status 0 when the policy can be used, 2 when it cannot.

    Example: soar policy probe pi0.yaml --workcell bench.yaml
    """

    policy: Annotated[str | None, tyro.conf.Positional] = None
    """As `soar collect` takes it: a folder, an ONNX file, a URL, MODULE:NAME, a policy file (docs/how-to/your-policy.md); the
    one that comes with SOAR by default, `language` for the one that follows instructions."""
    workcell: str | None = None
    """A robot in front of a scene: name of a workcell, or path of its YAML file."""
    scene: str | None = None
    """The simulated workcell of a scene. scene1, when no workcell is named."""
    picture: Path | None = None
    """A picture of the table to ask about instead, in the middle of the workspace; the robot is not opened, and all its cameras
    see this."""
    task: str | None = None
    """The instruction; the scene's first by default."""
    asks: int = 20
    """How often the policy is asked."""
    json: Path | None = None
    """File for the findings."""

    def run(self) -> None:
        """Run it."""
        from soar.base_models import policy_named
        from soar.cli.tables import say
        from soar.errors import ConfigError, SoarError
        from soar.files import write_json
        from soar.policies.loading import load_policy
        from soar.policies.probing import probe

        if self.asks < 2:
            raise ConfigError(f"--asks {self.asks}: whether equal observations get equal actions takes two")
        name = policy_named(self.policy or "")
        opening(name, workcell_name(self.workcell, self.scene))
        policy = load_policy(name)
        findings = []
        for finding in probe(policy, self._situation(policy), self.asks):
            findings.append(finding)
            mark = {True: "✓", False: "✗", None: "?"}[finding.ok]
            advice = f"\n    → {finding.advice}" if finding.advice and finding.ok is not True else ""
            say(f"{mark} {finding.check}: {finding.detail}{advice}")
        wrong = [finding.check for finding in findings if finding.ok is False]
        if self.json is not None:
            rows = [{"check": one.check, "ok": one.ok, "detail": one.detail} for one in findings]
            write_json(self.json, {"policy": policy.id, "ok": not wrong, "rows": rows})
        if wrong:
            raise SoarError(f"this policy cannot be used here: {', '.join(wrong)}. Do what stands there at →, and probe again.")

    def _situation(self, policy: Policy) -> Situation:
        """Return what the workcell sees now, or what the picture shows; with its limits and its box."""
        import numpy as np

        from soar.cli.pictures import read_picture
        from soar.errors import UnknownNameError
        from soar.policies.probing import Situation
        from soar.robots.workcell import load_workcell
        from soar.types import Observation

        cell = load_workcell(workcell_name(self.workcell, self.scene))
        if self.picture is None:
            with cell.open(image_size=policy.image_size) as workcell:
                observation, scene = workcell.robot.observe(), workcell.scene
        else:
            middle = np.mean([cell.workspace.low, cell.workspace.high], 0)
            state = np.array([*middle, 0.0, 0.0, 0.0, 1.0], np.float32)
            picture, scene = read_picture(self.picture), cell.scene.scene(None)
            further = {camera: picture for camera in cell.cameras}
            observation = Observation(image_HWC=picture, state=state, extra_images=further)
        known = [task.instruction for task in scene.tasks]
        if self.task is not None and self.task not in known:
            raise UnknownNameError("task", self.task, known, f"In scene {scene.name!r}.")
        instruction = self.task or known[0]
        return Situation(
            observation=observation,
            instruction=instruction,
            another=next((other for other in known if other != instruction), ""),
            limits=cell.robot.limits,
            workspace=cell.workspace,
        )
