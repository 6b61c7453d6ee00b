"""Image augmentation (paper §B.2.2): crop, then brightness, contrast, saturation and hue.

The observation and the goal of a sample get the same draw, so that their difference still shows where to go. The draws of
one sample are independent of each other and of other samples, but for the option `one_draw`.

Brightness, contrast, saturation and hue (a rotation of the chroma plane) are each an affine map of RGB. Their product is
applied in one matrix multiplication and clipped once at the end, which is cheap beside even a small network.

Shape suffixes: B batch, H height, W width, C channels (3 an image), P pixels, R values of several pixels, U draws of a sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from soar.errors import ConfigError

# RGB to luma and two chroma axes (YIQ); rotating the chroma plane turns the hue and keeps the luma.
_RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationConfig:
    """How far images are changed; 0 (or a crop scale of 1 to 1) turns a change off. Defaults: released code.

    Attributes:
        crop_scale: Range of the area of the crop, as a share of the image.
        crop_ratio: Range of the ratio of the crop's width to its height.
        shift: Instead of the crop: largest shift [px] to each side, edges repeated. Much cheaper.
        brightness: Largest change, as a share of the full range.
        contrast: Largest relative change of the distance from the image's mean.
        saturation: Largest relative change of the distance from grey.
        hue: Largest change, as a share of the whole colour circle.
        one_draw: One number decides all changes of a sample, so that bright images are always saturated ones, too: what the
            released code does.
    """

    crop_scale: tuple[float, float] = (0.8, 1.0)
    crop_ratio: tuple[float, float] = (0.9, 1.1)
    shift: int = 0
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.1
    one_draw: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise ConfigError(f"augmentation.crop_scale must be a range within 0 to 1, got {self.crop_scale}")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise ConfigError(f"augmentation.crop_ratio must be a range of positive numbers, got {self.crop_ratio}")
        if self.shift < 0:
            raise ConfigError(f"augmentation.shift must not be negative, got {self.shift}")
        if self.shift and self.crops:
            raise ConfigError(
                "augmentation: shift and crop exclude each other; set crop_scale and crop_ratio to [1, 1] to shift"
            )
        for name, limit in (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.5)):
            if not 0 <= getattr(self, name) <= limit:
                raise ConfigError(f"augmentation.{name} must lie between 0 and {limit}, got {getattr(self, name)}")

    @property
    def crops(self) -> bool:
        """Whether images are cropped and resized."""
        return self.crop_scale != (1.0, 1.0) or self.crop_ratio != (1.0, 1.0)

    @property
    def colours(self) -> bool:
        """Whether colours are changed."""
        return max(self.brightness, self.contrast, self.saturation, self.hue) > 0


NO_AUGMENTATION = AugmentationConfig(
    crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0
)


_PIXELS = 4
"""As many that lie side by side are recoloured in one product."""
DRAWS = 8
"""Numbers in 0..1 that decide the changes of a sample: area, ratio, x, y, brightness, contrast, saturation, hue."""


def augment(
    observation_BHWC: Tensor, goal_BHWC: Tensor, config: AugmentationConfig, draw_BU: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Augment pairs of images, see `augment_together`; the result is observation and goal."""
    observation_BCHW, goal_BCHW = augment_together([observation_BHWC, goal_BHWC], config, draw_BU)
    return observation_BCHW, goal_BCHW


def augment_together(images: Sequence[Tensor], config: AugmentationConfig, draw_BU: Tensor | None = None) -> tuple[Tensor, ...]:
    """Augment the images of samples; those of one sample get the same changes.

    Args:
        images: Each uint8 RGB (B, H, W, 3), all of one shape.
        config: How far images are changed.
        draw_BU: (B, `DRAWS`) uniform in 0..1; drawn from torch's default CPU generator by default.

    Returns:
        The images as floats (B, 3, H, W) in -1..1, channels last in memory.
    """
    if draw_BU is None:
        draw_BU = torch.rand(len(images[0]), DRAWS)
    if config.one_draw:
        draw_BU = draw_BU[:, :1].expand(-1, DRAWS)
    draw_BU = draw_BU.to(images[0].device)
    return tuple(_augmented(image_BHWC, config, draw_BU).permute(0, 3, 1, 2) for image_BHWC in images)


def _augmented(x_BHWC: Tensor, config: AugmentationConfig, draw_BU: Tensor) -> Tensor:
    if config.shift:
        x_BHWC = _shift(x_BHWC, config.shift, draw_BU)
    x_BHWC = x_BHWC.float()
    if config.crops:
        x_BHWC = _crop(x_BHWC, config, draw_BU)
    return _recolour(x_BHWC, config, draw_BU) if config.colours else x_BHWC / 127.5 - 1


def _between(draw_B: Tensor, low: float, high: float) -> Tensor:
    return low + draw_B * (high - low)


def _shift(x_BHWC: Tensor, limit: int, draw_BU: Tensor) -> Tensor:
    batch, height, width, channels = x_BHWC.shape
    offset_2B = ((2 * limit + 1) * draw_BU[:, [3, 2]].T).long().clamp(max=2 * limit) - limit
    row_BH = (torch.arange(height, device=x_BHWC.device) + offset_2B[0, :, None]).clamp(0, height - 1)
    column_BW = (torch.arange(width, device=x_BHWC.device) + offset_2B[1, :, None]).clamp(0, width - 1)
    first_B = torch.arange(batch, device=x_BHWC.device) * height * width
    pixel_BHW = first_B[:, None, None] + row_BH[:, :, None] * width + column_BW[:, None, :]
    return x_BHWC.reshape(-1, channels).index_select(0, pixel_BHW.flatten()).view(x_BHWC.shape)


def _crop(x_BHWC: Tensor, config: AugmentationConfig, draw_BU: Tensor) -> Tensor:
    batch, height, width, _ = x_BHWC.shape
    area_B = _between(draw_BU[:, 0], *config.crop_scale)
    low, high = config.crop_ratio
    ratio_B = _between(draw_BU[:, 1], math.log(low), math.log(high)).exp()
    size_B2 = torch.stack([(area_B * ratio_B).sqrt(), (area_B / ratio_B).sqrt()], dim=-1).clamp(max=1)
    centre_B2 = (1 - size_B2) * (2 * draw_BU[:, 2:4] - 1)  # In grid_sample's -1..1.
    transform_B23 = torch.cat([torch.diag_embed(size_B2), centre_B2[:, :, None]], dim=-1)
    grid_BHW2 = F.affine_grid(transform_B23, [batch, 1, height, width], align_corners=False)
    cropped_BCHW = F.grid_sample(x_BHWC.permute(0, 3, 1, 2), grid_BHW2, padding_mode="border", align_corners=False)
    return cropped_BCHW.permute(0, 2, 3, 1).contiguous()


def _recolour(x_BHWC: Tensor, config: AugmentationConfig, draw_BU: Tensor) -> Tensor:
    """Map 0..255 to -1..1 with other colours."""
    batch, height, width, channels = x_BHWC.shape
    x_BPC = x_BHWC.reshape(batch, height * width, channels)
    eye = torch.eye(3, device=x_BHWC.device)
    yiq = torch.tensor(_RGB_TO_YIQ, device=x_BHWC.device)
    brightness_B11 = _between(draw_BU[:, 4], -config.brightness, config.brightness)[:, None, None]
    contrast_B11 = _between(draw_BU[:, 5], 1 - config.contrast, 1 + config.contrast)[:, None, None]
    saturation_B11 = _between(draw_BU[:, 6], 1 - config.saturation, 1 + config.saturation)[:, None, None]
    angle_B = _between(draw_BU[:, 7], -config.hue, config.hue) * 2 * math.pi

    grey_33 = yiq[0].repeat(3, 1)
    saturate_B33 = saturation_B11 * eye + (1 - saturation_B11) * grey_33
    rotate_B33 = eye.repeat(batch, 1, 1)
    rotate_B33[:, 1, 1] = rotate_B33[:, 2, 2] = angle_B.cos()
    rotate_B33[:, 2, 1] = angle_B.sin()
    rotate_B33[:, 1, 2] = -angle_B.sin()
    chroma_B33 = torch.linalg.inv(yiq) @ rotate_B33 @ yiq @ saturate_B33
    matrix_B33 = contrast_B11 * chroma_B33 / 127.5

    # Contrast is about the image's own mean, after the brightness has moved it; chroma acts on all of it.
    mean_B1C = x_BPC.mean(1, keepdim=True)
    bias_B1C = (255 * brightness_B11 + (1 - contrast_B11) * mean_B1C) @ chroma_B33.mT / 127.5 - 1
    # Several pixels a row: a product with so small a matrix costs three times as much, and one that adds the bias twice that.
    several = math.gcd(height * width, _PIXELS)
    blocks_BRR = torch.kron(torch.eye(several, device=x_BHWC.device), matrix_B33)
    out_BPR = torch.bmm(x_BPC.reshape(batch, -1, several * channels), blocks_BRR.mT)
    out_BPR += bias_B1C.repeat(1, 1, several)
    return out_BPR.clamp_(-1, 1).view(batch, height, width, channels)
