"""Commands that write datasets of other formats from a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from soar.episodes import EpisodeStore
    from soar.episodes.scores import Score


def _scores(store: EpisodeStore, where: str, maker: str) -> dict[str, Score] | None:
    from soar.episodes.scores import scores_by

    return scores_by(store.episodes(where or None), maker, store.uri) if maker else None


@dataclass(frozen=True, kw_only=True)
class ExportRLDS:
    """Write an RLDS dataset in SOAR-Data's schema, which tensorflow_datasets loads with builder_from_directory.

    Example: soar data export rlds runs/scene1/episodes --out datasets --name my_robot
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    out: Path
    """Folder of datasets; the dataset goes to OUT/NAME/VERSION."""
    where: str = ""
    """SQL that selects some of the episodes."""
    name: str = "soar_dataset"
    """Name of the dataset: letters, digits and underscores."""
    camera: str = "image_0"
    """What the main camera is called; further ones keep their names."""
    other_cameras: bool = True
    """Write further cameras, too; episodes must have the same."""
    version: str = "1.0.0"
    """Version of the dataset."""
    license: str = "cc-by-4.0"
    """For the dataset's card."""
    scores: str = ""
    """Whose scores become columns (`soar data score` makes some); episodes without one are left out. None by default."""
    cut_reflexes: bool = False
    """Write of each episode only a stretch without a reflex, the last in which the hand went somewhere, for learners that
    imitate whole episodes."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.formats.rlds_export import export_rlds

        store = EpisodeStore(self.store)
        with progress_bars() as report:
            folder = export_rlds(
                store,
                self.out,
                where=self.where or None,
                name=self.name,
                camera=self.camera,
                other_cameras=self.other_cameras,
                version=self.version,
                license=self.license,
                scores=_scores(store, self.where, self.scores),
                cut_reflexes=self.cut_reflexes,
                report=lambda done, total: report("episodes", done, total),
            )
        say(f"dataset: {folder}")


@dataclass(frozen=True, kw_only=True)
class ExportLeRobot:
    """Write a LeRobotDataset v3.0: video, tasks, verdict and lineage of each episode; subgoals in a file of their own.

    Example: soar data export lerobot runs/scene1/episodes --out my_robot --where "success"
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    out: Path
    """Folder of the dataset; it must not exist."""
    where: str = ""
    """SQL that selects some of the episodes."""
    camera: str = "image_0"
    """What the main camera is called; further ones keep their names."""
    other_cameras: bool = True
    """Write further cameras, too; episodes must have the same."""
    codec: Literal["av1", "h264"] = "av1"
    """Of the video: av1 is LeRobot's own, h264 is faster."""
    license: str = "cc-by-4.0"
    """For the dataset's card."""
    scores: str = ""
    """Whose scores become columns (`soar data score` makes some); episodes without one are left out. None by default."""
    cut_reflexes: bool = False
    """Write of each episode only a stretch without a reflex, the last in which the hand went somewhere, for learners that
    imitate whole episodes."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.formats.lerobot_export import export_lerobot

        store = EpisodeStore(self.store)
        with progress_bars() as report:
            export_lerobot(
                store,
                self.out,
                where=self.where or None,
                camera=self.camera,
                other_cameras=self.other_cameras,
                codec=self.codec,
                license=self.license,
                scores=_scores(store, self.where, self.scores),
                cut_reflexes=self.cut_reflexes,
                report=lambda done, total: report("episodes", done, total),
            )
        say(f"dataset: {self.out}")


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write episodes as a dataset of another format, with a card that describes it.

    Example: soar data export lerobot runs/scene1/episodes --out my_robot
    """

    command: (
        Annotated[ExportLeRobot, tyro.conf.subcommand("lerobot", prefix_name=False)]
        | Annotated[ExportRLDS, tyro.conf.subcommand("rlds", prefix_name=False)]
    )

    def run(self) -> None:
        """Run it."""
        self.command.run()
