"""How policies are trained: everything but the data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from soar.errors import ConfigError
from soar.policies.base import Conditioning
from soar.policies.network import NetworkConfig
from soar.training.augment import AugmentationConfig
from soar.training.data import SourceConfig
from soar.training.loop import FitConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTrainingConfig:
    """Everything about training a policy but its data.

    Attributes:
        fit: The optimisation.
        network: Architecture and loss.
        augmentation: Of the images.
        pretraining: How the pre-training data is sampled.
        autonomous: How the data that the policy collected itself is sampled.
        upsampling: How many times its proportion autonomous data is drawn.
        autonomous_cap: Largest share of autonomous data in a batch.
        autonomous_share: Share of autonomous data in a batch, whatever its amount; None leaves it to the two above.
        condition_dropout: Share of the samples at which a policy that takes goal images and instructions (`both`) sees no goal
            image, and share at which it gets no instruction; never at once, so that it learns to act with either and with both.
        compile: Compile the encoder with torch.compile: minutes at the beginning, then faster steps on a GPU.
    """

    fit: FitConfig
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    pretraining: SourceConfig = field(default_factory=SourceConfig)
    autonomous: SourceConfig = field(default_factory=lambda: SourceConfig(goal_window=(0, 12), sum_actions=True))
    upsampling: float = 10.0
    autonomous_cap: float = 0.5
    autonomous_share: float | None = None
    condition_dropout: float = 0.3
    compile: bool = False

    def __post_init__(self) -> None:
        if not self.upsampling > 0:
            raise ConfigError(f"upsampling must be positive, got {self.upsampling}")
        if not 0 <= self.autonomous_cap <= 1:
            raise ConfigError(f"autonomous_cap must lie between 0 and 1, got {self.autonomous_cap}")
        if self.autonomous_share is not None and not 0 <= self.autonomous_share <= 1:
            raise ConfigError(f"autonomous_share must lie between 0 and 1, got {self.autonomous_share}")
        if not 0 <= self.condition_dropout <= 0.5:
            raise ConfigError(
                f"condition_dropout must lie between 0 and 0.5, since no sample goes without both; got {self.condition_dropout}"
            )


def conditioned(config: PolicyTrainingConfig, conditioning: Conditioning, sentences: str = "") -> PolicyTrainingConfig:
    """Return the same training of a policy of another conditioning, with that sentence encoder for instructions (§B.3)."""
    instruction = replace(config.network.instruction, encoder=sentences or config.network.instruction.encoder)
    return replace(config, network=replace(config.network, conditioning=conditioning, instruction=instruction))
