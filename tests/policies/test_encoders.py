from __future__ import annotations

import pytest
import torch

from soar.errors import ConfigError
from soar.policies.encoders import EncoderConfig, ResNet, build_encoder
from soar.policies.network import NetworkConfig, PolicyNetwork


def test_the_papers_network_has_the_parameters_of_the_released_one() -> None:
    with torch.device("meta"):
        network = PolicyNetwork(NetworkConfig())
    assert sum(parameter.numel() for parameter in network.parameters()) == 21_558_791


@pytest.mark.parametrize("size", [(32, 32), (45, 63), (128, 96)])
def test_resnet34_takes_images_of_any_size(size: tuple[int, int]) -> None:
    encoder = build_encoder(EncoderConfig(name="resnet34", width=4), channels=6)
    assert encoder(torch.zeros(2, 6, *size)).shape == (2, encoder.features)


def test_resnet34_pads_strided_convolutions_on_the_right_and_the_bottom() -> None:
    # A strided 3×3 convolution with SAME padding is centred at pixel 2i + 1. Symmetric padding would centre it at 2i.
    block = build_encoder(EncoderConfig(name="resnet34", width=4), channels=3)
    assert isinstance(block, ResNet)
    strided = next(b for b in block.blocks if b.stride == 2)
    x = torch.randn(1, 4, 8, 8, requires_grad=True)
    y = strided.conv1(torch.nn.functional.pad(x, (0, 1, 0, 1)))
    from_block: list[torch.Tensor] = []
    strided.conv1.register_forward_hook(lambda _m, _i, output: from_block.append(output))
    strided(x)
    assert torch.equal(from_block[0], y)


def test_the_small_encoder_sees_where_things_are() -> None:
    encoder = build_encoder(EncoderConfig(name="small", width=4), channels=3).eval()
    left, right = torch.zeros(2, 1, 3, 64, 64)
    left[:, :, 32:36, 8:12] = 1
    right[:, :, 32:36, 52:56] = 1
    with torch.no_grad():
        difference = encoder(left) - encoder(right)
    assert float(difference.abs().max()) > 0.05


def test_the_small_encoder_refuses_other_sizes() -> None:
    with pytest.raises(ConfigError, match=r"takes 64 x 64 images, got 32 x 64.*resnet34"):
        build_encoder(EncoderConfig(name="small", width=4), channels=3)(torch.zeros(1, 3, 32, 64))


def test_an_unknown_encoder_lists_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"unknown encoder 'vit'.*small, resnet18, resnet34, resnet50"):
        EncoderConfig(name="vit")  # type: ignore[arg-type]


def test_a_width_that_group_norm_cannot_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 4"):
        EncoderConfig(width=30)
