"""Commands that read datasets of other formats into a store."""

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
    if done.fewer_cameras:
        say(
            f"{len(done.fewer_cameras)} were there already without further cameras, for example {done.fewer_cameras[0]!r}: "
            "delete them there to import them with these"
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

    camera: str = ""
    """Which of the images of an observation is the main camera's; `image_0`, or what an export says."""
    other_cameras: bool = True
    """Bring the other cameras along, as further ones of the episodes; or this one alone."""
    split: tuple[str, ...] = ()
    """Only these splits, for example `success`; all by default."""
    latency_shift: Literal["off", "by-date"] = "off"
    """`by-date`: repair BridgeData recordings from before 2021-07-23. The public converters have done so already."""

    def _open(self) -> Dataset:
        from soar.formats.rlds import RLDSConfig, open_rlds

        config = RLDSConfig(
            camera=self.camera,
            other_cameras=self.other_cameras,
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
    """Name of the main camera; needed where there are several, unless an export says it."""
    other_cameras: bool = True
    """Bring the other cameras along, as further ones of the episodes; or this one alone."""

    def _open(self) -> Dataset:
        from soar.formats.lerobot import LeRobotConfig, open_lerobot

        config = LeRobotConfig(
            camera=self.camera,
            other_cameras=self.other_cameras,
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
