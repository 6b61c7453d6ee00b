from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from soar.errors import ConfigError
from soar.policies.encoders import EncoderConfig
from soar.policies.heads import HeadConfig
from soar.policies.network import NetworkConfig, PolicyNetwork, images_to_tensor

CONFIG = NetworkConfig(encoder=EncoderConfig(name="small", width=4), image_size=64, dropout=0.0, gripper_std=0.3)
IMAGES = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 3, 3, 64, 64)).astype(np.float32))
ACTIONS = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
STATES = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(1))


def losses(network: PolicyNetwork, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    return network.losses(*IMAGES, ACTIONS, observation_state_BD=STATES[0], goal_state_BD=STATES[1], **more)


def test_the_loss_is_minus_the_log_likelihood_of_a_gaussian() -> None:
    network = PolicyNetwork(CONFIG).eval()
    std = torch.tensor([1.0] * 6 + [0.3])
    with torch.no_grad():
        expected = -Normal(network(*IMAGES), std).log_prob(ACTIONS).sum(-1)
    assert float(losses(network)["loss"].detach()) == pytest.approx(float(expected.mean()), rel=1e-5)
    weights = torch.tensor([0.0, 3.0, 0.0])
    assert float(losses(network, weight_B=weights)["loss"].detach()) == pytest.approx(float(expected[1]), rel=1e-5)


def test_the_goal_changes_the_action() -> None:
    network = PolicyNetwork(CONFIG).eval()
    observation, goal = IMAGES
    assert not torch.allclose(network(observation, goal), network(observation, observation), atol=1e-4)


@torch.no_grad()
def test_the_auxiliary_loss_predicts_normalised_states_and_is_not_needed_to_act() -> None:
    network = PolicyNetwork(dataclasses.replace(CONFIG, auxiliary_weight=0.5)).eval()
    network.set_state_statistics(np.full(7, 0.5), np.full(7, 2.0))
    terms = losses(network)
    plain = float(terms["loss"] - 0.5 * terms["state_error"])
    features = network.encoder(torch.cat(list(IMAGES), dim=1))
    target = torch.cat([(STATES[0] - 0.5) / 2, (STATES[1] - 0.5) / 2], dim=-1)
    assert float(terms["state_error"]) == pytest.approx(
        float((network.state_head(features) - target).square().mean()), rel=1e-5
    )
    before = network(*IMAGES)
    network.state_head.weight.add_(1.0)
    assert torch.equal(network(*IMAGES), before)
    worse = losses(network)
    assert float(worse["state_error"]) > float(terms["state_error"])
    assert float(worse["loss"] - 0.5 * worse["state_error"]) == pytest.approx(plain, rel=1e-3)


def test_the_auxiliary_loss_trains_the_encoder() -> None:
    network = PolicyNetwork(dataclasses.replace(CONFIG, auxiliary_weight=0.5))
    losses(network)["state_error"].backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in network.encoder.parameters())


@torch.no_grad()
def test_the_loss_stays_float32_in_autocast() -> None:
    network = PolicyNetwork(CONFIG).eval()
    with torch.autocast("cpu", torch.bfloat16):
        half = losses(network)["loss"]
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(float(losses(network)["loss"]), rel=0.05)


def test_images_are_scaled_to_plus_and_minus_one() -> None:
    image = np.zeros((1, 2, 3, 3), np.uint8)
    image[0, 1, 2] = (255, 0, 255)
    out = images_to_tensor(image)
    assert out.shape == (1, 3, 2, 3)
    assert out[0, :, 1, 2].tolist() == [1, -1, 1]
    assert math.isclose(float(out.min()), -1)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"image_size": 128}, "small encoder takes 64 px, got 128"),
        ({"dropout": 1.0}, "dropout"),
        ({"gripper_std": 0.0}, "gripper_std"),
        ({"auxiliary_weight": -1.0}, "auxiliary_weight"),
    ],
)
def test_an_impossible_configuration_names_its_field(changes: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        dataclasses.replace(CONFIG, **changes)  # type: ignore[arg-type]


def test_the_gripper_is_right_when_it_is_on_the_right_side_of_one_half() -> None:
    network = PolicyNetwork(CONFIG)
    torch.nn.init.zeros_(network.head[-1].weight)  # type: ignore[index, arg-type]
    torch.nn.init.constant_(network.head[-1].bias, 1.7)  # type: ignore[index, arg-type]
    images, action, state = torch.zeros(4, 3, 64, 64), torch.zeros(4, 7), torch.zeros(4, 7)
    action[:3, -1] = 1
    found = network.losses(images, images, action, observation_state_BD=state, goal_state_BD=state)
    assert float(found["gripper_accuracy"]) == 0.75


def test_tanh_bounds_the_motion_and_leaves_the_gripper_alone() -> None:
    network = PolicyNetwork(dataclasses.replace(CONFIG, head=HeadConfig(tanh=True)))
    torch.nn.init.zeros_(network.head[-1].weight)  # type: ignore[index, arg-type]
    torch.nn.init.constant_(network.head[-1].bias, 1.7)  # type: ignore[index, arg-type]
    action = network.eval()(torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 64, 64))
    torch.testing.assert_close(action[:, :6], torch.full((2, 6), 1.7).tanh())
    torch.testing.assert_close(action[:, 6], torch.full((2,), 1.7))
