"""Cal-QL's mathematics on a chain whose answers are known exactly, and by its properties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from soar.baselines.calql import CalQLConfig, Sampled, bounded, conservative_penalty, critic_losses, td_target
from soar.errors import ConfigError

# States 0 to 3, and 4, which ends it. Action 1 goes on with .9 and else stays; action 0 goes one back. A step costs 1.
DISCOUNT, ADVANCES = 0.9, 0.9
BEHAVIOUR, POLICY = np.array([0.5, 0.5]), np.array([0.1, 0.9])
V_BEHAVIOUR = [-7.947, -7.440, -6.245, -3.990]
V_POLICY = [-4.264, -3.477, -2.485, -1.332]
TENTHS = 10


def moves() -> np.ndarray:
    """Probability (4, 2, 5) of the next state by state and action."""
    found = np.zeros((4, 2, 5))
    for state in range(4):
        found[state, 0, max(state - 1, 0)] = 1
        found[state, 1, state] = 1 - ADVANCES
        found[state, 1, state + 1] = ADVANCES
    return found


def value_of(policy: np.ndarray) -> np.ndarray:
    steps = np.einsum("a,sat->st", policy, moves())[:, :4]
    return np.linalg.solve(np.eye(4) - DISCOUNT * steps, -np.ones(4))


def learned(alpha: float, *, calibrated: bool) -> np.ndarray:
    """What the policy is worth by a table that `critic_losses` trained: E_pi Q by state."""
    config = CalQLConfig(alpha=alpha, calibrated=calibrated, penalty="mean", backup="mean")
    # Every chance as often as it occurs in ten: with ten sampled actions for a policy of .1/.9 nothing is left to luck.
    rows = [
        (state, action, next_state)
        for state, action in itertools.product(range(4), range(2))
        for next_state in range(5)
        for _ in range(round(TENTHS * moves()[state, action, next_state]))
    ]
    state_B, action_B, next_B = torch.tensor(rows).T
    policy_K = torch.tensor([0] + [1] * 9)
    return_B = torch.tensor(value_of(BEHAVIOUR))[state_B]
    table = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([table], lr=1.0)
    terminal_B = (next_B == 4).double()
    steps = 500
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.995 if alpha == 0 or not calibrated else 0.985)
    for _ in range(steps):
        next_CBK = table[next_B.clamp(max=3)][:, policy_K][None].detach()
        target_B = td_target(-torch.ones(len(rows)), terminal_B, next_CBK, DISCOUNT, "mean")
        sampled = Sampled(value_CBK=table[state_B][:, policy_K][None], log_density_BK=torch.zeros(len(rows), TENTHS))
        losses = critic_losses(table[state_B, action_B][None], target_B, [sampled], return_B, config)
        optimizer.zero_grad()
        losses["critic_loss"].backward()
        optimizer.step()
        scheduler.step()
    return (table.detach() * torch.tensor(POLICY)).sum(-1).numpy()


def test_the_chain_is_the_one_whose_values_are_known() -> None:
    assert value_of(BEHAVIOUR) == pytest.approx(V_BEHAVIOUR, abs=1e-3)
    assert value_of(POLICY) == pytest.approx(V_POLICY, abs=1e-3)


# The table's alphas go with half the squared error, and ours is whole: twice the alpha.
@pytest.mark.parametrize(
    ("alpha", "calibrated", "expected"),
    [
        (0, True, V_POLICY),
        (1, False, [-6.992, -5.702, -4.075, -2.184]),
        (1, True, [-6.992, -5.702, -4.075, -2.184]),
        (2, False, [-9.721, -7.927, -5.665, -3.036]),
        (2, True, [-7.794, -7.338, -5.565, -2.982]),
        (5, False, [-17.907, -14.603, -10.436, -5.592]),
        (5, True, [-7.530, -7.074, -5.957, -3.827]),
    ],
)
def test_a_table_learns_what_can_be_computed(alpha: float, calibrated: bool, expected: list[float]) -> None:
    assert learned(2 * alpha, calibrated=calibrated) == pytest.approx(expected, abs=0.02)


def test_the_bound_holds_for_a_policys_actions_only() -> None:
    value = torch.full((1, 1, 2), -9.0, requires_grad=True)
    return_B, data = torch.tensor([-4.0]), torch.zeros(1, 1)
    density = torch.zeros(1, 2)
    for from_policy, gradient in ((True, 0.0), (False, 0.5)):
        value.grad = None
        sampled = Sampled(value_CBK=value, log_density_BK=density, from_policy=from_policy)
        conservative_penalty([sampled], data, return_B, CalQLConfig()).sum().backward()
        assert value.grad is not None
        assert value.grad.flatten().tolist() == pytest.approx([gradient] * 2)
    assert bounded(torch.tensor([[[-9.0, -1.0]]]), return_B).tolist() == [[[-4.0, -1.0]]]


def test_without_calibration_it_is_cql() -> None:
    value = torch.full((1, 1, 2), -9.0)
    sampled = Sampled(value_CBK=value, log_density_BK=torch.zeros(1, 2))
    found = conservative_penalty([sampled], torch.zeros(1, 1), torch.tensor([-4.0]), CalQLConfig(calibrated=False))
    assert float(found) == pytest.approx(-9 + math.log(2))


def test_densities_are_divided_out() -> None:
    # Two thirds of the draws have twice the density: the logarithm of the sum of exponentials does not see how often they came.
    value = torch.zeros(1, 1, 3)
    density = torch.log(torch.tensor([[2.0, 2.0, 1.0]]))
    sampled = Sampled(value_CBK=value, log_density_BK=density, from_policy=False)
    found = conservative_penalty([sampled], torch.zeros(1, 1), torch.zeros(1), CalQLConfig())
    assert float(found) == pytest.approx(math.log(0.5 + 0.5 + 1))


def test_nothing_is_bootstrapped_from_behind_an_end_and_the_pessimist_counts() -> None:
    reward, terminal = torch.tensor([-1.0, 0.0]), torch.tensor([0.0, 1.0])
    next_value = torch.tensor([[[-5.0, -3.0], [7.0, 7.0]], [[-4.0, -9.0], [8.0, 8.0]]], requires_grad=True)
    target = td_target(reward, terminal, next_value, 0.5, "max")
    assert target.tolist() == [-1 + 0.5 * -5, 0]
    assert not target.requires_grad
    assert td_target(reward, terminal, next_value, 0.5, "mean").tolist() == [-1 + 0.5 * -7, 0]


@pytest.mark.parametrize("change", [{"alpha": -1.0}, {"samples": 0}, {"penalty": "sum"}, {"backup": "min"}])
def test_a_number_that_cannot_be_is_refused_by_name(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"calql\.{next(iter(change))}"):
        CalQLConfig(**change)  # type: ignore[arg-type]
