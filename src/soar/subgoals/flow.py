"""Subgoals by flow matching: noise flows, in a few steps, to the image that the camera would see 20 steps later (paper §B.4).

Time runs from 0 (noise) to 1 (the goal); in between x_t = (1 − t) · noise + t · goal. The network sees x_t, the observation and
the words, and predicts the goal itself, as a change of the observation: most pixels stay as they are. The velocity of the flow
then is (prediction − x_t) / (1 − t), integrated in equal Euler steps, of which the last one lands on the prediction.

Guidance has two axes, as in InstructPix2Pix and SuSIE. With predictions N (neither condition), I (image only), T (image and
text), the guided one is N + w_image · (I − N) + w_text · (T − I). A prediction whose coefficient is 0 is not computed: with
both weights 1 only T is, with w_image = 1 only T and I. An absent text is the empty one, an absent image is mid-grey.

Shape suffixes: B batch, C channels, H height, W width, L tokens. Images inside are float in [-1, 1].
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soar.errors import ConfigError
from soar.language import TextConfig, TextEncoder, empty_texts, mean_word, tokenize, unknown_words
from soar.layers import Attention, ResidualBlock, TransformerBlock
from soar.model_files import read_config, read_weights
from soar.seeding import generator
from soar.types import Image

log = logging.getLogger(__name__)

KIND = "flow subgoal model"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """The network.

    Attributes:
        image_size: Side of the images that it works on, in pixels.
        patch: Side of the square of pixels that becomes one position.
        width: Channels at full resolution (one position a patch); twice as many at half of it.
        heads: Attention heads.
        text: The encoder of instructions.
    """

    image_size: int = 64
    patch: int = 4
    width: int = 64
    heads: int = 4
    text: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        if self.patch < 1 or self.image_size < 1 or self.image_size % (2 * self.patch):
            raise ConfigError(f"image_size must be a multiple of twice the patch ({self.patch}), got {self.image_size}")
        if self.width < 8 or self.width % 8 or self.heads < 1 or self.width % self.heads:
            raise ConfigError(f"width must be a multiple of 8 and of heads ({self.heads}), got {self.width}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """How images are sampled.

    Attributes:
        steps: Euler steps.
        text_weight: Guidance towards the instruction; 1 is none.
        image_weight: Guidance towards the observation; 1 is none. The paper's 7.5 and 2.0 are for SuSIE's noise prediction; a
            small model that has seen only robot images needs less.
    """

    steps: int = 5
    text_weight: float = 2.0
    image_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"sampling.steps must be at least 1, got {self.steps}")
        for name in ("text_weight", "image_weight"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ConfigError(f"sampling.{name} must be 0 or more, got {getattr(self, name)}")


class FlowNetwork(nn.Module):
    """A two-level UNet over patches. Image positions attend to the words, so that "green block" finds the green block."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        pixels, width, wide, text = 3 * config.patch**2, config.width, 2 * config.width, config.text.width
        condition = wide
        side = config.image_size // config.patch
        self.text = TextEncoder(config.text)
        self.time = nn.Sequential(nn.Linear(64, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.summary = nn.Linear(text, condition)
        self.position = nn.Parameter(torch.zeros(1, width, side, side))
        self.stem = nn.Conv2d(2 * pixels, width, 3, padding=1)
        self.down = nn.ModuleList(ResidualBlock(width, width, condition) for _ in range(2))
        self.down_norm = nn.LayerNorm(width)
        self.down_attention = Attention(width, config.heads, text)
        self.shrink = nn.Conv2d(width, wide, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(ResidualBlock(wide, wide, condition) for _ in range(3))
        self.middle_attention = nn.ModuleList(TransformerBlock(wide, config.heads, text) for _ in range(2))
        self.grow = nn.Conv2d(wide, 4 * width, 1)
        self.up = nn.ModuleList([ResidualBlock(2 * width, width, condition), ResidualBlock(width, width, condition)])
        self.norm = nn.GroupNorm(8, width)
        self.head = nn.Conv2d(width, pixels, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(
        self, noisy_BCHW: Tensor, time_B: Tensor, observation_BCHW: Tensor, words_BLD: Tensor, mask_BL: Tensor
    ) -> Tensor:
        """Return the predicted goal (B, 3, H, W) in float32.

        Args:
            noisy_BCHW: x_t.
            time_B: t in [0, 1].
            observation_BCHW: In [-1, 1]; zeros when it is dropped.
            words_BLD: What the text encoder (`text`) returns for the instruction, or for the empty text when it is dropped.
            mask_BL: The mask that it returns.
        """
        condition_BF = F.silu(self.time(_waves(time_B)) + self.summary(mean_word(words_BLD, mask_BL)))
        patch = self.config.patch
        pixels = F.pixel_unshuffle(torch.cat([noisy_BCHW, observation_BCHW], dim=1), patch)
        x = self.stem(pixels.contiguous(memory_format=torch.channels_last)) + self.position
        for block in self.down:
            x = block(x, condition_BF)
        x_BLD = _positions(x)
        x = fine = x + _image(self.down_attention(self.down_norm(x_BLD), words_BLD, mask_BL), x)
        x = self.middle[0](self.shrink(x), condition_BF)
        for attention, block in zip(self.middle_attention, list(self.middle)[1:], strict=True):
            x = block(_image(attention(_positions(x), None, words_BLD, mask_BL), x), condition_BF)
        x = torch.cat([F.pixel_shuffle(self.grow(x), 2), fine], dim=1).contiguous(memory_format=torch.channels_last)
        for block in self.up:
            x = block(x, condition_BF)
        change = F.pixel_shuffle(self.head(F.silu(self.norm(x))), patch)
        return observation_BCHW + change.float()


def _waves(time_B: Tensor) -> Tensor:
    """Return sines and cosines (B, 64) of a time in [0, 1]."""
    angle = time_B[:, None] * torch.exp(torch.linspace(0.0, math.log(256.0), 32, device=time_B.device))
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def _positions(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.flatten(2).transpose(1, 2)


def _image(x_BLD: Tensor, like_BCHW: Tensor) -> Tensor:
    batch, _, height, width = like_BCHW.shape
    return x_BLD.transpose(1, 2).reshape(batch, -1, height, width)


def to_float(images_BHWC: Tensor) -> Tensor:
    """Return uint8 images (B, H, W, 3) as float (B, 3, H, W) in [-1, 1]."""
    return images_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(images_BCHW: Tensor) -> Tensor:
    """Return float images (B, 3, H, W) in [-1, 1] as uint8 (B, H, W, 3)."""
    return ((images_BCHW + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def sample(
    network: FlowNetwork, observation_BCHW: Tensor, tokens_BL: Tensor, noise_BCHW: Tensor, config: SamplingConfig
) -> Tensor:
    """Return goals (B, 3, H, W) in [-1, 1] that the noise flows to; the predictions of a step are one call of the network."""
    empty_BL = empty_texts(tokens_BL)
    nothing = torch.zeros_like(observation_BCHW)
    coefficients = (config.text_weight, config.image_weight - config.text_weight, 1 - config.image_weight)
    conditions = ((observation_BCHW, tokens_BL), (observation_BCHW, empty_BL), (nothing, empty_BL))
    branches = [(c, image, text) for c, (image, text) in zip(coefficients, conditions, strict=True) if c != 0]
    weights = torch.tensor([c for c, _, _ in branches], device=noise_BCHW.device).view(-1, 1, 1, 1, 1)
    images = torch.cat([image for _, image, _ in branches])
    words_BLD, mask_BL = network.text(torch.cat([text for _, _, text in branches]))
    count = len(branches)
    x = noise_BCHW
    for step in range(config.steps):
        time = torch.full((count * len(x),), step / config.steps, device=x.device)
        predictions = network(x.repeat(count, 1, 1, 1), time, images, words_BLD, mask_BL).unflatten(0, (count, -1))
        goal = (weights * predictions).sum(0).clamp(-1, 1)
        x = x + (goal - x) / (config.steps - step)
    return x


class FlowSubgoalModel:
    """The subgoal model that comes with the simulator (see `soar.subgoals.base.SubgoalModel`).

    It works at its own resolution; the change that it makes is enlarged and added to an image of another size.
    """

    def __init__(self, network: FlowNetwork, id: str, sampling: SamplingConfig) -> None:
        self.network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.sampling = sampling
        self._id = id
        self._warned: set[str] = set()

    @classmethod
    def load(cls, folder: Path, sampling: SamplingConfig | None = None, device: str = "cpu") -> Self:
        """Load a model that `soar.training.subgoal.train_subgoal_model` made.

        Raises:
            CheckpointError: The folder holds no such model, or a damaged one.
        """
        network = FlowNetwork(read_config(folder, KIND, FlowConfig))
        digest = read_weights(folder, network)
        return cls(network.to(device), f"flow-{digest}", sampling or SamplingConfig())

    @property
    def id(self) -> str:
        """`flow-` and a digest of the weights."""
        return self._id

    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        """Return one subgoal a (image, instruction), of the image's own size.

        Each is sampled by itself, so that it depends on its image, instruction and seed only, to the last bit, and not on what
        else is asked for in the same call.
        """
        for text in set(instructions) - self._warned:
            if unknown := unknown_words(self.network.config.text, text):
                log.warning("%s does not know the words %s of %r", self.id, ", ".join(unknown), text)
            self._warned.add(text)
        return [self._generate(*item) for item in zip(images, instructions, seeds, strict=True)]

    def _generate(self, image_HWC: Image, instruction: str, seed: int) -> Image:
        config, device = self.network.config, self.network.position.device
        size = (config.image_size, config.image_size)
        resized = image_HWC.shape[:2] != size
        small_HWC = cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA) if resized else image_HWC
        noise_CHW = generator(seed, "subgoal").standard_normal((3, *size), np.float32)
        with torch.inference_mode():
            goal_BCHW = sample(
                self.network,
                to_float(torch.tensor(small_HWC, device=device)[None]),
                torch.from_numpy(tokenize(config.text, [instruction])).to(device),
                torch.from_numpy(noise_CHW).to(device)[None],
                self.sampling,
            )
            goal_HWC: Image = to_uint8(goal_BCHW)[0].cpu().contiguous().numpy()
        if not resized:
            return goal_HWC
        change_HWC = cv2.resize(goal_HWC.astype(np.float32) - small_HWC, image_HWC.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        enlarged: Image = np.clip(np.rint(image_HWC + change_HWC), 0, 255).astype(np.uint8)
        return enlarged
