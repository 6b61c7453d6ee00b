"""Action heads: from the features of an encoder to normalised actions.

`gaussian` is the paper's (§B.2.1): the mean of a Gaussian of fixed deviation over the next action. It averages the modes of its
data, which the paper names as the weakness of its policy (§B.2.2). `flow` does not: it learns the velocity that carries noise
to a chunk of actions along straight lines (flow matching), and draws one of the modes.

```
time       0 ─────────────────► 1
sample     noise ─────────────► chunk of actions      x = (1 - time) noise + time actions
velocity   actions - noise, the same all the way; integrated in `steps` Euler steps when the policy acts
```

Inside the flow the gripper's target is -1 closed, 1 open, so that all dimensions have about unit variance.

Shape suffixes: B batch, F features, H actions of a chunk, D action dimensions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from soar.errors import ConfigError
from soar.types import ACTION_DIM

_TIME_FEATURES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """Which head, and its size.

    Attributes:
        name: `gaussian` or `flow`.
        hidden: Widths of the hidden layers.
        chunk: Actions that are predicted at once; 1 with `gaussian`.
        execute: How many of them are executed before the policy looks again.
        steps: Euler steps of the flow.
        tanh: Squash the mean of the motion into -1..1, in normalised units, as an option of the released code does. Larger
            motions are out of reach then; its released policies do without. Nothing with a flow.
    """

    name: Literal["gaussian", "flow"] = "gaussian"
    hidden: tuple[int, ...] = (256, 256, 256)
    chunk: int = 1
    execute: int = 1
    steps: int = 10
    tanh: bool = False

    def __post_init__(self) -> None:
        if self.name not in ("gaussian", "flow"):
            raise ConfigError(f"head.name: unknown head {self.name!r}. Valid choices: gaussian, flow.")
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(f"head.hidden must hold one positive width or more, got {list(self.hidden)}")
        if self.steps < 1:
            raise ConfigError(f"head.steps must be at least 1, got {self.steps}")
        if not 1 <= self.execute <= self.chunk:
            raise ConfigError(f"head.execute must lie between 1 and head.chunk ({self.chunk}), got {self.execute}")
        if self.name == "gaussian" and self.chunk != 1:
            raise ConfigError(f"head.chunk must be 1 with head.name gaussian, got {self.chunk}. Set head.name to flow.")


def mlp(sizes: Sequence[int], outputs: int, dropout: float) -> nn.Sequential:
    """Return hidden layers of `sizes[1:]` with dropout and swish, and a linear layer after them; Xavier initialisation."""
    hidden = [nn.Sequential(nn.Linear(a, b), nn.Dropout(dropout), nn.SiLU()) for a, b in itertools.pairwise(sizes)]
    layers = nn.Sequential(*hidden, nn.Linear(sizes[-1], outputs))
    for module in layers.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return layers


class FlowHead(nn.Module):
    """The velocity of a flow from noise to chunks of actions."""

    def __init__(self, config: HeadConfig, features: int, dropout: float) -> None:
        super().__init__()
        self.config = config
        self.mlp = mlp(
            [features + config.chunk * ACTION_DIM + _TIME_FEATURES, *config.hidden], config.chunk * ACTION_DIM, dropout
        )

    def forward(self, features_BF: Tensor, x_BHD: Tensor, time_B: Tensor) -> Tensor:
        """Return the velocity (B, H, D) at `x_BHD` and `time_B` (0 noise, 1 actions)."""
        frequencies = torch.exp(
            torch.arange(_TIME_FEATURES // 2, device=time_B.device) * (math.log(100.0) * 2 / _TIME_FEATURES)
        )
        angle_BT = time_B[:, None] * frequencies * 2
        inputs = torch.cat([features_BF, x_BHD.flatten(1), angle_BT.sin(), angle_BT.cos()], dim=-1)
        return torch.as_tensor(self.mlp(inputs).view(x_BHD.shape))

    def loss(self, features_BF: Tensor, action_BHD: Tensor) -> Tensor:
        """Return the mean squared error of the velocity of each sample (B,); draws noise and times from torch's generator.

        Args:
            features_BF: Of the encoder.
            action_BHD: Normalised; NaN where an episode has no action any more. Those count for nothing.
        """
        known_BHD = torch.isfinite(action_BHD)
        target_BHD = torch.where(known_BHD, _flow_units(action_BHD), 0.0)
        noise_BHD = torch.randn_like(target_BHD)
        time_B = torch.rand(len(target_BHD), device=target_BHD.device)
        x_BHD = torch.lerp(noise_BHD, target_BHD, time_B[:, None, None])
        error_BHD = (self(features_BF, x_BHD, time_B).float() - (target_BHD - noise_BHD)).square() * known_BHD
        return torch.as_tensor(error_BHD.sum((1, 2)) / known_BHD.sum((1, 2)).clamp(min=1))

    def sample(self, features_BF: Tensor, noise_BHD: Tensor) -> Tensor:
        """Return the normalised chunks (B, H, D) that the flow carries the noise to."""
        x_BHD = noise_BHD
        for step in range(self.config.steps):
            time_B = torch.full_like(x_BHD[:, 0, 0], step / self.config.steps)
            x_BHD = x_BHD + self(features_BF, x_BHD, time_B) / self.config.steps
        return torch.cat([x_BHD[..., :-1], (x_BHD[..., -1:] + 1) / 2], dim=-1)


def _flow_units(action_BHD: Tensor) -> Tensor:
    return torch.cat([action_BHD[..., :-1], action_BHD[..., -1:] * 2 - 1], dim=-1)
