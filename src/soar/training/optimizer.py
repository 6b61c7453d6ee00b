"""The optimiser of every training: AdamW, with a learning rate of their own for some parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def adamw(
    model: nn.Module, rate_of: Callable[[str], float], *, learning_rate: float, beta2: float, weight_decay: float
) -> torch.optim.AdamW:
    """Return the optimiser of a model; each of its parameter groups has a `share` of the learning rate.

    Args:
        model: On the device on which it is to be trained.
        rate_of: From the name of a parameter to its share.
        learning_rate: Of a share of 1.
        beta2: Of AdamW.
        weight_decay: Of AdamW.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault(rate_of(name), []).append(parameter)
    shares = [{"params": parameters, "share": share} for share, parameters in groups.items()]
    return torch.optim.AdamW(shares, lr=learning_rate, betas=(0.9, beta2), weight_decay=weight_decay, fused=True)
