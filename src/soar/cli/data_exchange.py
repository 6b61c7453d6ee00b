"""Commands that read datasets of other formats into a store, and write them from one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from soar.formats.steps import Dataset, Unsaid
    from soar.formats.vector_maps import VectorConfig

Actions = Literal["commanded", "reached"]


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the files do not say, and you may know; it is recorded with each episode."""

    scene: str = ""
    """Name of the scene."""
    policy: str = ""
    """Who acted, for example `human`."""
    robot: str = ""
    """Name of the robot."""
    vlm: str = ""
    """The model that proposed the tasks and judged success."""
    subgoal_model: str = ""
    """The model that generated the subgoals."""
    run: str = ""
    """A name for all that is imported."""

    def unsaid(self) -> Unsaid:
        """Return it as the readers want it."""
        from soar.formats.steps import Unsaid

        return Unsaid(
            scene=self.scene,
            policy=self.policy,
            robot=self.robot,
            vlm=self.vlm,
            subgoal_model=self.subgoal_model,
            run=self.run,
        )


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What the numbers of states and actions are, where the files do not say it or say something else (docs/datasets.md)."""

    state_map: str = ""
    """Which numbers of a state are which, by place or name: x=0,y=1,z=2,qx=3,qy=4,qz=5,qw=6,gripper=7*0.01."""
    action_map: str = ""
    """The same of an action."""
    gripper_range: str = ""
    """CLOSED:OPEN, the commands at which the gripper is closed and open: -1:1, 0:0.08, or 1:0 where 1 closes it."""
    opening_range: str = ""
    """CLOSED:OPEN, the same of the measured openings in the states."""

    def config(self) -> VectorConfig:
        """Return it as the readers want it."""
        from soar.formats.vector_maps import VectorConfig

        return VectorConfig(
            state_map=self.state_map,
            action_map=self.action_map,
            gripper_range=self.gripper_range,
            opening_range=self.opening_range,
        )


def import_dataset(dataset: Dataset, target: Path, *, skip_bad: bool, limit: int | None = None, split: bool = False) -> None:
    """Append the episodes of a dataset to a store, which is made when it is missing, and say what was done."""
    from soar.cli.progress import progress_bars
    from soar.cli.tables import say
    from soar.episodes import EpisodeStore
    from soar.formats.importing import import_episodes

    store = EpisodeStore(target, mode="open_or_create")
    with progress_bars() as report:
        done = import_episodes(
            dataset,
            store,
            skip_bad=skip_bad,
            limit=limit,
            split=split,
            report=lambda count, total, note: report("episodes", count, total, note),
        )
    for line in done.bad:
        say(f"skipped: {line}")
    for taken, id in done.renamed:
        say(f"another episode has the id {taken!r} there; this one is stored as {id!r}")
    if done.other_labels:
        say(
            f"{len(done.other_labels)} were there already with other labels, and keep those, for example "
            f"{done.other_labels[0]!r}"
        )
    if done.several:
        say(
            f"{len(done.several)} episodes have several instructions, for example {done.several[0]!r}: the first one names "
            "them, all are in their origin; --split-at-instruction makes an episode of each"
        )
    say(f"{done.imported} episodes imported, {done.present} were there already, {len(done.bad)} skipped; {target}")


@dataclass(frozen=True, kw_only=True)
class _Import:
    source: Annotated[Path, tyro.conf.Positional]
    """Folder of the dataset."""
    store: Path
    """Folder of the store that gets the episodes; it is made when it is missing."""
    skip_bad: bool = False
    """Go on after an episode that cannot be read, and list them all at the end."""
    limit: int | None = None
    """Only the first so many episodes."""
    actions: Actions = "commanded"
    """`reached`: the motion is what the next state shows instead of what was commanded, as BridgeData is trained on."""
    split_at_instruction: bool = False
    """Make several episodes of one whose instruction changes."""
    image_range: tuple[float, float] | None = None
    """LOW HIGH: the values that become black and white in images of more than 8 bits, such as depth; refused without."""
    numbers: Numbers = field(default_factory=Numbers)
    known: Known = field(default_factory=Known)

    def run(self) -> None:
        """Run it."""
        import_dataset(self._open(), self.store, skip_bad=self.skip_bad, limit=self.limit, split=self.split_at_instruction)

    def _open(self) -> Dataset:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ImportRLDS(_Import):
    """Import an RLDS dataset (TFRecord files): SOAR-Data, BridgeData v2, others of a single arm. No TensorFlow is needed.

    The same command goes on where a stopped one was. Checksums are verified.

    Example: soar data import rlds soar_dataset/1.0.0 --store soar-data --vlm cogvlm --subgoal-model susie
    """

    camera: str = "image_0"
    """Which of the images of an observation."""
    split: tuple[str, ...] = ()
    """Only these splits, for example `success`; all by default."""
    latency_shift: Literal["off", "by-date"] = "off"
    """`by-date`: repair BridgeData recordings from before 2021-07-23. The public converters have done so already."""

    def _open(self) -> Dataset:
        from soar.formats.rlds import RLDSConfig, open_rlds

        config = RLDSConfig(
            camera=self.camera,
            splits=self.split,
            actions=self.actions,
            latency_shift=self.latency_shift,
            vectors=self.numbers.config(),
            image_range=self.image_range,
            unsaid=self.known.unsaid(),
        )
        return open_rlds(self.source, config)


@dataclass(frozen=True, kw_only=True)
class ImportRaw(_Import):
    """Import raw trajectory folders of the released collection code: trajN/, or robot/scene/policy/date/success/trajectory_N/.

    Example: soar data import raw collected/ --store my-robot --scene kitchen
    """

    def _open(self) -> Dataset:
        from soar.formats.raw import RawConfig, open_raw

        config = RawConfig(
            actions=self.actions,
            vectors=self.numbers.config(),
            image_range=self.image_range,
            unsaid=self.known.unsaid(),
        )
        return open_raw(self.source, config)


@dataclass(frozen=True, kw_only=True)
class ImportLeRobot(_Import):
    """Import a LeRobotDataset v3.0 or v2.1 whose states and actions are a pose and a gripper, as their names say.

    Example: soar data import lerobot my_dataset --store my-robot --camera front
    """

    camera: str = ""
    """Name of the camera; needed where there are several."""

    def _open(self) -> Dataset:
        from soar.formats.lerobot import LeRobotConfig, open_lerobot

        config = LeRobotConfig(
            camera=self.camera,
            actions=self.actions,
            vectors=self.numbers.config(),
            image_range=self.image_range,
            unsaid=self.known.unsaid(),
        )
        return open_lerobot(self.source, config)


@dataclass(frozen=True, kw_only=True)
class Import:
    """Read a dataset of another format into a store.

    Example: soar data import rlds soar_dataset/1.0.0 --store soar-data
    """

    command: (
        Annotated[ImportRLDS, tyro.conf.subcommand("rlds", prefix_name=False)]
        | Annotated[ImportRaw, tyro.conf.subcommand("raw", prefix_name=False)]
        | Annotated[ImportLeRobot, tyro.conf.subcommand("lerobot", prefix_name=False)]
    )

    def run(self) -> None:
        """Run it."""
        self.command.run()


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
    version: str = "1.0.0"
    """Version of the dataset."""
    license: str = "cc-by-4.0"
    """For the dataset's card."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.formats.rlds_export import export_rlds

        with progress_bars() as report:
            folder = export_rlds(
                EpisodeStore(self.store),
                self.out,
                where=self.where or None,
                name=self.name,
                version=self.version,
                license=self.license,
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
    """What the camera is called."""
    codec: Literal["av1", "h264"] = "av1"
    """Of the video: av1 is LeRobot's own, h264 is faster."""
    license: str = "cc-by-4.0"
    """For the dataset's card."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.formats.lerobot_export import export_lerobot

        with progress_bars() as report:
            export_lerobot(
                EpisodeStore(self.store),
                self.out,
                where=self.where or None,
                camera=self.camera,
                codec=self.codec,
                license=self.license,
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
