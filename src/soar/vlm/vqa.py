"""The small visual question answering model that comes with the simulator: yes/no questions about a 64-pixel image.

A convolutional network keeps the image at 16×16 positions, so that small objects stay apart; the question modulates it (FiLM),
and then each of its words attends to the positions ("green block", "wooden bowl"), and the words to each other ("in").

`p_yes` is calibrated on held-out episodes for questions whose answer is as often yes as no, whatever the share was in the data:
divide the logit by a temperature. Shift it by log(b / (1 − b)) for a base rate b that is known.

Shape suffixes: B batch, C channels, H height, W width, L tokens, D features.
"""

from __future__ import annotations

import logging
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
from soar.language import TextConfig, TextEncoder, mean_word, tokenize, unknown_words
from soar.layers import ResidualBlock, TransformerBlock
from soar.model_files import read_config, read_weights
from soar.types import Image
from soar.vlm.base import Answer

log = logging.getLogger(__name__)

KIND = "VQA model"
_BATCH = 64
"""Questions answered at once; bounds the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VQAConfig:
    """The network.

    Attributes:
        image_size: Side of the images, in pixels; others are resized.
        width: Features of an image position and of a word.
        heads: Attention heads.
        layers: Layers in which words attend to the image.
        text: The encoder of questions.
        temperature: Divides the logits; fitted after training.
    """

    image_size: int = 64
    width: int = 96
    heads: int = 4
    layers: int = 2
    text: TextConfig = field(default_factory=TextConfig)
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.image_size < 8 or self.image_size % 4:
            raise ConfigError(f"image_size must be a multiple of 4, at least 8; got {self.image_size}")
        if self.width < 16 or self.width % 16 or self.heads < 1 or self.width % self.heads:
            raise ConfigError(f"width must be a multiple of 16 and of heads ({self.heads}), got {self.width}")
        if self.layers < 1:
            raise ConfigError(f"layers must be at least 1, got {self.layers}")
        if not self.temperature > 0:
            raise ConfigError(f"temperature must be positive, got {self.temperature}")


class VQANetwork(nn.Module):
    """Image and question to the logit of yes."""

    def __init__(self, config: VQAConfig) -> None:
        super().__init__()
        self.config = config
        width, condition = config.width, config.text.width
        side = config.image_size // 4
        self.text = TextEncoder(config.text)
        self.stem = nn.Conv2d(12, width // 2, 3, padding=1)
        self.fine = ResidualBlock(width // 2, width // 2, condition)
        self.shrink = nn.Conv2d(width // 2, width, 3, stride=2, padding=1)
        self.coarse = nn.ModuleList(ResidualBlock(width, width, condition) for _ in range(2))
        self.position = nn.Parameter(0.02 * torch.randn(1, side * side, width))
        self.norm_image = nn.LayerNorm(width)
        self.words = nn.Linear(condition, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, config.heads, width) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)

    def forward(self, images_BCHW: Tensor, tokens_BL: Tensor) -> Tensor:
        """Return the logits (B,) in float32, of float images in [-1, 1]."""
        words_BLD, mask_BL = self.text(tokens_BL)
        condition_BF = mean_word(words_BLD, mask_BL)
        x = F.pixel_unshuffle(images_BCHW, 2).contiguous(memory_format=torch.channels_last)
        x = self.shrink(self.fine(self.stem(x), condition_BF))
        for block in self.coarse:
            x = block(x, condition_BF)
        image_BMD = self.norm_image(x.flatten(2).transpose(1, 2) + self.position)
        answer_BLD = self.words(words_BLD)
        for block in self.blocks:
            answer_BLD = block(answer_BLD, mask_BL, image_BMD)
        return torch.as_tensor(self.head(self.norm(mean_word(answer_BLD, mask_BL)))[:, 0].float())


class VQAModel:
    """Answers yes/no questions with a `VQANetwork` (see `soar.vlm.base.VisionLanguageModel`)."""

    def __init__(self, network: VQANetwork, id: str) -> None:
        self.network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._id = id
        self._warned: set[str] = set()

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Self:
        """Load a model that `soar.training.vqa.train_vqa` made.

        Raises:
            CheckpointError: The folder holds no such model, or a damaged one.
        """
        network = VQANetwork(read_config(folder, KIND, VQAConfig))
        digest = read_weights(folder, network)
        return cls(network.to(device), f"vqa-{digest}")

    @property
    def id(self) -> str:
        """`vqa-` and a digest of the weights."""
        return self._id

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Answer question i about image i; a question with unknown words is answered all the same, with a warning."""
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} images but {len(questions)} questions")
        for text in set(questions) - self._warned:
            if unknown := unknown_words(self.network.config.text, text):
                log.warning("%s does not know the words %s of %r", self.id, ", ".join(unknown), text)
            self._warned.add(text)
        answers: list[Answer] = []
        for start in range(0, len(images), _BATCH):
            stop = start + _BATCH
            for p in self._probabilities(images[start:stop], questions[start:stop]):
                answers.append(Answer(text="yes" if p >= 0.5 else "no", p_yes=p))
        return answers

    def _probabilities(self, images: Sequence[Image], questions: Sequence[str]) -> list[float]:
        config, device = self.network.config, self.network.position.device
        size = (config.image_size, config.image_size)
        small = [
            image if image.shape[:2] == size else cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images
        ]
        with torch.inference_mode():
            images_BCHW = torch.from_numpy(np.stack(small)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
            logits_B = self.network(images_BCHW, torch.from_numpy(tokenize(config.text, questions)).to(device))
            return [float(p) for p in torch.sigmoid(logits_B / config.temperature).cpu()]
