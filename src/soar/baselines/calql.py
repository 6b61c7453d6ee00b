"""Calibrated Q-learning (Cal-QL, arXiv 2303.05479): what a critic minimises on data that somebody else collected.

    loss of a critic = (Q(s, a) - target)²  +  alpha · penalty

    target    r + discount · next value, and no next value where the episode ends. The next value is that of the more
              pessimistic target critic; of several sampled next actions the greatest (`max`) or the mean counts.
    penalty   how much more the critic thinks of sampled actions than of those in the data: it keeps the critic from believing
              in what nobody has tried. `logsumexp` is CQL's, with the densities that the actions were drawn with divided out;
              `mean` is the expectation over the policy's actions alone.
    bound     A policy's action is never pushed below the return that the data got from there on. That is the calibration: what
              is known to be possible is not called impossible. Uniform actions are not bounded.

Nothing here draws, and no network is known: whoever calls decides where gradients go. The square is not halved, as in the
authors' code; with half of it, half the alpha gives the same critic.

Shape suffixes: C critics, B batch, K sampled actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from soar.errors import ConfigError

Penalty = Literal["logsumexp", "mean"]
Backup = Literal["max", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalQLConfig:
    """How conservative the critics are; the defaults are those of the published language-conditioned critic.

    Attributes:
        alpha: Weight of the penalty; 0 leaves it out. The paper tried 1 and 5.
        calibrated: Whether the bound applies; without it this is CQL.
        penalty: See the module.
        backup: Which of the sampled next actions counts.
        samples: Actions that are drawn of each kind: uniform, the policy's here, the policy's at the next observation.
    """

    alpha: float = 5.0
    calibrated: bool = True
    penalty: Penalty = "logsumexp"
    backup: Backup = "max"
    samples: int = 4

    def __post_init__(self) -> None:
        if self.alpha < 0:
            raise ConfigError(f"calql.alpha must not be negative, got {self.alpha}")
        if self.samples < 1:
            raise ConfigError(f"calql.samples must be at least 1, got {self.samples}")
        for name, value, valid in (
            ("penalty", self.penalty, ("logsumexp", "mean")),
            ("backup", self.backup, ("max", "mean")),
        ):
            if value not in valid:
                raise ConfigError(f"calql.{name}: unknown {value!r}. Valid choices: {', '.join(valid)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Actions that were drawn at each observation, and what the critics think of them.

    Attributes:
        value_CBK: Of each critic.
        log_density_BK: With which they were drawn.
        from_policy: Whether a policy drew them; otherwise they are uniform, and not bounded.
    """

    value_CBK: Tensor
    log_density_BK: Tensor
    from_policy: bool = True


def td_target(reward_B: Tensor, terminal_B: Tensor, next_value_CBK: Tensor, discount: float, backup: Backup) -> Tensor:
    """Return what a critic should say of the data's actions (B,), without gradient.

    Args:
        reward_B: Of the actions.
        terminal_B: 1 where nothing comes after.
        next_value_CBK: What the target critics think of sampled next actions.
        discount: A step.
        backup: Which of those counts.
    """
    pessimistic_BK = next_value_CBK.min(0).values
    next_B = pessimistic_BK.max(-1).values if backup == "max" else pessimistic_BK.mean(-1)
    return (reward_B + discount * (1 - terminal_B) * next_B).detach()


def bounded(value_CBK: Tensor, return_B: Tensor) -> Tensor:
    """Return values no lower than the return that the data got; below it no gradient flows."""
    return torch.maximum(value_CBK, return_B[None, :, None])


def conservative_penalty(sampled: Sequence[Sampled], data_CB: Tensor, return_B: Tensor, config: CalQLConfig) -> Tensor:
    """Return the penalty of each critic and observation (C, B).

    Args:
        sampled: Sets of actions.
        data_CB: What the critics think of the data's actions.
        return_B: Of the data, from the observation on.
        config: Which penalty, and whether policies' actions are bounded.
    """
    terms = []
    for one in sampled:
        value_CBK = bounded(one.value_CBK, return_B) if config.calibrated and one.from_policy else one.value_CBK
        if config.penalty == "logsumexp":
            terms.append(value_CBK - one.log_density_BK)
        elif one.from_policy:
            terms.append(value_CBK)
    all_CBK = torch.cat(terms, dim=-1)
    pushed_down_CB = all_CBK.logsumexp(-1) if config.penalty == "logsumexp" else all_CBK.mean(-1)
    return pushed_down_CB - data_CB


def critic_losses(
    data_CB: Tensor, target_B: Tensor, sampled: Sequence[Sampled], return_B: Tensor, config: CalQLConfig
) -> dict[str, Tensor]:
    """Return what the critics minimise, summed over them, and what to watch.

    Returns:
        `critic_loss`; `td_error` and `penalty`, means; `below_bound`: the share of the policy's values below the return. Near 0
        or 1 it hints at rewards in wrong units.
    """
    td_error = (data_CB - target_B).square().mean(-1)
    penalty = conservative_penalty(sampled, data_CB, return_B, config).mean(-1) if sampled else torch.zeros_like(td_error)
    below = [(one.value_CBK < return_B[None, :, None]).float().mean() for one in sampled if one.from_policy]
    return {
        "critic_loss": (td_error + config.alpha * penalty).sum(),
        "td_error": td_error.detach().mean(),
        "penalty": penalty.detach().mean(),
        "below_bound": torch.stack(below).mean() if below else td_error.new_zeros(()),
    }
