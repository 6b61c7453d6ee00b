"""Goal-conditioned behavioural cloning: which action brings this observation closer to that goal (paper §B.2).

The observation and the goal are stacked on the channels, so that the first convolution can compare them. A fixed standard
deviation makes the log-likelihood a weighted squared error: a small one for the gripper makes its error count for more.

All actions here are normalised: the motion by its mean and standard deviation, the gripper target not (0 closed, 1 open).

Shape suffixes: B batch, C channels, H height, W width, D action or state dimensions.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soar.errors import ConfigError
from soar.policies.encoders import SMALL_IMAGE_SIZE, EncoderConfig, build_encoder
from soar.types import ACTION_DIM, STATE_DIM

HIDDEN = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class GCBCConfig:
    """Architecture and loss of a goal-conditioned policy; the defaults are the paper's and its released code's.

    Attributes:
        encoder: The image encoder.
        image_size: Height and width of its images [px].
        dropout: After each hidden layer of the action head.
        motion_std: Standard deviation of the six motion dimensions, in normalised units.
        gripper_std: Standard deviation of the gripper target.
        auxiliary_weight: Weight of predicting the proprioception of observation and goal from the encoder's features. It
            teaches a small encoder where the gripper is; the prediction is not used when the policy acts. 0 for none.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    image_size: int = 256
    dropout: float = 0.1
    motion_std: float = 1.0
    gripper_std: float = 0.1
    auxiliary_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.image_size < 32:
            raise ConfigError(f"network.image_size must be at least 32 px, got {self.image_size}")
        if self.encoder.name == "small" and self.image_size != SMALL_IMAGE_SIZE:
            raise ConfigError(
                f"network.image_size: the small encoder takes {SMALL_IMAGE_SIZE} px, got {self.image_size}. "
                "Set network.image_size to 64, or network.encoder.name to resnet34."
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"network.dropout must be at least 0 and below 1, got {self.dropout}")
        for name in ("motion_std", "gripper_std"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"network.{name} must be positive, got {getattr(self, name)}")
        if self.auxiliary_weight < 0:
            raise ConfigError(f"network.auxiliary_weight must not be negative, got {self.auxiliary_weight}")


class GCBCNetwork(nn.Module):
    """Encoder, three hidden layers, the mean of a Gaussian over normalised actions."""

    state_mean: Tensor
    state_std: Tensor

    def __init__(self, config: GCBCConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder, channels=6)
        sizes = [self.encoder.features, HIDDEN, HIDDEN, HIDDEN]
        hidden = [nn.Sequential(nn.Linear(a, b), nn.Dropout(config.dropout), nn.SiLU()) for a, b in itertools.pairwise(sizes)]
        self.head = nn.Sequential(*hidden, nn.Linear(HIDDEN, ACTION_DIM))
        for module in self.head.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        if config.auxiliary_weight:
            self.state_head = nn.Linear(self.encoder.features, 2 * STATE_DIM)
            self.register_buffer("state_mean", torch.zeros(STATE_DIM))
            self.register_buffer("state_std", torch.ones(STATE_DIM))

    def forward(self, observation_BCHW: Tensor, goal_BCHW: Tensor) -> Tensor:
        """Return the mean of the normalised action (B, 7) for images in -1..1."""
        action_BD: Tensor = self.head(self._features(observation_BCHW, goal_BCHW))
        return action_BD

    def losses(
        self,
        observation_BCHW: Tensor,
        goal_BCHW: Tensor,
        action_BD: Tensor,
        *,
        observation_state_BD: Tensor,
        goal_state_BD: Tensor,
        weight_B: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return what training minimises, and its parts.

        Args:
            observation_BCHW: Images in -1..1.
            goal_BCHW: Images in -1..1.
            action_BD: Normalised actions.
            observation_state_BD: Proprioception [m, rad, opening]; only the auxiliary loss sees it.
            goal_state_BD: That of the goal.
            weight_B: Weights of the samples, of mean 1; None for equal ones.

        Returns:
            `loss`: minus the mean log-likelihood, plus the weighted auxiliary loss. `motion_error` and `gripper_error`: mean
            squared errors in normalised units. `state_error`: the auxiliary loss, if there is one.
        """
        features_BF = self._features(observation_BCHW, goal_BCHW)
        # The error is squared in float32: bfloat16 has only 8 bits for a gripper target near 1.
        error_BD = (self.head(features_BF).float() - action_BD).square()
        config = self.config
        std_D = error_BD.new_tensor([config.motion_std] * (ACTION_DIM - 1) + [config.gripper_std])
        constant = float(torch.log(std_D).sum()) + ACTION_DIM * 0.5 * math.log(2 * math.pi)
        negative_log_likelihood_B = 0.5 * (error_BD / std_D.square()).sum(-1) + constant
        losses = {
            "loss": _mean(negative_log_likelihood_B, weight_B),
            "motion_error": error_BD[:, :-1].mean().detach(),
            "gripper_error": error_BD[:, -1].mean().detach(),
        }
        if config.auxiliary_weight:
            states_BD = torch.cat(
                [(state - self.state_mean) / self.state_std for state in (observation_state_BD, goal_state_BD)], dim=-1
            )
            losses["state_error"] = (self.state_head(features_BF).float() - states_BD).square().mean()
            losses["loss"] = losses["loss"] + config.auxiliary_weight * losses["state_error"]
        return losses

    def set_state_statistics(self, mean_D: NDArray[np.floating], std_D: NDArray[np.floating]) -> None:
        """Say how the auxiliary loss normalises proprioception (7,); nothing happens without that loss."""
        if self.config.auxiliary_weight:
            self.state_mean.copy_(torch.as_tensor(mean_D))
            self.state_std.copy_(torch.as_tensor(std_D))

    def _features(self, observation_BCHW: Tensor, goal_BCHW: Tensor) -> Tensor:
        features_BF: Tensor = self.encoder(torch.cat([observation_BCHW, goal_BCHW], dim=1))
        return features_BF


def _mean(value_B: Tensor, weight_B: Tensor | None) -> Tensor:
    return value_B.mean() if weight_B is None else (value_B * weight_B).mean()


def images_to_tensor(image_BHWC: NDArray[np.uint8]) -> Tensor:
    """Return uint8 images as floats in -1..1, channels first (channels last in memory, which costs no copy)."""
    return torch.from_numpy(image_BHWC).permute(0, 3, 1, 2).float() / 127.5 - 1
