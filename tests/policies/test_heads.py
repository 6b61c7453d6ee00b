from __future__ import annotations

import math

import pytest
import torch

from soar.errors import ConfigError
from soar.policies.encoders import EncoderConfig
from soar.policies.heads import FlowHead, HeadConfig
from soar.policies.instructions import InstructionConfig
from soar.policies.network import NetworkConfig, PolicyNetwork

FLOW = HeadConfig(name="flow", hidden=(64, 64), chunk=2, execute=2)


def test_a_flow_keeps_both_modes_that_a_gaussian_would_average() -> None:
    torch.manual_seed(0)
    head = FlowHead(HeadConfig(name="flow", hidden=(64, 64), steps=10), features=1, dropout=0.0)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    features = torch.zeros(256, 1)
    sign = torch.randint(0, 2, (256, 1, 1)) * 2.0 - 1
    actions = torch.cat([sign.expand(-1, -1, 6), (sign + 1) / 2], dim=-1)  # Left and closed, or right and open.
    for _ in range(500):
        optimizer.zero_grad()
        head.loss(features, actions).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        sample = head.sample(features, torch.randn(256, 1, 7))[:, 0]
    right = sample[:, 0] > 0
    assert 0.25 < float(right.float().mean()) < 0.75
    assert float((sample[:, :6].abs() - 1).abs().mean()) < 0.35
    assert float(((sample[:, 6] > 0.5) == right).float().mean()) > 0.95


def test_actions_after_the_end_of_an_episode_count_for_nothing() -> None:
    torch.manual_seed(0)
    head = FlowHead(FLOW, features=3, dropout=0.0)
    features, actions = torch.randn(4, 3), torch.randn(4, 2, 7)
    ended = actions.clone()
    ended[1, 1] = math.nan
    torch.manual_seed(1)
    whole = head.loss(features, actions)
    torch.manual_seed(1)
    cut = head.loss(features, ended)
    assert bool(torch.isfinite(cut).all())
    assert torch.equal(whole[[0, 2, 3]], cut[[0, 2, 3]])
    cut.sum().backward()  # type: ignore[no-untyped-call]
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in head.parameters() if parameter.grad is not None)


def test_what_a_flow_samples_is_where_its_noise_is_carried() -> None:
    head = FlowHead(FLOW, features=3, dropout=0.0).eval()
    features, noise = torch.randn(4, 3), torch.randn(4, 2, 7)
    with torch.no_grad():
        alone, together = head.sample(features[:1], noise[:1]), head.sample(features, noise)
    assert together.shape == (4, 2, 7)
    torch.testing.assert_close(alone, together[:1], atol=1e-5, rtol=0)
    assert not torch.allclose(head.sample(features, noise.flip(0)), together)


@pytest.mark.parametrize("encoder", ["small", "resnet18"])
@pytest.mark.parametrize("head", [HeadConfig(), FLOW])
def test_an_instruction_changes_the_action_and_its_layers_learn(encoder: str, head: HeadConfig) -> None:
    torch.manual_seed(0)
    config = NetworkConfig(
        conditioning="language",
        encoder=EncoderConfig(name=encoder, width=4),  # type: ignore[arg-type]
        head=head,
        instruction=InstructionConfig(encoder="hashed-words", features=8, hidden=16),
        image_size=64,
        auxiliary_weight=0.1,
    )
    network = PolicyNetwork(config)
    image, embeddings = torch.randn(2, 3, 64, 64), torch.randn(2, 8)
    network.eval()
    # FiLM is the identity before training: an instruction says nothing yet.
    torch.testing.assert_close(network(image, embeddings), network(image, -embeddings))
    assert len(network.encoder.films) == (3 if encoder == "small" else 8)  # type: ignore[arg-type]
    network.train()
    states = torch.randn(2, 2, 7)
    action = torch.randn(2, 2, 7) if head.name == "flow" else torch.randn(2, 7)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        losses = network.losses(image, embeddings, action, observation_state_BD=states[0], goal_state_BD=states[1])
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in network.language.parameters())  # type: ignore[union-attr]
    network.eval()
    assert not torch.allclose(network(image, embeddings), network(image, -embeddings))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"name": "mixture"}, "unknown head 'mixture'. Valid choices: gaussian, flow"),
        ({"chunk": 4}, "head.chunk must be 1 with head.name gaussian"),
        ({"name": "flow", "chunk": 2, "execute": 3}, r"head.execute must lie between 1 and head.chunk \(2\)"),
        ({"hidden": ()}, "head.hidden"),
        ({"steps": 0}, "head.steps"),
    ],
)
def test_an_impossible_head_names_its_field(values: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        HeadConfig(**values)  # type: ignore[arg-type]
