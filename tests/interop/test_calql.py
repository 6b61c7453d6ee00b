"""Our conservative loss against that of d3rlpy: equal weights, batches and draws. `make test-interop` runs these."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from soar.baselines.actor_critic import ActorCritic, ActorCriticConfig, CriticConfig
from soar.baselines.calql import CalQLConfig, Sampled, conservative_penalty
from tests.baselines.test_actor_critic import HIGH, LOW, NETWORK

from .conftest import Peer

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1800)]
B, K, D, FEATURES, HIDDEN, ALPHA = 32, 5, 7, 256, 8, 5.0


def test_the_conservative_losses_are_those_of_d3rlpy(tmp_path: Path, d3rlpy: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = ActorCritic(ActorCriticConfig(network=NETWORK, critic=CriticConfig(hidden=(HIDDEN,)), low=LOW, high=HIGH))
    with torch.no_grad():
        for parameter in model.actor_log_std.parameters():
            parameter.normal_(std=0.3)
    observation_BF, next_BF = torch.randn(2, B, FEATURES)
    action_BD = torch.rand(B, D) * 1.9 - 0.95
    # Some above what the critics say, some below: the bound must bind for a part of them.
    return_B = torch.linspace(-1, 1, B)
    uniform_BKD = torch.rand(B, K, D) * 2 - 1
    noises = torch.randn(2, B, K, D)

    given = {"observation": observation_BF, "next_observation": next_BF, "action": action_BD, "returns": return_B}
    given |= {"uniform": uniform_BKD, "here": noises[0], "next": noises[1]}
    for number, head in enumerate(model.critics.heads):
        given[f"critic{number}.0.weight"] = torch.cat([head.layers[0].weight, head.actions[0].weight], dim=1)
        given |= {f"critic{number}.0.bias": head.layers[0].bias}
        given |= {f"critic{number}.1.weight": head.out.weight, f"critic{number}.1.bias": head.out.bias}
    for name, layer in (("0", model.actor[0][0]), ("mean", model.actor[1]), ("log_std", model.actor_log_std)):
        given |= {f"policy.{name}.weight": layer.weight, f"policy.{name}.bias": layer.bias}
    np.savez(tmp_path / "in.npz", alpha=ALPHA, **{name: value.detach().numpy() for name, value in given.items()})
    d3rlpy(tmp_path / "in.npz", tmp_path / "out.npz")
    theirs = np.load(tmp_path / "out.npz")

    drawn = iter(noises)
    monkeypatch.setattr(torch, "randn", lambda *_shape, **_: next(drawn))
    sets = [(*model.sample(features, K), True) for features in (observation_BF, next_BF)]
    sets.append((uniform_BKD, torch.full((B, K), -D * math.log(2)), False))
    sampled = [
        Sampled(value_CBK=model.critics(observation_BF, action), log_density_BK=density, from_policy=policy)
        for action, density, policy in sets
    ]
    data_CB = model.critics(observation_BF, action_BD[:, None])[..., 0]
    ours = {
        name: ALPHA * float(conservative_penalty(sampled, data_CB, return_B, config).mean(-1).sum().detach())
        for name, config in (("calql", CalQLConfig()), ("cql", CalQLConfig(calibrated=False)))
    }
    assert ours["calql"] == pytest.approx(float(theirs["calql"]), rel=1e-5)
    assert ours["cql"] == pytest.approx(float(theirs["cql"]), rel=1e-5)
    assert abs(ours["calql"] - ours["cql"]) > 0.1
