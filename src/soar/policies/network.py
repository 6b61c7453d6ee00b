"""Behavioural cloning: which action leads from this observation to a goal image, or to what an instruction says (§B.2, §B.3).

    goal       observation and goal stacked on the channels, so that the first convolution can compare them   → encoder → head
    language   embedding of the instruction → two fully connected layers → FiLM in the encoder of the observation   → head
    both       the first with the FiLM of the second, which is also told whether there is a goal image and an instruction

What a network is conditioned on is its *goal* in any case: a goal image (B, 3, H, W), an embedding (B, E), or both
(`soar.policies.chunked.Both`), of which either may be missing: zeros are in its place then. The head is
one of `soar.policies.heads`. The Gaussian one has a fixed standard deviation, which makes the log-likelihood a weighted squared
error: a small one for the gripper makes its error count for more.

All actions here are normalised: the motion by its mean and standard deviation, the gripper target not (0 closed, 1 open).

Shape suffixes: B batch, C channels, H height or actions of a chunk, W width, D action or state dimensions, E embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soar.cameras import MAIN, check_camera_names
from soar.errors import ConfigError
from soar.images import Fit, ImageFitter
from soar.policies.base import CONDITIONINGS, Conditioning
from soar.policies.chunked import Both
from soar.policies.encoders import SMALL_IMAGE_SIZE, EncoderConfig, build_encoder
from soar.policies.heads import FlowHead, HeadConfig, mlp
from soar.policies.instructions import InstructionConfig
from soar.types import ACTION_DIM, STATE_DIM

Goal: TypeAlias = Tensor | Both[Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Architecture and loss of a policy; the defaults are the paper's and its released code's.

    Attributes:
        conditioning: On a goal image (GCBC), on an instruction (LCBC), or on both, of which either may be missing.
        encoder: The image encoder.
        head: From features to actions.
        instruction: How an instruction becomes a vector; nothing with goal images.
        image_size: Height and width of its images [px]; others are brought to it.
        fit: How, see `soar.images`.
        camera: Whose pictures they are, see `soar.cameras`.
        dropout: After each hidden layer of the action head.
        motion_std: Standard deviation of the six motion dimensions, in normalised units; nothing with a flow.
        gripper_std: Standard deviation of the gripper target; nothing with a flow.
        auxiliary_weight: Weight of predicting the proprioception of observation and goal from the encoder's features. It
            teaches a small encoder where the gripper is; the prediction is not used when the policy acts. 0 for none. An
            instruction says nothing of the goal's: without a goal image the observation's counts only.
    """

    conditioning: Conditioning = "goal"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    instruction: InstructionConfig = field(default_factory=InstructionConfig)
    image_size: int = 256
    fit: Fit = "squash"
    camera: str = MAIN
    dropout: float = 0.1
    motion_std: float = 1.0
    gripper_std: float = 0.1
    auxiliary_weight: float = 0.0

    def __post_init__(self) -> None:
        if self.conditioning not in CONDITIONINGS:
            raise ConfigError(
                f"network.conditioning: unknown {self.conditioning!r}. Valid choices: {', '.join(CONDITIONINGS)}."
            )
        if self.image_size < 32:
            raise ConfigError(f"network.image_size must be at least 32 px, got {self.image_size}")
        if self.encoder.name == "small" and self.image_size != SMALL_IMAGE_SIZE:
            raise ConfigError(
                f"network.image_size: the small encoder takes {SMALL_IMAGE_SIZE} px, got {self.image_size}. "
                "Set network.image_size to 64, or network.encoder.name to resnet34."
            )
        if self.camera != MAIN:
            check_camera_names([self.camera], "network.camera")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"network.dropout must be at least 0 and below 1, got {self.dropout}")
        for name in ("motion_std", "gripper_std"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"network.{name} must be positive, got {getattr(self, name)}")
        if self.auxiliary_weight < 0:
            raise ConfigError(f"network.auxiliary_weight must not be negative, got {self.auxiliary_weight}")

    @property
    def fitter(self) -> ImageFitter:
        """Brings pictures of any size and shape to the network's."""
        return ImageFitter(size=self.image_size, fit=self.fit)


class PolicyNetwork(nn.Module):
    """Encoder and head."""

    state_mean: Tensor
    state_std: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        language, both = config.conditioning == "language", config.conditioning == "both"
        width = config.instruction.hidden
        self.encoder = build_encoder(config.encoder, 3 if language else 6, condition=width if language or both else 0)
        if language or both:
            told = config.instruction.features + 2 * both
            self.language = nn.Sequential(nn.Linear(told, width), nn.SiLU(), nn.Linear(width, width))
        features = self.encoder.features
        self.head: nn.Module
        if config.head.name == "flow":
            self.head = FlowHead(config.head, features, config.dropout)
        else:
            self.head = mlp([features, *config.head.hidden], ACTION_DIM, config.dropout)
        if config.auxiliary_weight:
            predicted = STATE_DIM * (1 if language else 2)
            self.state_head = nn.Linear(features, predicted)
            self.register_buffer("state_mean", torch.zeros(STATE_DIM))
            self.register_buffer("state_std", torch.ones(STATE_DIM))

    def forward(self, observation_BCHW: Tensor, goal: Goal) -> Tensor:
        """Return the next normalised action (B, 7) for images in -1..1: the mean, or where the flow carries no noise to."""
        return self.plan(observation_BCHW, goal, observation_BCHW.new_zeros(len(observation_BCHW), *self.noise_shape))[:, 0]

    @property
    def noise_shape(self) -> tuple[int, int]:
        """(H, D) of the chunks that are predicted, and of the noise that a flow begins with."""
        return self.config.head.chunk, ACTION_DIM

    def plan(self, observation_BCHW: Tensor, goal: Goal, noise_BHD: Tensor) -> Tensor:
        """Return normalised chunks of actions (B, H, 7); the noise (B, H, 7) decides which, if the head is a flow."""
        features_BF = self._features(observation_BCHW, goal)
        if isinstance(self.head, FlowHead):
            return self.head.sample(features_BF, noise_BHD)
        return self._mean(features_BF)[:, None]

    def losses(
        self,
        observation_BCHW: Tensor,
        goal: Goal,
        action: Tensor,
        *,
        observation_state_BD: Tensor,
        goal_state_BD: Tensor,
        weight_B: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return what training minimises, and its parts.

        Args:
            observation_BCHW: Images in -1..1.
            goal: Goal images in -1..1, embeddings of instructions, or both.
            action: Normalised actions (B, 7), or with a flow chunks (B, H, 7), NaN after the end of an episode.
            observation_state_BD: Proprioception [m, rad, opening]; only the auxiliary loss sees it.
            goal_state_BD: That of the goal.
            weight_B: Weights of the samples, of mean 1; None for equal ones.

        Returns:
            `loss`: minus the mean log-likelihood, or the flow's error, plus the weighted auxiliary loss. `motion_error` and
            `gripper_error`: mean squared errors of the next action in normalised units, and `gripper_accuracy`: how often the
            gripper would open and close as it did; of a flow only in evaluation mode, where it is worth drawing a sample for
            them. `state_error`: the auxiliary loss, if there is one.
        """
        features_BF = self._features(observation_BCHW, goal)
        losses = (self._flow_losses if isinstance(self.head, FlowHead) else self._gaussian_losses)(
            features_BF, action, weight_B
        )
        if self.config.auxiliary_weight:
            states = [observation_state_BD, goal_state_BD][: self.state_head.out_features // STATE_DIM]
            states_BD = torch.cat([(state - self.state_mean) / self.state_std for state in states], dim=-1)
            error_BD = (self.state_head(features_BF).float() - states_BD).square()
            if isinstance(goal, Both):  # where there is no goal image, nobody can know its state
                error_BD = torch.cat([error_BD[:, :STATE_DIM], error_BD[:, STATE_DIM:] * goal.given_B2[:, :1]], dim=-1)
            losses["state_error"] = error_BD.mean()
            losses["loss"] = losses["loss"] + self.config.auxiliary_weight * losses["state_error"]
        return losses

    def _gaussian_losses(self, features_BF: Tensor, action_BD: Tensor, weight_B: Tensor | None) -> dict[str, Tensor]:
        # The error is squared in float32: bfloat16 has only 8 bits for a gripper target near 1.
        mean_BD = self._mean(features_BF).float()
        error_BD = (mean_BD - action_BD).square()
        deviations = [self.config.motion_std] * (ACTION_DIM - 1) + [self.config.gripper_std]
        std_D = error_BD.new_tensor(deviations)
        constant = sum(map(math.log, deviations)) + ACTION_DIM * 0.5 * math.log(2 * math.pi)
        negative_log_likelihood_B = 0.5 * (error_BD / std_D.square()).sum(-1) + constant
        return {"loss": _mean(negative_log_likelihood_B, weight_B)} | _errors(mean_BD, action_BD)

    def _flow_losses(self, features_BF: Tensor, action_BHD: Tensor, weight_B: Tensor | None) -> dict[str, Tensor]:
        assert isinstance(self.head, FlowHead)
        losses = {"loss": _mean(self.head.loss(features_BF, action_BHD), weight_B)}
        if not self.training:
            sample_BD = self.head.sample(features_BF, torch.randn_like(action_BHD))[:, 0]
            losses |= _errors(sample_BD.float(), action_BHD[:, 0])
        return losses

    def _mean(self, features_BF: Tensor) -> Tensor:
        mean_BD: Tensor = self.head(features_BF)
        return torch.cat([mean_BD[:, :-1].tanh(), mean_BD[:, -1:]], dim=-1) if self.config.head.tanh else mean_BD

    def set_state_statistics(self, mean_D: NDArray[np.floating], std_D: NDArray[np.floating]) -> None:
        """Say how the auxiliary loss normalises proprioception (7,); nothing happens without that loss."""
        if self.config.auxiliary_weight:
            self.state_mean.copy_(torch.as_tensor(mean_D))
            self.state_std.copy_(torch.as_tensor(std_D))

    def _features(self, observation_BCHW: Tensor, goal: Goal) -> Tensor:
        if isinstance(goal, Both):
            image_BCHW = goal.image * goal.given_B2[:, :1, None, None]
            told_BE = torch.cat([goal.embedding * goal.given_B2[:, 1:], goal.given_B2], dim=-1)
            return torch.as_tensor(self.encoder(torch.cat([observation_BCHW, image_BCHW], dim=1), self.language(told_BE)))
        if self.config.conditioning == "language":
            return torch.as_tensor(self.encoder(observation_BCHW, self.language(goal)))
        return torch.as_tensor(self.encoder(torch.cat([observation_BCHW, goal], dim=1)))


def _errors(action_BD: Tensor, wanted_BD: Tensor) -> dict[str, Tensor]:
    error_BD = (action_BD.detach() - wanted_BD).square()
    agrees_B = (action_BD[:, -1] >= 0.5) == (wanted_BD[:, -1] >= 0.5)
    return {
        "motion_error": error_BD[:, :-1].mean(),
        "gripper_error": error_BD[:, -1].mean(),
        "gripper_accuracy": agrees_B.float().mean(),
    }


def _mean(value_B: Tensor, weight_B: Tensor | None) -> Tensor:
    return value_B.mean() if weight_B is None else (value_B * weight_B).mean()


def images_to_tensor(image_BHWC: NDArray[np.uint8]) -> Tensor:
    """Return uint8 images as floats in -1..1, channels first (channels last in memory, which costs no copy)."""
    return torch.from_numpy(image_BHWC).permute(0, 3, 1, 2).float() / 127.5 - 1
