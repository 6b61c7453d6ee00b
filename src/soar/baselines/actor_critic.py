"""Actor and critics that are told what to do in words (RoboFuME): one network, one loss, and who may change what.

    image, instruction ─► trunk ─► features ─► critics (C of them), Q of any action
                                      │ no gradient
                                      └──────► actor: a Gaussian, squashed into -1..1

The critics' loss alone trains the trunk. With `shared=False` the actor has a trunk of its own. The actor's loss goes through
the critics into the actor and changes no critic. The target critics follow by `target_rate` and have no gradient at all; with a
shared trunk the actor looks at the next observation through theirs, which saves a pass through the encoder.

Actions here lie in -1..1: (physical - middle) / half range, see `ActionRange`; the gripper's 0..1, too.

Shape suffixes: B batch, C critics or channels, K sampled actions, D action dimensions, F features, H height or hidden, W width.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from soar.baselines.calql import CalQLConfig, Sampled, critic_losses, td_target
from soar.errors import ConfigError
from soar.policies.encoders import build_encoder
from soar.policies.heads import mlp
from soar.policies.network import NetworkConfig, PolicyNetwork
from soar.types import ACTION_DIM

LIMIT = 0.99999
"""Squashed actions end before 1, where their density would be infinite."""
_LOG_STD = (-5.0, 2.0)
_SMALLEST = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticConfig:
    """Critics, and how the actor learns from them.

    Attributes:
        critics: How many; the most pessimistic one counts.
        hidden: Widths of a critic's hidden layers.
        action_every_layer: Feed the action into every layer of a critic, not only into the first (paper §F).
        shared: One trunk for critics and actor, trained by the critics' loss; otherwise one each.
        target_rate: How far the target critics go towards the critics in a step.
        bc_weight: Of imitating the data, relative to what the critics teach: both are brought to the same size. 0 for none.
        actor_rate: Learning rate of the actor, as a share of the critics'.
        temperature: Of the actor's entropy in the beginning; it is tuned to an entropy of -7.
    """

    critics: int = 2
    hidden: tuple[int, ...] = (256, 256)
    action_every_layer: bool = False
    shared: bool = True
    target_rate: float = 0.005
    bc_weight: float = 1.0
    actor_rate: float = 1 / 3
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.critics < 1 or not self.hidden or min(self.hidden) < 1:
            raise ConfigError(f"critic: critics and the widths of hidden must be at least 1, got {self.critics}, {self.hidden}")
        if not 0 < self.target_rate <= 1:
            raise ConfigError(f"critic.target_rate must be above 0 and at most 1, got {self.target_rate}")
        if self.bc_weight < 0:
            raise ConfigError(f"critic.bc_weight must not be negative, got {self.bc_weight}")
        for name in ("actor_rate", "temperature"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"critic.{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorCriticConfig:
    """The whole network.

    Attributes:
        network: Of the actor: encoder, head, instructions; conditioned on language, with a squashed Gaussian head.
        critic: The critics.
        low: (7,) least action that is known, in physical units; -1 of the network.
        high: (7,) greatest one.
    """

    network: NetworkConfig
    critic: CriticConfig = field(default_factory=CriticConfig)
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.network.conditioning != "language" or self.network.head.name != "gaussian" or not self.network.head.tanh:
            raise ConfigError(
                "an actor with critics follows instructions and has a squashed Gaussian head: set network.conditioning to "
                "language, network.head.name to gaussian and network.head.tanh to true"
            )
        if self.network.auxiliary_weight:
            raise ConfigError("network.auxiliary_weight must be 0: nothing but the critics' loss trains the encoder")
        if (
            len(self.low) != ACTION_DIM
            or len(self.high) != ACTION_DIM
            or any(a >= b for a, b in zip(self.low, self.high, strict=True))
        ):
            raise ConfigError(
                f"the range of actions must hold {ACTION_DIM} numbers, low below high; got {self.low} to {self.high}"
            )


class Trunk(nn.Module):
    """From an image and an instruction to features."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.instruction.hidden
        self.encoder = build_encoder(config.encoder, 3, condition=width)
        self.language = nn.Sequential(nn.Linear(config.instruction.features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, image_BCHW: Tensor, embedding_BE: Tensor) -> Tensor:
        """Return features (B, F) in float32."""
        return torch.as_tensor(self.encoder(image_BCHW, self.language(embedding_BE))).float()


class QHead(nn.Module):
    """A critic's layers behind the trunk: features are worked off once, however many actions are asked about.

    The last layer is in float32 whatever precision is asked for: values of -50 that differ by 1 need more than 8 bits.
    """

    def __init__(self, features: int, hidden: Sequence[int], *, every_layer: bool) -> None:
        super().__init__()
        sizes = [features, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.actions = nn.ModuleList(
            nn.Linear(ACTION_DIM, width, bias=False) for number, width in enumerate(hidden) if every_layer or number == 0
        )
        self.out = nn.Linear(sizes[-1], 1)

    def forward(self, features_BF: Tensor, action_BKD: Tensor) -> Tensor:
        """Return Q (B, K)."""
        hidden = features_BF[:, None]
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden)
            if number < len(self.actions):
                hidden = hidden + self.actions[number](action_BKD)
            hidden = F.silu(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            return torch.as_tensor(self.out(hidden.float()).squeeze(-1))


class Critics(nn.Module):
    """Several critics on the same features."""

    def __init__(self, features: int, config: CriticConfig) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            QHead(features, config.hidden, every_layer=config.action_every_layer) for _ in range(config.critics)
        )

    def forward(self, features_BF: Tensor, action_BKD: Tensor) -> Tensor:
        """Return Q (C, B, K)."""
        return torch.stack([head(features_BF, action_BKD) for head in self.heads])


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitions:
    """B steps of the data.

    Attributes:
        image_BCHW: In -1..1.
        next_image_BCHW: Of the observation after the action, changed in the same way by augmentation.
        embedding_BE: Of the instructions.
        action_BD: In -1..1.
        reward_B: Of the action.
        terminal_B: 1 where nothing comes after, else 0.
        return_B: Discounted sum of the rewards from here on.
    """

    image_BCHW: Tensor
    next_image_BCHW: Tensor
    embedding_BE: Tensor
    action_BD: Tensor
    reward_B: Tensor
    terminal_B: Tensor
    return_B: Tensor


class ActorCritic(nn.Module):
    """Trunk, critics, target critics and actor."""

    def __init__(self, config: ActorCriticConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.network)
        features = self.trunk.encoder.features
        self.critics = Critics(features, config.critic)
        self.target_trunk = copy.deepcopy(self.trunk).requires_grad_(False)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.actor_trunk = None if config.critic.shared else Trunk(config.network)
        widths = config.network.head.hidden
        self.actor = mlp([features, *widths], ACTION_DIM, config.network.dropout)
        self.actor_log_std = nn.Linear(widths[-1], ACTION_DIM)
        nn.init.zeros_(self.actor_log_std.weight)
        nn.init.constant_(self.actor_log_std.bias, -1.0)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.critic.temperature)))

    def losses(self, batch: Transitions, calql: CalQLConfig, discount: float) -> dict[str, Tensor]:
        """Return `loss`, whose gradient trains everything, and its parts; draws from torch's generator.

        `critic_loss`, `td_error`, `penalty` and `below_bound` are of `soar.baselines.calql`; `actor_loss`, `bc_error` (mean
        squared error of the actor's mean action), `entropy` and `temperature` of the actor; `q_data`, `q_policy` and `return`
        are means, and `q_follows_return` is the correlation of the first with the last.
        """
        features_BF = self.trunk(batch.image_BCHW, batch.embedding_BE)
        actor_features_BF = (
            features_BF.detach() if self.actor_trunk is None else self.actor_trunk(batch.image_BCHW, batch.embedding_BE)
        )
        with torch.no_grad():
            next_BF = self.target_trunk(batch.next_image_BCHW, batch.embedding_BE)
            own_next_BF = next_BF if self.actor_trunk is None else self.actor_trunk(batch.next_image_BCHW, batch.embedding_BE)
        looked = (features_BF, actor_features_BF, next_BF, own_next_BF)
        critic = self._critic_losses(batch, looked, calql, discount)
        actor = self._actor_losses(batch, features_BF.detach(), actor_features_BF)
        loss = critic["critic_loss"] + actor["actor_loss"] + actor.pop("temperature_loss")
        return {"loss": loss} | critic | actor

    def _critic_losses(
        self, batch: Transitions, looked: tuple[Tensor, Tensor, Tensor, Tensor], calql: CalQLConfig, discount: float
    ) -> dict[str, Tensor]:
        samples = calql.samples
        features_BF, actor_features_BF, next_BF, own_next_BF = looked
        with torch.no_grad():
            next_BKD, next_density_BK = self.sample(own_next_BF, samples)
            here_BKD, here_density_BK = self.sample(actor_features_BF, samples)
            target_B = td_target(
                batch.reward_B, batch.terminal_B, self.target_critics(next_BF, next_BKD), discount, calql.backup
            )
        uniform_BKD = torch.rand_like(here_BKD) * 2 - 1
        uniform_BK = torch.full_like(here_density_BK, -ACTION_DIM * math.log(2))
        data_B1D = batch.action_BD.clamp(-LIMIT, LIMIT)[:, None]
        asked_BKD = torch.cat([data_B1D, uniform_BKD, here_BKD, next_BKD], dim=1) if calql.alpha else data_B1D
        value_CBK = self.critics(features_BF, asked_BKD)
        data_CB = value_CBK[..., 0]
        sampled: list[Sampled] = []
        if calql.alpha:
            # The next observation's actions are judged at this one.
            parts = value_CBK[..., 1:].split(samples, dim=-1)
            densities = (uniform_BK, here_density_BK, next_density_BK)
            sampled = [
                Sampled(value_CBK=value, log_density_BK=density, from_policy=number > 0)
                for number, (value, density) in enumerate(zip(parts, densities, strict=True))
            ]
        found = critic_losses(data_CB, target_B, sampled, batch.return_B, calql)
        q_B = data_CB.detach().min(0).values
        return found | {
            "q_data": q_B.mean(),
            "return": batch.return_B.mean(),
            "q_follows_return": _correlation(q_B, batch.return_B),
        }

    def _actor_losses(self, batch: Transitions, features_BF: Tensor, actor_features_BF: Tensor) -> dict[str, Tensor]:
        action_BKD, density_BK = self.sample(actor_features_BF, 1)
        frozen = {name: value.detach() for name, value in self.critics.named_parameters()}
        q_BK: Tensor = functional_call(self.critics, frozen, (features_BF, action_BKD)).min(0).values
        temperature = self.log_temperature.exp()
        learned = (temperature.detach() * density_BK - q_BK).mean()
        mean_BD = self._distribution(actor_features_BF)[0].tanh()
        bc_error = (mean_BD - batch.action_BD).square().mean()
        loss = learned / q_BK.detach().abs().mean().clamp(min=_SMALLEST)
        if self.config.critic.bc_weight:
            loss = loss + self.config.critic.bc_weight * bc_error / bc_error.detach().clamp(min=_SMALLEST)
        entropy = -density_BK.detach().mean()
        return {
            "actor_loss": loss,
            "temperature_loss": temperature * (entropy + ACTION_DIM),
            "bc_error": bc_error.detach(),
            "q_policy": q_BK.detach().mean(),
            "entropy": entropy,
            "temperature": temperature.detach(),
        }

    def _distribution(self, features_BF: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation (B, D) of the actor before it is squashed."""
        # Densities need more than the 8 bits of bfloat16.
        with torch.autocast(features_BF.device.type, enabled=False):
            hidden_BH = self.actor[:-1](features_BF)
            mean_BD: Tensor = self.actor[-1](hidden_BH)
            return mean_BD, self.actor_log_std(hidden_BH).clamp(*_LOG_STD).exp()

    def sample(self, features_BF: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        """Draw actions (B, K, D) of the actor, and return the logarithms of their densities (B, K)."""
        mean_BD, std_BD = self._distribution(features_BF)
        normal = torch.distributions.Normal(mean_BD[:, None], std_BD[:, None])
        raw_BKD = mean_BD[:, None] + std_BD[:, None] * torch.randn(len(mean_BD), samples, ACTION_DIM, device=mean_BD.device)
        density_BKD: Tensor = normal.log_prob(raw_BKD)  # type: ignore[no-untyped-call]
        density_BKD = density_BKD - 2 * (math.log(2) - raw_BKD - F.softplus(-2 * raw_BKD))
        return raw_BKD.tanh().clamp(-LIMIT, LIMIT), density_BKD.sum(-1)

    def value(self, image_BCHW: Tensor, embedding_BE: Tensor, action_BKD: Tensor) -> Tensor:
        """Return what the more pessimistic critic thinks of actions (B, K)."""
        return torch.as_tensor(self.critics(self.trunk(image_BCHW, embedding_BE), action_BKD).min(0).values)

    @torch.no_grad()
    def update_targets(self) -> None:
        """Let the target critics follow the critics."""
        rate = self.config.critic.target_rate
        for target, source in ((self.target_trunk, self.trunk), (self.target_critics, self.critics)):
            for theirs, ours in zip(target.parameters(), source.parameters(), strict=True):
                theirs.lerp_(ours, rate)

    def policy_network(self) -> PolicyNetwork:
        """Return the actor as a policy that follows instructions: it does its mean action, squashed."""
        network = PolicyNetwork(self.config.network)
        trunk = self.actor_trunk or self.trunk
        network.encoder.load_state_dict(trunk.encoder.state_dict())
        network.language.load_state_dict(trunk.language.state_dict())
        network.head.load_state_dict(self.actor.state_dict())
        return network.to(self.log_temperature.device)


def _correlation(one_B: Tensor, other_B: Tensor) -> Tensor:
    one_B, other_B = one_B - one_B.mean(), other_B - other_B.mean()
    return (one_B * other_B).mean() / (one_B.square().mean() * other_B.square().mean()).sqrt().clamp(min=_SMALLEST)
