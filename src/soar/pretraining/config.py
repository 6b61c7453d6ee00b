"""How base models are made from nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from soar.errors import ConfigError
from soar.training.config import PolicyTrainingConfig, conditioned
from soar.training.flow_subgoals import SubgoalTrainingConfig
from soar.training.vqa import VQATrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingConfig:
    """How the base models are made from nothing.

    Attributes:
        demonstration_worlds: Worlds in which the demonstrations of the policy are recorded.
        picture_worlds: Worlds in which the pictures and answers of the subgoal and VQA models are recorded.
        demonstration_seed: Of the worlds.
        picture_seed: Of the worlds.
        correction_worlds: Worlds in which the finished policy and subgoal model go astray; 0 leaves out both stages.
        correction_seed: Of the worlds.
        policy: Training of the policy.
        subgoal: Training of the subgoal model.
        subgoal_correction: Its training after the first, on the attempts of its own too.
        sentences: Sentence encoder of the policy's counterparts that take instructions, see `InstructionConfig`; "" for none.
        vqa: Training of the VQA model.
        validation_share: Of the demonstrations, held out of the policy's training.
    """

    policy: PolicyTrainingConfig
    subgoal: SubgoalTrainingConfig = field(default_factory=SubgoalTrainingConfig)
    subgoal_correction: SubgoalTrainingConfig = field(default_factory=SubgoalTrainingConfig)
    sentences: str = ""
    vqa: VQATrainingConfig = field(default_factory=VQATrainingConfig)
    demonstration_worlds: int = 420
    picture_worlds: int = 240
    demonstration_seed: int = 1
    picture_seed: int = 2
    correction_worlds: int = 0
    correction_seed: int = 4
    validation_share: float = 0.03

    def __post_init__(self) -> None:
        if min(self.demonstration_worlds, self.picture_worlds) < 1:
            raise ConfigError(
                "pretraining: demonstration_worlds and picture_worlds must be at least 1, "
                f"got {self.demonstration_worlds} and {self.picture_worlds}"
            )
        if not 0 < self.validation_share < 1:
            raise ConfigError(f"pretraining.validation_share must lie between 0 and 1, got {self.validation_share}")

    @property
    def language(self) -> PolicyTrainingConfig:
        """Training of the policy's counterpart that follows instructions: the same on the same data."""
        return conditioned(self.policy, "language", self.sentences)

    @property
    def both(self) -> PolicyTrainingConfig:
        """Training of the policy's counterpart that takes goal images and instructions: the same on the same data."""
        return conditioned(self.policy, "both", self.sentences)
