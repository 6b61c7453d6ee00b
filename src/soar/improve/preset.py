"""Presets: every number of pre-training and improvement, in one YAML file under `configs/presets`.

`laptop` fits the simulator on two cores; `paper` and `upstream` hold what the paper and its released code say of the training
of policies, for larger machines.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from soar.collect.config import CollectionConfig
from soar.configuration import load
from soar.errors import ConfigError
from soar.pretraining.config import PretrainingConfig
from soar.training.config import PolicyTrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovementConfig:
    """One round of self-improvement, and how it is judged.

    Attributes:
        policy: Co-training, continued from the deployed policy.
        collection: What the robots do.
        cotraining_worlds: Worlds of the base's demonstrations that are recorded again to co-train on.
        success_only: Learn only from what was judged a success.
        threshold: Least probability of success of what is learned from. The label's own threshold may be lower: a label should
            miss no success, and what is imitated should be one.
        rounds: Of collection and training.
        trials: Of each task, in each evaluation.
    """

    policy: PolicyTrainingConfig
    collection: CollectionConfig = field(default_factory=CollectionConfig)
    cotraining_worlds: int = 60
    success_only: bool = True
    threshold: float = 0.0
    rounds: int = 1
    trials: int = 25

    def __post_init__(self) -> None:
        for name in ("cotraining_worlds", "rounds", "trials"):
            if getattr(self, name) < 1:
                raise ConfigError(f"improvement.{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"improvement.threshold must be in 0..1, 1 excluded; got {self.threshold}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Everything; see the attributes' types.

    Attributes:
        pretraining: From nothing to the base models.
        improvement: From a base policy to a better one.
        workers: Processes that simulate.
    """

    pretraining: PretrainingConfig
    improvement: ImprovementConfig
    workers: int = 2

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"workers must be at least 1, got {self.workers}")

    @property
    def image_size(self) -> int:
        """Height and width of all camera images [px]: the policy's."""
        return self.improvement.policy.network.image_size


def load_preset(name: str) -> Preset:
    """Load a preset by name or by the path of a YAML file.

    Raises:
        UnknownNameError: There is no such preset.
        ConfigError: A value is invalid; the message names the file and the key.
    """
    return load(Preset, "presets", name)
