"""Commands about datasets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from soar.cli.data_edit import Compact, Delete, Doctor, Label, Merge, Rejudge, Split, Tag
from soar.cli.data_export import Export
from soar.cli.data_hub import Pull, Push
from soar.cli.data_import import Import
from soar.cli.data_label import LabelDial
from soar.cli.data_score import ScoreEpisodes
from soar.cli.data_view import ContactSheet, View


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Count what a store holds, by task, scene, robot and policy, and how its states and actions are distributed.

    No image is read, and numbers that were read once are remembered.

    Example: soar data stats runs/scene1/episodes --where "run = 'monday'" --json
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    where: str = ""
    """SQL that selects some of the episodes, for example "success and scene = 'scene1'"."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import print_statistics
        from soar.episodes import EpisodeStore, dataset_statistics
        from soar.episodes.vector_statistics import vector_statistics

        store, where = EpisodeStore(self.store), self.where or None
        print_statistics(dataset_statistics(store, where), vector_statistics(store, where), as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Look at datasets, exchange them with other formats and other people, correct and repair them.

    A store is the folder that `soar collect` writes episodes to. `import` and `pull` make stores of other data, `export` and
    `push` make other formats of stores; whatever LeRobot and RLDS have no place for travels in a file beside them.

    --where takes SQL over what is known of an episode: id, scene, instruction, length, success, probability, policy, vlm,
    subgoal_model, robot, run, round, seed, created_s and more. STORE@NAME is a state of a store that `tag` named.

    Labels, deletions and repairs make new versions of a store. Nothing that a version holds is ever overwritten.

    Example: soar data import rlds soar_dataset/1.0.0 --store soar-data

    Example: soar data stats soar-data --where "success and scene = 'scene7'"
    """

    command: (
        Annotated[Stats, tyro.conf.subcommand("stats", prefix_name=False)]
        | Annotated[View, tyro.conf.subcommand("view", prefix_name=False)]
        | Annotated[ContactSheet, tyro.conf.subcommand("contact-sheet", prefix_name=False)]
        | Annotated[Import, tyro.conf.subcommand("import", prefix_name=False)]
        | Annotated[Export, tyro.conf.subcommand("export", prefix_name=False)]
        | Annotated[Push, tyro.conf.subcommand("push", prefix_name=False)]
        | Annotated[Pull, tyro.conf.subcommand("pull", prefix_name=False)]
        | Annotated[Label, tyro.conf.subcommand("label", prefix_name=False)]
        | Annotated[Rejudge, tyro.conf.subcommand("rejudge", prefix_name=False)]
        | Annotated[LabelDial, tyro.conf.subcommand("label-dial", prefix_name=False)]
        | Annotated[ScoreEpisodes, tyro.conf.subcommand("score", prefix_name=False)]
        | Annotated[Merge, tyro.conf.subcommand("merge", prefix_name=False)]
        | Annotated[Split, tyro.conf.subcommand("split", prefix_name=False)]
        | Annotated[Delete, tyro.conf.subcommand("delete", prefix_name=False)]
        | Annotated[Tag, tyro.conf.subcommand("tag", prefix_name=False)]
        | Annotated[Compact, tyro.conf.subcommand("compact", prefix_name=False)]
        | Annotated[Doctor, tyro.conf.subcommand("doctor", prefix_name=False)]
    )

    def run(self) -> None:
        """Run it."""
        self.command.run()
