"""Image encoders by name: (B, C, H, W) floats in -1..1 become (B, `features`).

`resnet34` is the paper's (§B.2.1): ResNet-34 with GroupNorm and swish, any image size, mean pooling. `small` is made for one
CPU core: 64×64 pixels, a 4×4 patch stem, three stages of residual blocks at 16×16, 8×8 and 4×4. Its last map is flattened, not
averaged, because where the gripper is matters more than what it looks like.

Shape suffixes: B batch, C channels, H height, W width, F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from soar.errors import ConfigError

NAMES = ("small", "resnet34")
SMALL_IMAGE_SIZE = 64
_GROUPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Which encoder, and how wide.

    Attributes:
        name: `small` or `resnet34`.
        width: Channels of the first stage (the paper's ResNet-34 has 64); a multiple of 4.
    """

    name: Literal["small", "resnet34"] = "resnet34"
    width: int = 64

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ConfigError(f"encoder.name: unknown encoder {self.name!r}. Valid choices: {', '.join(NAMES)}.")
        if self.width < _GROUPS or self.width % _GROUPS:
            raise ConfigError(f"encoder.width must be a positive multiple of {_GROUPS}, got {self.width}")


class Encoder(nn.Module):
    """An encoder of images; `features` is the size of what it returns."""

    features: int


def build_encoder(config: EncoderConfig, channels: int) -> Encoder:
    """Return a freshly initialised encoder of images with `channels` channels."""
    encoder = SmallEncoder(channels, config.width) if config.name == "small" else ResNet34(channels, config.width)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            _initialize(module)
    return encoder


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

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
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

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return features (B, F)."""
        if image_BCHW.shape[-2:] != (SMALL_IMAGE_SIZE, SMALL_IMAGE_SIZE):
            raise ConfigError(
                f"the small encoder takes {SMALL_IMAGE_SIZE} x {SMALL_IMAGE_SIZE} images, got "
                f"{image_BCHW.shape[-2]} x {image_BCHW.shape[-1]}. Resize them, or choose the encoder resnet34."
            )
        features_BF: Tensor = self.body(image_BCHW)
        return features_BF


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


class ResNet34(Encoder):
    """ResNet-34 with GroupNorm (4 groups), swish, and the padding of the released model (§B.2.1)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, width)
        blocks: list[nn.Module] = []
        before = width
        for stage, count in enumerate((3, 4, 6, 3)):
            after = width * 2**stage
            for index in range(count):
                blocks.append(_BasicBlock(before, after, stride=2 if stage and not index else 1))
                before = after
        self.blocks = nn.Sequential(*blocks)
        self.features = before

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return features (B, F) of images of any size."""
        x_BCHW = F.silu(self.norm(self.stem(image_BCHW)))
        x_BCHW = F.max_pool2d(_same_padding(x_BCHW, 3, 2, value=-math.inf), 3, stride=2)
        features_BF: Tensor = self.blocks(x_BCHW).mean((-2, -1))
        return features_BF


class _BasicBlock(nn.Module):
    """conv → norm → swish → conv → norm, added to the (projected) input, then swish."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, bias=False)
        self.norm1 = nn.GroupNorm(_GROUPS, after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(_GROUPS, after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.GroupNorm(_GROUPS, after))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = F.silu(self.norm1(self.conv1(_same_padding(x_BCHW, 3, self.stride))))
        y_BCHW = self.norm2(self.conv2(y_BCHW))
        shortcut_BCHW: Tensor = self.shortcut(x_BCHW)
        return F.silu(shortcut_BCHW + y_BCHW)
