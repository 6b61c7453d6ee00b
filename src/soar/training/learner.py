"""The learner: from a base, old data and new data to a candidate. The loop and the experiments know of learning only this.

    base ─────────────┐
    pre-training data ├──► Learner.learn ──► folder of the candidate
    autonomous data ──┘

Whatever learns, the data are named and not read here: where they are, which version, and which of them count. A learner that is
interrupted goes on when it is asked for the same again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from soar.policies.learned import LearnedPolicy, read_lineage
from soar.training.config import PolicyTrainingConfig
from soar.training.cotraining import AutonomousData, cotrain
from soar.training.policy import load_parent

OnStep = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningData:
    """What there is to learn from.

    Attributes:
        pretraining: Folder or URI of the store of what the base was trained on, or of a part of it.
        autonomous: What was collected since; None for nothing.
    """

    pretraining: str | Path
    autonomous: AutonomousData | None = None


@runtime_checkable
class Learner(Protocol):
    """Makes a candidate."""

    def check(self, base: Path) -> str:
        """Return the id of a base that it can go on from, and raise what is wrong with it before anything is made."""
        ...

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
        """Return the folder of the candidate, which is `folder`; None as base begins with a fresh network."""
        ...


@dataclass(frozen=True, slots=True)
class ImitationLearner:
    """Imitates demonstrations and what was chosen of the own attempts (§B.2.2, §B.3). The candidate is told what its base is
    told, a goal image, an instruction or both, and sees pictures as it does.

    Args:
        recipe: How it trains.
    """

    recipe: PolicyTrainingConfig

    def check(self, base: Path) -> str:
        """Return the id of a base that it can go on from.

        Raises:
            CheckpointError: It is no policy, its network is another one than the recipe's, or its lineage is damaged.
        """
        parent = load_parent(base, self._for(base).network)
        read_lineage(base)
        return parent.id

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
        """Train a candidate; errors as in `soar.training.cotraining.cotrain`."""
        recipe = self.recipe if base is None else self._for(base)
        return cotrain(
            replace(recipe, fit=replace(recipe.fit, seed=seed)),
            folder,
            pretraining=data.pretraining,
            autonomous=data.autonomous,
            initial=base,
            device=device,
            on_step=on_step,
        )

    def _for(self, base: Path) -> PolicyTrainingConfig:
        """Return the recipe for a candidate that is told what the base is told, and sees what it sees."""
        told = LearnedPolicy.load(base).network.config
        network = replace(
            self.recipe.network,
            conditioning=told.conditioning,
            instruction=told.instruction,
            fit=told.fit,
            camera=told.camera,
        )
        return replace(self.recipe, network=network)
