"""`soar train`: one subcommand for each kind of model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from soar.cli.subgoals import TrainSubgoal
from soar.cli.train import Train


@dataclass(frozen=True, kw_only=True)
class TrainGoals(Train):
    """Train a policy that reaches goal images on demonstrations, or improve one: co-train it on what it collected itself.

    Without --autonomous it is trained on demonstrations alone. With --initial it continues from a policy. On several GPUs:
    torchrun --nproc-per-node 8 -m soar.cli train gcbc …

    Example: soar train gcbc --pretraining data/demonstrations/episodes --autonomous runs/mine/episodes
    --initial src/soar/weights/policy --out runs/mine/policies/001
    """

    kind: Annotated[Literal["gcbc", "lcbc"], tyro.conf.Suppress] = "gcbc"


@dataclass(frozen=True, kw_only=True)
class TrainLanguage(Train):
    """Train a policy that follows instructions, on demonstrations and on what it collected itself.

    It has the flags of `soar train gcbc`, and works the same.

    Example: soar train lcbc --pretraining data/demonstrations/episodes --out policies/language
    """

    kind: Annotated[Literal["gcbc", "lcbc"], tyro.conf.Suppress] = "lcbc"


@dataclass(frozen=True, kw_only=True)
class TrainModel:
    """Train a policy on goal images (gcbc) or instructions (lcbc), or a subgoal model (subgoal).

    Example: soar train gcbc --pretraining data/demonstrations/episodes --out policies/mine
    """

    command: (
        Annotated[TrainGoals, tyro.conf.subcommand("gcbc", prefix_name=False)]
        | Annotated[TrainLanguage, tyro.conf.subcommand("lcbc", prefix_name=False)]
        | Annotated[TrainSubgoal, tyro.conf.subcommand("subgoal", prefix_name=False)]
    )

    def run(self) -> None:
        """Run it."""
        self.command.run()
