from __future__ import annotations

import dataclasses

import pytest
import torch

from soar.baselines.actor_critic import ActorCritic, ActorCriticConfig, CriticConfig, Transitions
from soar.baselines.calql import CalQLConfig
from soar.errors import ConfigError
from soar.policies.encoders import EncoderConfig
from soar.policies.heads import HeadConfig
from soar.policies.instructions import InstructionConfig
from soar.policies.network import NetworkConfig

NETWORK = NetworkConfig(
    conditioning="language",
    encoder=EncoderConfig(name="small", width=4),
    image_size=64,
    dropout=0.0,
    head=HeadConfig(hidden=(8,), tanh=True),
    instruction=InstructionConfig(encoder="hashed-words", features=16, hidden=8),
)
LOW, HIGH = (-0.1,) * 6 + (0.0,), (0.1,) * 6 + (1.0,)
B = 5


def network(**critic: object) -> ActorCritic:
    torch.manual_seed(0)
    config = CriticConfig(hidden=(8, 8), **critic)  # type: ignore[arg-type]
    return ActorCritic(ActorCriticConfig(network=NETWORK, critic=config, low=LOW, high=HIGH))


def transitions() -> Transitions:
    torch.manual_seed(1)
    return Transitions(
        image_BCHW=torch.rand(B, 3, 64, 64),
        next_image_BCHW=torch.rand(B, 3, 64, 64),
        embedding_BE=torch.randn(B, 16),
        action_BD=torch.rand(B, 7) * 2 - 1,
        reward_B=-torch.ones(B),
        terminal_B=torch.tensor([0.0, 0, 0, 0, 1]),
        return_B=torch.tensor([-50.0, -40, -20, -5, 0]),
    )


def moved_by(model: ActorCritic, loss: str) -> set[str]:
    """First names of the parameters that a part of the loss changes."""
    torch.manual_seed(2)
    losses = model.losses(transitions(), CalQLConfig(), 0.98)
    names, parameters = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
    gradients = torch.autograd.grad(losses[loss], parameters, allow_unused=True)
    return {name.split(".")[0] for name, one in zip(names, gradients, strict=True) if one is not None and one.abs().sum() > 0}


def test_the_critics_loss_alone_trains_the_encoder_and_no_loss_of_the_actor_changes_a_critic() -> None:
    assert moved_by(network(), "critic_loss") == {"trunk", "critics"}
    assert moved_by(network(), "actor_loss") == {"actor", "actor_log_std"}
    assert moved_by(network(shared=False), "critic_loss") == {"trunk", "critics"}
    assert moved_by(network(shared=False), "actor_loss") == {"actor", "actor_log_std", "actor_trunk"}


def test_the_whole_loss_gives_each_part_the_gradient_of_its_own_loss() -> None:
    gradients = []
    for loss in ("loss", "critic_loss"):
        model = network()
        torch.manual_seed(2)
        model.losses(transitions(), CalQLConfig(), 0.98)[loss].backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if name.startswith(("trunk", "critics"))})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])


def test_target_critics_have_no_gradient_and_follow() -> None:
    model = network(target_rate=0.25)
    before = model.target_critics.heads[0].out.weight.clone()
    with torch.no_grad():
        model.critics.heads[0].out.weight.add_(1.0)
    model.update_targets()
    torch.testing.assert_close(model.target_critics.heads[0].out.weight, before + 0.25)
    assert not any(parameter.requires_grad for parameter in model.target_trunk.parameters())


def test_alpha_zero_asks_about_no_action_but_the_datas() -> None:
    losses = network().losses(transitions(), CalQLConfig(alpha=0.0), 0.98)
    assert float(losses["penalty"]) == 0
    assert float(losses["critic_loss"]) == pytest.approx(2 * float(losses["td_error"]), rel=1e-5)


def test_densities_are_those_of_a_squashed_gaussian() -> None:
    model = network()
    features = torch.randn(3, 256)
    torch.manual_seed(3)
    action, density = model.sample(features, 4)
    mean, std = model._distribution(features)
    squashed = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean[:, None], std[:, None]), [torch.distributions.transforms.TanhTransform()]
    )
    torch.testing.assert_close(density, squashed.log_prob(action).sum(-1), rtol=1e-3, atol=1e-3)


def test_the_exported_actor_does_its_mean_action() -> None:
    model = network().eval()
    batch = transitions()
    with torch.inference_mode():
        mean, _ = model._distribution(model.trunk(batch.image_BCHW, batch.embedding_BE))
        acted = model.policy_network().eval()(batch.image_BCHW, batch.embedding_BE)
    torch.testing.assert_close(acted[:, :6], mean[:, :6].tanh())
    torch.testing.assert_close(acted[:, 6] >= 0, mean[:, 6].tanh() >= 0)


def test_every_layer_of_a_critic_can_be_told_the_action() -> None:
    for every, layers in ((False, 1), (True, 2)):
        head = network(action_every_layer=every).critics.heads[0]
        assert len(head.actions) == layers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": dataclasses.replace(NETWORK, conditioning="goal")}, "follows instructions"),
        ({"network": dataclasses.replace(NETWORK, auxiliary_weight=0.1)}, "auxiliary_weight must be 0"),
        ({"high": LOW}, "low below high"),
    ],
)
def test_a_network_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ActorCriticConfig(**{"network": NETWORK, "low": LOW, "high": HIGH} | change)  # type: ignore[arg-type]
