"""Commands that change stores: labels, selections, repairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

_PROBABILITY, _PROGRESS = 0.5, 0.9
"""From where on it counts as success."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """Say yourself whether episodes succeeded. It outranks what models said; their labels are kept.

    Without --verdict you are asked in the terminal, about a sample: first and last frame, success or not. Episodes that have
    a label by NAME are not shown again.

    Example: soar data label runs/scene1/episodes --name ada --count 50

    Example: soar data label runs/scene1/episodes --name ada --episode 0-000012 --verdict failure
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    name: str
    """Who you are."""
    episode: str | None = None
    """Id of an episode; only this one."""
    verdict: Literal["success", "failure", "unclear"] | None = None
    """What you saw in EPISODE; nothing is asked then."""
    count: int = 20
    """At most so many are asked about."""
    where: str = ""
    """SQL that selects some of the episodes."""
    seed: int = 0
    """Of the order."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.errors import ConfigError
        from soar.tasks.labelling import label_episode, label_sample
        from soar.terminal import Terminal

        store = EpisodeStore(self.store)
        if self.verdict is not None:
            if self.episode is None:
                raise ConfigError("--verdict needs --episode, the id of the episode in which you saw it")
            label_episode(store, self.episode, name=self.name, verdict=self.verdict)
            say(f"{self.episode}: {self.verdict}")
            return
        terminal = Terminal(otherwise="say what you saw with --episode ID --verdict success, failure or unclear")
        done, left = label_sample(
            store, terminal, name=self.name, count=self.count, where=self.where, seed=self.seed, episode=self.episode
        )
        say(f"{done} episodes labelled; {left} more have no label by {self.name}.")


@dataclass(frozen=True, kw_only=True)
class Rejudge:
    """Let another model, the same by more frames, or a file of progress judge the success of stored episodes.

    Old labels are kept, and a person's outranks a model's.

    Example: soar data rejudge runs/scene1/episodes --vlm vlm.yaml --threshold 0.8

    Example: soar data rejudge runs/scene1/episodes --progress dataset/sarm_progress.parquet --threshold 0.9
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    vlm: str | None = None
    """Folder of a VQA model, or YAML file of a vision-language model; the model that comes with SOAR by default."""
    questions: Path | None = None
    """YAML file of questions (see `soar tasks questions`), for instructions that the rules do not understand."""
    where: str = ""
    """SQL that selects some of the episodes."""
    threshold: float | None = None
    """Least probability, or progress, that counts as success; 0.5 of a probability and 0.9 of progress by default."""
    sees: str = "last"
    """What of an attempt the model judges by: `last` frame, `changed`, `looks:8`, `film:8` …
    (docs/how-to/foundation-models.md)."""
    progress: Path | None = None
    """Parquet file of curves that another program, such as LeRobot's for SARM, computed on an export of this store: the
    progress at the last frame counts instead of a model's answer."""
    dataset: Path | None = None
    """That export, when the file is not in its folder."""
    column: str = ""
    """Where the progress stands: `progress_sparse`, `progress_dense` or `progress`; the first of them by default."""
    judge: str = ""
    """Name of the model whose curves they are; what the file says by default."""

    def run(self) -> None:
        """Run it."""
        from soar.errors import ConfigError

        if self.progress is not None:
            self._by_progress(self.progress)
        elif self.dataset or self.column or self.judge:
            raise ConfigError("--dataset, --column and --judge are about the file that --progress names")
        else:
            self._by_model()

    def _by_progress(self, path: Path) -> None:
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.errors import ConfigError
        from soar.formats.progress import read_progress
        from soar.tasks.rejudging import judge_by_progress

        if self.vlm or self.questions or self.sees != "last":
            raise ConfigError("--progress judges by the curves of a file: leave out --vlm, --questions and --sees")
        store, found = EpisodeStore(self.store), read_progress(path, dataset=self.dataset, column=self.column)
        name = self.judge or found.model
        if not name:
            raise ConfigError(f"{path} does not say whose curves it has: name the model with --judge")
        source = f"{name} {found.column}"
        with progress_bars() as report:
            done = judge_by_progress(
                store,
                found.curves,
                source=source,
                threshold=_PROGRESS if self.threshold is None else self.threshold,
                where=self.where or None,
                report=lambda count, total: report("episodes", count, total),
            )
        if done.unknown:
            say(f"skipped, the file has no curve of them: {len(done.unknown)} episodes, {done.unknown[0]} the first")
        say(f"{done.judged} episodes judged by {source}, {done.changed} verdicts changed, {done.present} were judged before")

    def _by_model(self) -> None:
        from soar.base_models import default_weights
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.tasks import SuccessDetector
        from soar.tasks.questions import task_finder
        from soar.tasks.rejudging import rejudge
        from soar.vlm.loading import load_vlm

        store = EpisodeStore(self.store)
        threshold = _PROBABILITY if self.threshold is None else self.threshold
        detector = SuccessDetector(load_vlm(self.vlm or str(default_weights("vqa"))), threshold, sees=self.sees)
        detector.check()
        with progress_bars() as report:
            done = rejudge(
                store,
                detector,
                where=self.where or None,
                task_of=task_finder(self.questions),
                report=lambda count, total: report("episodes", count, total),
            )
        for instruction in done.unknown:
            say(f"skipped, there is no question for it: {instruction!r}")
        changed = f"{done.changed} verdicts changed, {done.present} were judged before"
        say(f"{done.judged} episodes judged by {detector.id}, {changed}")


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Copy the episodes of one or several stores into another. With --where it selects some of them.

    Example: soar data merge monday/episodes tuesday/episodes --into week --where "success"
    """

    stores: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of the stores."""
    into: Path
    """Folder of the store that gets them; it is made when it is missing. What it has already is left out."""
    where: str = ""
    """SQL that selects some of the episodes."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.episodes.copying import merge

        sources = [EpisodeStore(path) for path in self.stores]
        with progress_bars() as report:
            done = merge(
                sources, self.into, where=self.where or None, report=lambda done, total: report("episodes", done, total)
            )
        say(f"{done}; {self.into}")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Divide the episodes of a store between two new ones, by chance.

    Example: soar data split my-robot --first train --second held-out --fraction 0.9
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    first: Path
    """Folder of the store that gets FRACTION of the episodes."""
    second: Path
    """Folder of the store that gets the others."""
    fraction: float = 0.9
    """Between 0 and 1."""
    seed: int = 0
    """Which episodes they are."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.episodes.copying import split

        parts = split(EpisodeStore(self.store), self.first, self.second, fraction=self.fraction, seed=self.seed)
        for done, folder in zip(parts, (self.first, self.second), strict=True):
            say(f"{done}; {folder}")


@dataclass(frozen=True, kw_only=True)
class Delete:
    """Delete episodes. Pinned versions from before still show them.

    Example: soar data delete my-robot --episodes 0-000012 0-000013
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    episodes: tuple[str, ...]
    """Ids of the episodes."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore

        store = EpisodeStore(self.store)
        for id in self.episodes:
            store.delete(id)
            say(f"deleted {id}")


@dataclass(frozen=True, kw_only=True)
class Compact:
    """Merge the small files that many appends left, so that reading is faster.

    Example: soar data compact runs/scene1/episodes
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore

        EpisodeStore(self.store).compact()
        say(f"compacted {self.store}")


@dataclass(frozen=True, kw_only=True)
class Tag:
    """Give the present state of a store a name, to train from it again later; without --name, list the names.

    STORE@NAME means that state for every command that reads a store. STORE@STEPS.EPISODES means the state with these versions
    of the two tables, as the lineage of a policy states them.

    Example: soar data tag my-robot --name paper

    Example: soar train gcbc --pretraining my-robot@paper --out policy
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    name: str | None = None
    """The name: letters, digits, dots and dashes. It means one state for ever."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.episodes.tags import set_tag, tags_of

        store = EpisodeStore(self.store)
        if self.name is not None:
            set_tag(store.uri, self.name, store.version)
        for name, version in tags_of(store.uri).items():
            say(f"{store.uri}@{name}: {EpisodeStore(store.uri, version=version).count()} episodes, {version}")


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Find what is broken in a store: orphaned or missing steps, wrong counts, duplicate ids. Healthy rows are never touched.

    Commands of the gripper that are not 0 (closed) to 1 (open), or always the same, and lengths and angles that are no metres
    and radians are named, too; no repair can tell them.

    Example: soar data doctor runs/scene1/episodes --frames --fix
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    frames: bool = False
    """Also look whether every frame is a JPEG, which means to read the whole store."""
    fix: bool = False
    """Repair what is found. Nobody may write to the store meanwhile."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.episodes.gripper import examine_gripper
        from soar.episodes.integrity import examine, repair
        from soar.episodes.magnitudes import examine_magnitudes
        from soar.errors import StoreError

        uri = str(self.store)
        findings = examine(uri, check_frames=self.frames)
        for finding in findings:
            say(f"{finding.kind}: {finding.episode} {finding.detail}".replace(":  ", ": "))
        if findings and not self.fix:
            raise StoreError(
                f"{uri}: {len(findings)} things are wrong; repair them with --fix, or restore the store from a copy"
            )
        if findings:
            repair(uri, findings)
        left = examine(uri, check_frames=self.frames)
        if left:
            raise StoreError(f"{uri}: {len(left)} of {len(findings)} things could not be repaired; restore it from a copy")
        store = EpisodeStore(self.store)
        odd = [found for found in (examine_gripper(store), *examine_magnitudes(store)) if found[0]]
        for text, wrong in odd:
            if not wrong:
                say(f"warning: {text}")
        if any(wrong for _, wrong in odd):
            raise StoreError(f"{uri}: {'; and '.join(text for text, wrong in odd if wrong)}")
        say(f"{uri} is sound" + (f", {len(findings)} things were repaired" if findings else ""))
