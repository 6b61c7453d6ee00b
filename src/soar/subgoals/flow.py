"""Subgoals by latent flow matching: what the camera would see 20 steps later, as an edit of what it sees now (paper §B.4).

    observation ─► trunk ──┬───────────────────────────► decoder ─► goal        one pass: paints where a gate opens
                           ▼                             ▲    ▲
    instruction ─► words ─► reading ─────────────────────┤    │
                                     noise ─► flow ◄─────┘    │
                                                └─────────────┘ code            some cheap steps on a vector

A conditional autoencoder: an encoder that sees observation and goal says in a short code how they differ, and a decoder
changes the observation accordingly. The decoder also sees the *reading*, the observation as the words ask for it, so what
follows from observation and words (which object, which bowl) need not be in the code; a price on the code (`code_weight` in
training) keeps it to what is left open. What is left open is one decision (how far, along which way), so it is one vector, and
every code decodes to a whole arm. The generative model is a flow of that code, given the reading. Time runs from 0 (noise) to
1; in between x_t = (1 − t) · noise + t · code. The network predicts the code; the velocity then is (prediction − x_t) /
(1 − t), integrated in equal Euler steps, of which the last one lands on the prediction.

Guidance has two axes, as in InstructPix2Pix and SuSIE. With predictions N (neither condition), I (image only), T (image and
text), the guided one is N + w_image · (I − N) + w_text · (T − I). A prediction whose coefficient is 0 is not computed: with
both weights 1 only T is, with w_image = 1 only T and I.

Shape suffixes: B batch, C channels, H height, W width, L tokens, Z code, F condition. Images inside are float in [-1, 1].
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soar.cameras import MAIN
from soar.errors import ConfigError, NumericalError
from soar.nn.layers import ResidualBlock, TransformerBlock, drawn_parameter
from soar.nn.model_files import make_network, read_config, read_weights
from soar.nn.text_encoder import TextConfig, TextEncoder, empty_texts, mean_word, tokenize, unknown_words
from soar.seeding import generator
from soar.types import Image

log = logging.getLogger(__name__)

KIND = "flow subgoal model"
CONDITION = 256
"""Width of what conditions blocks and flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """The network.

    Attributes:
        image_size: Side of the images that it works on, in pixels.
        patch: Side of the square of pixels that becomes one position.
        width: Channels at full resolution (one position a patch); twice as many at half of it.
        heads: Attention heads.
        latent: Length of the code of a change.
        text: The encoder of instructions.
    """

    image_size: int = 64
    patch: int = 4
    width: int = 64
    heads: int = 4
    latent: int = 24
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

    steps: int = 8
    text_weight: float = 2.5
    image_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"sampling.steps must be at least 1, got {self.steps}")
        for name in ("text_weight", "image_weight"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ConfigError(f"sampling.{name} must be 0 or more, got {getattr(self, name)}")


class Seen(NamedTuple):
    """What the network makes of an observation: itself, and features at one and at two patches a position."""

    observation_BCHW: Tensor
    fine_BCHW: Tensor
    coarse_BCHW: Tensor


class Reading(NamedTuple):
    """An observation as an instruction asks for it: features of the places, and of the whole."""

    places_BCHW: Tensor
    whole_BF: Tensor


class FlowNetwork(nn.Module):
    """Trunk (of the observation), encoder (of the change), decoder (paints it), reader (of the text), flow of the code."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        pixels, width, wide, latent = 3 * config.patch**2, config.width, 2 * config.width, config.latent
        side = config.image_size // config.patch
        coarse = side // 2
        self.coarse = coarse
        # Trunk.
        self.position = nn.Parameter(torch.zeros(1, width, side, side))
        self.stem = nn.Conv2d(pixels, width, 3, padding=1)
        self.down = ResidualBlock(width, width, CONDITION)
        self.shrink = nn.Conv2d(width, wide, 3, stride=2, padding=1)
        self.middle = ResidualBlock(wide, wide, CONDITION)
        # Encoder.
        self.compare = nn.Conv2d(2 * pixels, width, 3, padding=1)
        self.compare_fine = ResidualBlock(width, width, CONDITION)
        self.compare_shrink = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.compare_coarse = ResidualBlock(width, width, CONDITION)
        self.posterior = nn.Sequential(nn.Linear(width * coarse**2, CONDITION), nn.SiLU(), nn.Linear(CONDITION, 2 * latent))
        # Decoder.
        self.unfold = nn.Sequential(nn.Linear(latent, CONDITION), nn.SiLU(), nn.Linear(CONDITION, width * coarse**2))
        self.code = nn.Linear(latent, CONDITION)
        self.paint = nn.ModuleList([ResidualBlock(2 * wide + width, wide, CONDITION), ResidualBlock(wide, wide, CONDITION)])
        self.grow = nn.Conv2d(wide, 4 * width, 1)
        self.up = nn.ModuleList([ResidualBlock(2 * width, width, CONDITION), ResidualBlock(width, width, CONDITION)])
        self.norm = nn.GroupNorm(8, width)
        self.head = nn.Conv2d(width, 4 * config.patch**2, 3, padding=1)
        # Flow.
        self.text = TextEncoder(config.text)
        self.token = nn.Linear(wide, wide)
        self.place = drawn_parameter(1, coarse**2, wide)
        self.read = nn.ModuleList(TransformerBlock(wide, config.heads, config.text.width) for _ in range(2))
        self.read_norm = nn.LayerNorm(wide)
        self.squeeze = nn.Linear(wide, 32)
        self.condition = nn.Linear(32 * coarse**2, CONDITION)
        self.summary = nn.Linear(config.text.width, CONDITION)
        self.time = nn.Linear(64, CONDITION)
        self.enter = nn.Linear(latent, CONDITION)
        self.mix = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(CONDITION), nn.Linear(CONDITION, 2 * CONDITION), nn.SiLU(), nn.Linear(2 * CONDITION, CONDITION)
            )
            for _ in range(3)
        )
        self.leave = nn.Linear(CONDITION, latent)

    def see(self, observation_BCHW: Tensor) -> Seen:
        """Return the features of observations (B, 3, H, W) in [-1, 1]."""
        nothing_BF = observation_BCHW.new_zeros(len(observation_BCHW), CONDITION)
        x = self.stem(_patches(observation_BCHW, self.config.patch)) + self.position
        fine = self.down(x, nothing_BF)
        return Seen(observation_BCHW, fine, self.middle(self.shrink(fine), nothing_BF))

    def encode(self, observation_BCHW: Tensor, goal_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance (B, latent) of the code of the change from the observation to the goal."""
        nothing_BF = observation_BCHW.new_zeros(len(observation_BCHW), CONDITION)
        both = torch.cat([observation_BCHW, goal_BCHW], dim=1)
        x = self.compare_fine(self.compare(_patches(both, self.config.patch)), nothing_BF)
        x = self.compare_coarse(self.compare_shrink(x), nothing_BF)
        mean, log_variance = self.posterior(x.flatten(1)).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-8, 4)

    def decode(self, seen: Seen, reading: Reading, code_BZ: Tensor) -> Tensor:
        """Return goals (B, 3, H, W) in float32: the observation, changed as the reading and the code say."""
        code_BF = F.silu(self.code(code_BZ))
        unfolded = self.unfold(code_BZ).view(len(code_BZ), -1, self.coarse, self.coarse)
        x = torch.cat([seen.coarse_BCHW, reading.places_BCHW, unfolded], dim=1)
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.paint:
            x = block(x, code_BF)
        x = torch.cat([F.pixel_shuffle(self.grow(x), 2), seen.fine_BCHW], dim=1).contiguous(memory_format=torch.channels_last)
        for block in self.up:
            x = block(x, code_BF)
        made_BCHW = F.pixel_shuffle(self.head(F.silu(self.norm(x))), self.config.patch).float()
        painted_BCHW, gate_B1HW = made_BCHW[:, :3], made_BCHW[:, 3:]
        # What is painted replaces the observation where the gate opens: erasing the arm then takes no copy of its pixels.
        change_BCHW = torch.sigmoid(gate_B1HW - 2) * (painted_BCHW - seen.observation_BCHW)
        return torch.as_tensor(seen.observation_BCHW + change_BCHW)

    def read_scene(self, seen: Seen, text: tuple[Tensor, Tensor], keep_B: Tensor) -> Reading:
        """Return the observation (ignored where `keep_B` is 0) as the words ask for it.

        Args:
            seen: The features of the observation.
            text: Features (B, L, D) and mask (B, L) of the words.
            keep_B: 1, or 0 where the observation is dropped.
        """
        words_BLD, mask_BL = text
        x = self.token(seen.coarse_BCHW.flatten(2).transpose(1, 2)) * keep_B[:, None, None] + self.place
        for block in self.read:
            x = block(x, None, words_BLD, mask_BL)
        x = self.read_norm(x)
        whole_BF = self.condition(self.squeeze(x).flatten(1)) + self.summary(mean_word(words_BLD, mask_BL))
        return Reading(x.transpose(1, 2).unflatten(2, (self.coarse, self.coarse)), whole_BF)

    def flow(self, noisy_BZ: Tensor, time_B: Tensor, condition_BF: Tensor) -> Tensor:
        """Return the predicted code (B, latent) in float32, given x_t, t in [0, 1], and the condition."""
        x = self.enter(noisy_BZ) + self.time(_waves(time_B)) + condition_BF
        for block in self.mix:
            x = x + block(x)
        return torch.as_tensor(self.leave(x).float())


def _patches(images_BCHW: Tensor, patch: int) -> Tensor:
    return F.pixel_unshuffle(images_BCHW, patch).contiguous(memory_format=torch.channels_last)


def _waves(time_B: Tensor) -> Tensor:
    """Return sines and cosines (B, 64) of a time in [0, 1]."""
    angle = time_B[:, None] * torch.exp(torch.linspace(0.0, math.log(256.0), 32, device=time_B.device))
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def to_float(images_BHWC: Tensor) -> Tensor:
    """Return uint8 images (B, H, W, 3) as float (B, 3, H, W) in [-1, 1]."""
    return images_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(images_BCHW: Tensor) -> Tensor:
    """Return float images (B, 3, H, W) in [-1, 1] as uint8 (B, H, W, 3)."""
    return ((images_BCHW + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def sample(
    network: FlowNetwork, observation_BCHW: Tensor, tokens_BL: Tensor, noise_BZ: Tensor, config: SamplingConfig
) -> Tensor:
    """Return goals (B, 3, H, W) in [-1, 1]: the noise flows to a code, and the code is decoded."""
    seen = network.see(observation_BCHW)
    words = network.text(tokens_BL)
    nothing = network.text(empty_texts(tokens_BL))
    keep_B = torch.ones(len(noise_BZ), device=noise_BZ.device)
    reading = network.read_scene(seen, words, keep_B)
    branches = [(config.text_weight, reading.whole_BF)]
    for coefficient, kept in ((config.image_weight - config.text_weight, 1), (1 - config.image_weight, 0)):
        if coefficient != 0:
            branches.append((coefficient, network.read_scene(seen, nothing, kept * keep_B).whole_BF))
    x = noise_BZ
    for step in range(config.steps):
        time_B = torch.full((len(x),), step / config.steps, device=x.device)
        code = torch.stack([c * network.flow(x, time_B, condition) for c, condition in branches]).sum(0)
        x = x + (code - x) / (config.steps - step)
    return network.decode(seen, reading, x).clamp(-1, 1)


class FlowSubgoalModel:
    """The subgoal model that comes with the simulator (see `soar.subgoals.base.SubgoalModel`).

    It works at its own resolution; the change that it makes is enlarged and added to an image of another size.
    """

    camera = MAIN
    """Whose pictures it imagines."""

    def __init__(self, network: FlowNetwork, id: str, sampling: SamplingConfig) -> None:
        self.network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.sampling = sampling
        self._id = id
        self._warned: set[str] = set()

    @classmethod
    def load(cls, folder: Path, sampling: SamplingConfig | None = None, device: str = "cpu") -> Self:
        """Load a model that `soar.training.flow_subgoals.train_subgoal_model` made.

        Raises:
            CheckpointError: The folder holds no such model, or a damaged one.
        """
        network = make_network(FlowNetwork, read_config(folder, KIND, FlowConfig), folder)
        digest = read_weights(folder, network)
        return cls(network.to(device), f"flow-{digest}", sampling or SamplingConfig())

    @property
    def id(self) -> str:
        """`flow-` and a digest of the weights."""
        return self._id

    def reset(self) -> None:
        """Nothing is kept."""

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of an instruction that it does not know (see `soar.words`)."""
        return unknown_words(self.network.config.text, text)

    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        """Return one subgoal a (image, instruction), of the image's own size.

        Each is sampled by itself, so that it depends on its image, instruction and seed only, to the last bit, and not on what
        else is asked for in the same call.
        """
        for text in set(instructions) - self._warned:
            if unknown := self.unknown_words(text):
                log.warning("%s does not know the words %s of %r", self.id, ", ".join(unknown), text)
            self._warned.add(text)
        return [self._generate(*item) for item in zip(images, instructions, seeds, strict=True)]

    def _generate(self, image_HWC: Image, instruction: str, seed: int) -> Image:
        config, device = self.network.config, self.network.position.device
        size = (config.image_size, config.image_size)
        resized = image_HWC.shape[:2] != size
        small_HWC = cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA) if resized else image_HWC
        noise_Z = generator(seed, "subgoal").standard_normal(config.latent, np.float32)
        with torch.inference_mode():
            goal_BCHW = sample(
                self.network,
                to_float(torch.tensor(small_HWC, device=device)[None]),
                torch.from_numpy(tokenize(config.text, [instruction])).to(device),
                torch.from_numpy(noise_Z).to(device)[None],
                self.sampling,
            )
            if not bool(torch.isfinite(goal_BCHW).all()):
                raise NumericalError(
                    f"{self.id} made NaN or infinity, so that there is no subgoal. Its weights are damaged: train it again."
                )
            goal_HWC: Image = to_uint8(goal_BCHW)[0].cpu().contiguous().numpy()
        if not resized:
            return goal_HWC
        change_HWC = cv2.resize(goal_HWC.astype(np.float32) - small_HWC, image_HWC.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        enlarged: Image = np.clip(np.rint(image_HWC + change_HWC), 0, 255).astype(np.uint8)
        return enlarged
