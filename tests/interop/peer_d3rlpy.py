"""Runs under the Python of `scripts/peer.sh d3rlpy`: the conservative losses of d3rlpy 2.8.1 on given weights, batch and draws.

    python peer_d3rlpy.py IN.npz OUT.npz

IN holds vectors in place of images: `observation`, `action`, `next_observation`, `returns`; the layers of two critics and of a
policy; and the random numbers that it would draw itself: standard normal ones for the actions `here` and `next`, and `uniform`
actions. OUT has `calql` and `cql`, each summed over the critics and weighted.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import patch

import d3rlpy
import numpy as np
import torch
from torch.distributions import normal


def main(given: Any, out: str) -> None:
    """Compute and write both losses."""
    tensors = {key: torch.tensor(given[key]) for key in ("observation", "action", "next_observation", "returns")}
    found = {}
    for name, config in (("calql", d3rlpy.algos.CalQLConfig), ("cql", d3rlpy.algos.CQLConfig)):
        encoder = d3rlpy.models.VectorEncoderFactory(hidden_units=[len(given["critic0.0.weight"])], activation="swish")
        algo = config(
            actor_encoder_factory=encoder,
            critic_encoder_factory=encoder,
            conservative_weight=float(given["alpha"]),
            alpha_learning_rate=0.0,
            initial_alpha=1.0,
            n_action_samples=given["uniform"].shape[1],
            alpha_threshold=0.0,
            n_critics=2,
        ).create(device="cpu:0")
        algo.create_impl(given["observation"].shape[1:], given["action"].shape[1])
        assert algo.impl is not None
        for number, critic in enumerate(algo.impl.modules.q_funcs):
            fill(critic, given, [f"critic{number}.0", f"critic{number}.1"])
        fill(algo.impl.modules.policy, given, ["policy.0", "policy.mean", "policy.log_std"])
        noise = iter([given["here"], given["next"]])
        # It draws all robots' first action, then all robots' second one.
        normal._standard_normal = lambda _shape, **_: torch.tensor(next(noise)).transpose(0, 1)  # noqa: B023
        given_uniform = torch.tensor(given["uniform"])
        with patch.object(torch.Tensor, "uniform_", lambda self, *_: self.copy_(given_uniform.reshape(self.shape))):  # noqa: B023
            loss = algo.impl._compute_conservative_loss(
                obs_t=tensors["observation"],
                act_t=tensors["action"],
                obs_tp1=tensors["next_observation"],
                returns_to_go=tensors["returns"][:, None],
            )
        found[name] = float(loss.sum())
    np.savez(out, **found)


def fill(module: torch.nn.Module, given: Any, names: list[str]) -> None:
    """Give the linear layers of a module their weights, in order."""
    layers = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
    for layer, name in zip(layers, names, strict=True):
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(given[f"{name}.weight"]))
            layer.bias.copy_(torch.tensor(given[f"{name}.bias"]))


if __name__ == "__main__":
    main(np.load(sys.argv[1]), sys.argv[2])
