"""Image encoders by name: (B, C, H, W) floats in -1..1 become (B, `features`).

`resnet34` is the paper's (§B.2.1): ResNet-34 with GroupNorm and swish, any image size, mean pooling; `resnet18` and `resnet50`
are its relatives. `small` is made for one CPU core: 64×64 pixels, a 4×4 patch stem, three stages of residual blocks at 16×16,
8×8 and 4×4. Its last map is flattened, not averaged, because where the gripper is matters more than what it looks like.

Conditioning. An encoder that is built with `condition` features scales and shifts the channels at the end of every residual
block by a linear function of them (FiLM, §B.3.1), which is the identity before training.

Shape suffixes: B batch, C channels, H height, W width, F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soar.errors import ConfigError

EncoderName = Literal["small", "resnet18", "resnet34", "resnet50"]
NAMES: tuple[str, ...] = get_args(EncoderName)
SMALL_IMAGE_SIZE = 64
STAGES = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
"""Residual blocks of each stage."""
_GROUPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Which encoder, and how wide.

    Attributes:
        name: `small`, `resnet18`, `resnet34` or `resnet50`.
        width: Channels of the first stage (the paper's ResNet-34 has 64); a multiple of 4.
        spatial_coordinates: Append two channels that say which row and column a pixel is in, from -1 to 1.
    """

    name: EncoderName = "resnet34"
    width: int = 64
    spatial_coordinates: bool = False

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ConfigError(f"encoder.name: unknown encoder {self.name!r}. Valid choices: {', '.join(NAMES)}.")
        if self.width < _GROUPS or self.width % _GROUPS:
            raise ConfigError(f"encoder.width must be a positive multiple of {_GROUPS}, got {self.width}")


class Encoder(nn.Module):
    """An encoder of images; `features` is the size of what it returns."""

    features: int

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.coordinates = config.spatial_coordinates

    def forward(self, image_BCHW: Tensor, condition_BF: Tensor | None = None) -> Tensor:
        """Return features (B, F); a conditioned encoder needs `condition_BF`."""
        if self.coordinates:
            image_BCHW = torch.cat([image_BCHW, _coordinates(image_BCHW)], dim=1)
        return self.encode(image_BCHW, condition_BF)

    def encode(self, image_BCHW: Tensor, condition_BF: Tensor | None) -> Tensor:
        """Return features (B, F) of images with all their channels."""
        raise NotImplementedError


def build_encoder(config: EncoderConfig, channels: int, condition: int = 0) -> Encoder:
    """Return a freshly initialised encoder of images with `channels` channels, conditioned on `condition` features if any."""
    channels += 2 * config.spatial_coordinates
    small = config.name == "small"
    encoder = SmallEncoder(config, channels, condition) if small else ResNet(config, channels, condition)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            _initialize(module)
    return encoder


def _coordinates(x_BCHW: Tensor) -> Tensor:
    """Return the row and the column of each pixel (B, 2, H, W), in -1..1."""
    batch, _, height, width = x_BCHW.shape
    row_H, column_W = (torch.linspace(-1, 1, size, device=x_BCHW.device, dtype=x_BCHW.dtype) for size in (height, width))
    grid_2HW = torch.stack([row_H[:, None].expand(height, width), column_W[None].expand(height, width)])
    return grid_2HW.expand(batch, 2, height, width)


class Film(nn.Module):
    """Scales and shifts channels by a linear function of a vector; the identity before training."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.linear = nn.Linear(condition, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x_BCHW: Tensor, condition_BF: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        scale, shift = self.linear(condition_BF)[:, :, None, None].chunk(2, dim=1)
        return torch.as_tensor(x_BCHW * (1 + scale) + shift)


def _apply_blocks(layers: nn.Sequential, films: nn.ModuleList, x: Tensor, condition_BF: Tensor | None) -> Tensor:
    """Return what comes out of the layers, with a FiLM after each residual block if there are any."""
    if not len(films):
        return torch.as_tensor(layers(x))
    if condition_BF is None:
        raise ValueError("this encoder is conditioned: it needs condition_BF")
    upcoming = iter(films)
    for layer in layers:
        x = layer(x)
        if isinstance(layer, (_PreActivationBlock, _BasicBlock, _BottleneckBlock)):
            x = next(upcoming)(x, condition_BF)
    return x


def _initialize(convolution: nn.Conv2d) -> None:
    """Truncated-normal Kaiming initialisation by fan in; 0.8796 is the standard deviation of a unit normal cut at ±2."""
    std = math.sqrt(2 / convolution.weight[0].numel()) / 0.87962566
    nn.init.trunc_normal_(convolution.weight, std=std, a=-2 * std, b=2 * std)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def _same_padding(x_BCHW: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad so that the output has ceil(size / stride) pixels; the odd pixel goes to the right and the bottom."""
    pads: list[int] = []
    for size in (x_BCHW.shape[-1], x_BCHW.shape[-2]):
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x_BCHW, pads, value=value)


class SmallEncoder(Encoder):
    """A residual network for 64×64 images that one CPU core trains at well over 1,000 images/s (bfloat16, channels last)."""

    features = 256

    def __init__(self, config: EncoderConfig, channels: int, condition: int) -> None:
        super().__init__(config)
        width = config.width
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=4),
            _PreActivationBlock(width),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            _PreActivationBlock(2 * width),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1),
            _PreActivationBlock(4 * width),
            nn.GroupNorm(_GROUPS, 4 * width),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(4 * width * (SMALL_IMAGE_SIZE // 16) ** 2, self.features),
            nn.LayerNorm(self.features),
            nn.SiLU(),
        )
        self.films = nn.ModuleList(Film(width * 2**stage, condition) for stage in range(3) if condition)

    def encode(self, image_BCHW: Tensor, condition_BF: Tensor | None) -> Tensor:
        """Return features (B, F)."""
        if image_BCHW.shape[-2:] != (SMALL_IMAGE_SIZE, SMALL_IMAGE_SIZE):
            raise ConfigError(
                f"the small encoder takes {SMALL_IMAGE_SIZE} x {SMALL_IMAGE_SIZE} images, got "
                f"{image_BCHW.shape[-2]} x {image_BCHW.shape[-1]}. Resize them, or choose the encoder resnet34."
            )
        return _apply_blocks(self.body, self.films, image_BCHW, condition_BF)


class _PreActivationBlock(nn.Module):
    """swish → conv → norm → swish → conv, added to the input. One norm a block: a second costs 15 % of the speed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW: Tensor = self.conv2(F.silu(self.norm(self.conv1(F.silu(x_BCHW)))))
        return x_BCHW + y_BCHW


class ResNet(Encoder):
    """A residual network with GroupNorm (4 groups), swish, and the padding of the released model (§B.2.1)."""

    def __init__(self, config: EncoderConfig, channels: int, condition: int) -> None:
        super().__init__(config)
        self.stem = nn.Conv2d(channels, config.width, 7, stride=2, padding=3, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, config.width)
        kind: type[_BottleneckBlock] | type[_BasicBlock] = _BottleneckBlock if config.name == "resnet50" else _BasicBlock
        blocks: list[nn.Module] = []
        films: list[nn.Module] = []
        before = config.width
        for stage, count in enumerate(STAGES[config.name]):
            after = config.width * 2**stage
            for index in range(count):
                blocks.append(kind(before, after, stride=2 if stage and not index else 1))
                before = after * kind.expansion
                if condition:
                    films.append(Film(before, condition))
        self.blocks = nn.Sequential(*blocks)
        self.films = nn.ModuleList(films)
        self.features = before

    def encode(self, image_BCHW: Tensor, condition_BF: Tensor | None) -> Tensor:
        """Return features (B, F) of images of any size."""
        x_BCHW = F.silu(self.norm(self.stem(image_BCHW)))
        x_BCHW = F.max_pool2d(_same_padding(x_BCHW, 3, 2, value=-math.inf), 3, stride=2)
        return _apply_blocks(self.blocks, self.films, x_BCHW, condition_BF).mean((-2, -1))


class _BasicBlock(nn.Module):
    """conv → norm → swish → conv → norm, added to the (projected) input, then swish."""

    expansion = 1

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, bias=False)
        self.norm1 = nn.GroupNorm(_GROUPS, after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(_GROUPS, after)
        self.shortcut = _shortcut(before, after, stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = F.silu(self.norm1(self.conv1(_same_padding(x_BCHW, 3, self.stride))))
        y_BCHW = self.norm2(self.conv2(y_BCHW))
        shortcut_BCHW: Tensor = self.shortcut(x_BCHW)
        return F.silu(shortcut_BCHW + y_BCHW)


class _BottleneckBlock(nn.Module):
    """1×1 conv → 3×3 conv → 1×1 conv to four times the width, each with norm, added to the (projected) input, then swish."""

    expansion = 4

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(before, after, 1, bias=False)
        self.norm1 = nn.GroupNorm(_GROUPS, after)
        self.conv2 = nn.Conv2d(after, after, 3, stride=stride, bias=False)
        self.norm2 = nn.GroupNorm(_GROUPS, after)
        self.conv3 = nn.Conv2d(after, self.expansion * after, 1, bias=False)
        self.norm3 = nn.GroupNorm(_GROUPS, self.expansion * after)
        self.shortcut = _shortcut(before, self.expansion * after, stride)
        nn.init.zeros_(self.norm3.weight)  # The block begins as its shortcut.

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = F.silu(self.norm1(self.conv1(x_BCHW)))
        y_BCHW = F.silu(self.norm2(self.conv2(_same_padding(y_BCHW, 3, self.stride))))
        y_BCHW = self.norm3(self.conv3(y_BCHW))
        shortcut_BCHW: Tensor = self.shortcut(x_BCHW)
        return F.silu(shortcut_BCHW + y_BCHW)


def _shortcut(before: int, after: int, stride: int) -> nn.Module:
    if stride == 1 and before == after:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.GroupNorm(_GROUPS, after))
