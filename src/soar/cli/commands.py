"""The commands and their flags. Each is a dataclass: its docstring is the help, its fields are the flags."""

from __future__ import annotations

from typing import Annotated

import tyro

from soar.cli.checkpoints import ExportPolicy, ImportCheckpoint
from soar.cli.collect import Collect
from soar.cli.data import Data
from soar.cli.evaluate import Evaluate
from soar.cli.improve import Improve
from soar.cli.pretrain import Pretrain
from soar.cli.reproduce import Reproduce
from soar.cli.robot import Robot
from soar.cli.serve import Serve
from soar.cli.subgoals import ImportSusie, Subgoal
from soar.cli.tasks import Tasks
from soar.cli.train import TrainModel
from soar.cli.vlm import VLM

Command = (
    Annotated[Improve, tyro.conf.subcommand("improve", prefix_name=False)]
    | Annotated[Pretrain, tyro.conf.subcommand("pretrain", prefix_name=False)]
    | Annotated[Collect, tyro.conf.subcommand("collect", prefix_name=False)]
    | Annotated[TrainModel, tyro.conf.subcommand("train", prefix_name=False)]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate", prefix_name=False)]
    | Annotated[Reproduce, tyro.conf.subcommand("reproduce", prefix_name=False)]
    | Annotated[ImportCheckpoint, tyro.conf.subcommand("import-checkpoint", prefix_name=False)]
    | Annotated[ExportPolicy, tyro.conf.subcommand("export-policy", prefix_name=False)]
    | Annotated[Data, tyro.conf.subcommand("data", prefix_name=False)]
    | Annotated[VLM, tyro.conf.subcommand("vlm", prefix_name=False)]
    | Annotated[Tasks, tyro.conf.subcommand("tasks", prefix_name=False)]
    | Annotated[Subgoal, tyro.conf.subcommand("subgoal", prefix_name=False)]
    | Annotated[ImportSusie, tyro.conf.subcommand("import-susie", prefix_name=False)]
    | Annotated[Serve, tyro.conf.subcommand("serve", prefix_name=False)]
    | Annotated[Robot, tyro.conf.subcommand("robot", prefix_name=False)]
)
