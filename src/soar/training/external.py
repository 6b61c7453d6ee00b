"""A learner of somebody else's: any command that makes a checkpoint of a dataset (see `soar.training.learner.Learner`).

    FOLDER/training/dataset    the chosen episodes, LeRobot v3 or RLDS, with success and probability as columns, and of each
                               a stretch without a reflex (`soar.formats.own_steps`), since nobody imitates reflexes
    FOLDER/training/command.*  log, process and status of the command (`soar.training.commands`)
    FOLDER/training/out        what it made
    FOLDER/policy.yaml, …      the candidate, which names what it made (`soar.policies.named`)

export ─► command ─► checkpoint? ─► serve it ─► probe it on a frame of the episodes ─► candidate

Whatever goes wrong with the command or with what it leaves is a `LearnerError` with its words. What is finished is not done
again: neither the export nor the command, which is found again while it runs, if its loop was killed. A command that was
stopped begins anew, in an `out` that is not there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from soar.episodes import EpisodeStore
from soar.episodes.copying import merge
from soar.errors import ConfigError, FormatError, LearnerError, SoarError
from soar.formats.lerobot_export import export_lerobot
from soar.formats.rlds_export import export_rlds
from soar.policies.lineage import Lineage, git_revision
from soar.policies.loading import load_policy
from soar.policies.named import OWN_FILE, Named, id_in, read_named, write_named
from soar.policies.probing import Situation, probe
from soar.robots.safety import SafetyLimits
from soar.tasks.scoring import scores_of
from soar.training.commands import Command, check_places, filled, places_in, words_of
from soar.training.cotraining import AutonomousData
from soar.training.learner import LearningData, OnStep
from soar.training.served import CHECKPOINT, PORT, serving, texts_in, write_policy_file
from soar.types import Observation, WorkspaceBox

_COMMAND = ("dataset", "out", "base", "pretraining", "seed", "device")
_ASKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalLearnerConfig:
    """Somebody else's learner; `improvement.learner` of a preset.

    Attributes:
        command: Its words; {dataset} is the folder of the chosen episodes and {out} a folder for it to make. {base} is the
            checkpoint to go on from, {pretraining} the folder of the demonstrations, {seed} and {device} what the run says.
        checkpoint: What it leaves, below {out}.
        policy: How a candidate is opened, with {checkpoint} and {port}: a policy's name, or what stands in a policy file.
        serve: Words of its server, with {checkpoint} and {port}, which runs while the candidate is used; empty: none is needed.
        base: What {base} is as long as no candidate is deployed.
        format: Of the dataset.
        cotrain: Whether it has the demonstrations, too, so that what was learned from them is not forgotten (the paper's
            co-training); those that were judged failures are left out.
        scores: Whether it has weights, advantages and progress as columns (`soar.tasks.scoring`); what has no verdict is left
            out.
        timeout_s: For the command.
        serve_timeout_s: Until the server answers.
    """

    command: str
    checkpoint: str = "."
    policy: str | dict[str, Any] = "{checkpoint}"
    serve: str = ""
    base: str = ""
    format: Literal["lerobot", "rlds"] = "lerobot"
    cotrain: bool = False
    scores: bool = False
    timeout_s: float = 86_400.0
    serve_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        where = "improvement.learner"
        check_places(f"{where}.command", self.command, _COMMAND, ("dataset", "out"))
        check_places(f"{where}.serve", self.serve, (CHECKPOINT, PORT), (CHECKPOINT,) if self.serve else ())
        for name in ("command", "serve"):
            try:
                self.words(name)
            except ValueError as error:
                raise ConfigError(f"{where}.{name}: these are no words of a command: {error}") from error
        text = " ".join(texts_in(self.policy))
        check_places(f"{where}.policy", text, (CHECKPOINT,) if isinstance(self.policy, str) else (CHECKPOINT, PORT))
        if PORT in places_in(text) and PORT not in places_in(self.serve):
            raise ConfigError(f"{where}.policy asks at {{port}}, and nobody serves there: give `serve` that place, too")
        if "base" in places_in(self.command) and not self.base:
            raise ConfigError(f"{where}.command has a {{base}}: say with `base` what that is before a candidate is deployed")
        if self.cotrain and self.scores:
            raise ConfigError(f"{where}: demonstrations have no scores: leave out `cotrain` or `scores`")
        if min(self.timeout_s, self.serve_timeout_s) <= 0:
            raise ConfigError(
                f"{where}: timeout_s and serve_timeout_s must be positive, got {self.timeout_s} and {self.serve_timeout_s}"
            )

    def words(self, name: str) -> list[str]:
        """Return the words of `command` or `serve`, with nothing filled in."""
        return words_of(getattr(self, name), {place: "" for place in (*_COMMAND, CHECKPOINT, PORT)})

    def check_programs(self) -> None:
        """Refuse commands that are not installed.

        Raises:
            ConfigError: There is no such program.
        """
        for name in ("command", "serve"):
            words = self.words(name)
            if words and shutil.which(words[0]) is None:
                raise ConfigError(f"improvement.learner.{name}: there is no program {words[0]!r}. Install it, or name its path")

    @property
    def wants_pretraining(self) -> bool:
        """Whether the command learns from the demonstrations, too."""
        return self.cotrain or "pretraining" in places_in(self.command)


@dataclass(frozen=True, slots=True)
class ExternalLearner:
    """Runs a command on what was collected, and takes what it leaves for a candidate.

    Args:
        config: Of the command.
        limits: Of one action, with which the candidate's actions are compared.
        workspace: Of the robot.
    """

    config: ExternalLearnerConfig
    limits: SafetyLimits
    workspace: WorkspaceBox

    def check(self, base: Path) -> str:
        """Return the id of the policy that begins; any will do, since it is the command that learns.

        Raises:
            ConfigError: The command, or its server's, is not installed.
        """
        self.config.check_programs()
        return load_policy(str(base)).id

    def learn(
        self,
        base: Path | None,
        data: LearningData,
        folder: Path,
        *,
        seed: int,
        device: str = "cpu",
        on_step: OnStep | None = None,
    ) -> Path:
        """Make a candidate.

        Raises:
            LearnerError: The command fails, hangs, or leaves no policy that can be used.
            StoreError: There is no episode to learn from.
        """
        if read_named(folder) is not None:
            return folder
        assert data.autonomous is not None  # there is nothing to learn from otherwise
        work = folder.absolute() / "training"
        store = EpisodeStore(data.autonomous.store, version=data.autonomous.version)
        values = {
            "dataset": str(self._dataset(store, data, work)),
            "out": str(work / "out"),
            "base": self._checkpoint(base),
            "pretraining": self._pretraining(data, work),
            "seed": str(seed),
            "device": device,
        }
        self._run(values, work, on_step or (lambda done, total, metrics: None))
        checkpoint = work / "out" / self.config.checkpoint
        if not checkpoint.exists():
            command = Command(work / "command")
            raise LearnerError(
                f"the command left no {self.config.checkpoint} in {work / 'out'}. It said last: {command.last_words()}; all of "
                f"it is in {command.log}"
            )
        self._take(checkpoint, folder, base, store, data)
        return folder

    def _dataset(self, store: EpisodeStore, data: LearningData, work: Path) -> Path:
        """Return the folder of what the command learns from."""
        assert data.autonomous is not None
        where, out = data.autonomous.filter(), work / "dataset"
        if not self.config.cotrain or self._folder(out).exists():
            return self._exported(store, where, out, scored=self.config.scores)
        together = work / "episodes"
        shutil.rmtree(together, ignore_errors=True)  # of one that was stopped: demonstrations may be others now
        demonstrations = EpisodeStore(data.pretraining)
        if not merge([demonstrations], together, where="success IS NULL OR success").copied:
            raise LearnerError(f"cotrain: {data.pretraining} has no demonstration that is not a failure")
        merge([store], together, where=where)
        try:
            return self._exported(EpisodeStore(together), None, out)
        except FormatError as error:
            raise LearnerError(
                f"cotrain: the demonstrations in {data.pretraining} and what was collected do not fit in one dataset ({error})"
            ) from error
        finally:
            shutil.rmtree(together, ignore_errors=True)

    def _folder(self, out: Path) -> Path:
        return out / "soar_dataset" / "1.0.0" if self.config.format == "rlds" else out

    def _exported(self, store: EpisodeStore, where: str | None, out: Path, *, scored: bool = False) -> Path:
        """Return the folder of a dataset, which appears whole or not at all."""
        if self._folder(out).exists():
            return self._folder(out)
        # An advantage is over all attempts at a task, whichever are learned from.
        scores = scores_of(store.episodes()).scores if scored else None
        export = export_rlds if self.config.format == "rlds" else export_lerobot
        return export(store, out, where=where, scores=scores, cut_reflexes=True)

    def _pretraining(self, data: LearningData, work: Path) -> str:
        if "pretraining" not in places_in(self.config.command):
            return ""
        return str(self._exported(EpisodeStore(data.pretraining), None, work / "pretraining"))

    def _checkpoint(self, base: Path | None) -> str:
        named = None if base is None else read_named(base)
        if base is None or named is None or CHECKPOINT not in named.more:
            return self.config.base
        return str(base.absolute() / str(named.more[CHECKPOINT]))

    def _run(self, values: Mapping[str, str], work: Path, on_step: OnStep) -> None:
        """Run the command to its end, or wait for one that runs already."""
        command, out = Command(work / "command"), Path(values["out"])
        if command.status is None and not command.running:
            shutil.rmtree(out, ignore_errors=True)  # of one that was stopped
            command.begin(words_of(self.config.command, values))
        try:
            status = command.wait(
                self.config.timeout_s, lambda passed_s: on_step(int(passed_s), int(self.config.timeout_s), {})
            )
            late = status is None and command.running
        finally:
            command.stop()  # whatever interrupts this process; what ended by itself is not touched
        if status == 0:
            return
        how = "was killed" if status is None else f"ended with status {status}"
        if late:
            how = f"did not end in {self.config.timeout_s:g} s (timeout_s), and was stopped"
        raise LearnerError(f"the command {how}. It said last: {command.last_words()}; all of it is in {command.log}")

    def _take(self, checkpoint: Path, folder: Path, base: Path | None, store: EpisodeStore, data: LearningData) -> None:
        """Serve and probe what the command left, and write the candidate's folder."""
        assert data.autonomous is not None
        versions = {"autonomous": store.version}
        if self.config.wants_pretraining:
            versions["pretraining"] = EpisodeStore(data.pretraining).version
        config, where = self.config, folder.absolute()
        path = os.path.relpath(checkpoint, where)
        more = {CHECKPOINT: path, "serve": config.serve, "policy": config.policy, "serve_timeout_s": config.serve_timeout_s}
        name = filled(config.policy, {CHECKPOINT: path}) if isinstance(config.policy, str) else OWN_FILE
        unproven = Named(id="", behind="", name=name, folder=where, more=more)
        try:
            if not config.serve:
                write_policy_file(unproven)
            with serving(unproven) if config.serve else nullcontext():
                policy = load_policy(unproven.target)
                wrong = [one for one in probe(policy, self._situation(store, data.autonomous), _ASKS) if one.ok is False]
        except LearnerError:
            raise
        except SoarError as error:
            raise LearnerError(f"what the command left cannot be opened: {error}") from error
        if wrong:
            said = "; ".join(f"{one.check}: {one.detail}" for one in wrong)
            raise LearnerError(f"what the command left cannot be used: {said}")
        parent = "" if base is None else id_in(base)
        lineage = Lineage(parent=parent, data=versions, revision=git_revision())
        id = f"{policy.id}@{_digest(checkpoint)}"
        write_named(Named(id=id, behind=policy.id, name=name, folder=where, more=more), lineage)

    def _situation(self, store: EpisodeStore, autonomous: AutonomousData) -> Situation:
        records = store.episodes(autonomous.filter())
        episode = store.read(records[0].id)
        return Situation(
            observation=Observation(
                image_HWC=episode.images_THWC[0],
                state=episode.states_TD[0],
                extra_images={camera: images_THWC[0] for camera, images_THWC in episode.extra_images.items()},
            ),
            instruction=episode.instruction,
            another=next((one.instruction for one in records if one.instruction != episode.instruction), ""),
            limits=self.limits,
            workspace=self.workspace,
        )


def _digest(checkpoint: Path) -> str:
    """Return what tells a checkpoint from all others: names and bytes of its files."""
    whole = hashlib.sha256()
    paths = sorted(path for path in checkpoint.rglob("*") if path.is_file()) if checkpoint.is_dir() else [checkpoint]
    for path in paths:
        whole.update(os.fsencode(path.relative_to(checkpoint)) + b"\0")
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:8]
