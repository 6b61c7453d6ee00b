"""The small visual question answering model that comes with the simulator: yes/no questions about a 64-pixel image.

A convolutional network keeps the image at 16×16 positions, so that small objects stay apart. The question is read as a few
phrases ("green block", "wooden bowl"), and each phrase points at the positions that fit it; what is there, where it is and
how well it fits decide the answer. The image is seen once for all questions about it.

`p_yes` is calibrated on held-out episodes for questions whose answer is as often yes as no, whatever the share was in the data:
divide the logit by a temperature. Shift it by log(b / (1 − b)) for a base rate b that is known.

Shape suffixes: B images, R questions, C channels, H height, W width, L tokens, D features, P pointers, M positions of an image,
S pointers of all questions about an image.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from soar.errors import ConfigError
from soar.images import resized
from soar.nn.layers import ResidualBlock, drawn_parameter
from soar.nn.model_files import make_network, read_config, read_weights
from soar.nn.text_encoder import TextConfig, TextEncoder, mean_word, tokenize, unknown_words
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
        width: Features of an image position.
        pointers: Phrases that a question is read as.
        blocks: Residual blocks.
        text: The encoder of questions.
        temperature: Divides the logits; fitted after training.
    """

    image_size: int = 64
    width: int = 64
    pointers: int = 4
    blocks: int = 3
    text: TextConfig = field(default_factory=TextConfig)
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.image_size < 8 or self.image_size % 4:
            raise ConfigError(f"image_size must be a multiple of 4, at least 8; got {self.image_size}")
        if self.width < 16 or self.width % 16:
            raise ConfigError(f"width must be a multiple of 16, got {self.width}")
        if self.pointers < 1 or self.blocks < 1:
            raise ConfigError(f"pointers and blocks must be positive, got {self.pointers} and {self.blocks}")
        if not self.temperature > 0:
            raise ConfigError(f"temperature must be positive, got {self.temperature}")


class VQANetwork(nn.Module):
    """Image and question to the logit of yes."""

    def __init__(self, config: VQAConfig) -> None:
        super().__init__()
        self.config = config
        width, words, pointers = config.width, config.text.width, config.pointers
        side = config.image_size // 4
        self.text = TextEncoder(config.text)
        self.stem = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, stride=2, padding=1), nn.SiLU(), nn.Conv2d(width // 2, width, 3, stride=2, padding=1)
        )
        self.blocks = nn.ModuleList(ResidualBlock(width, width, 1) for _ in range(config.blocks))
        self.position = drawn_parameter(1, side * side, width)
        self.norm = nn.LayerNorm(width)
        self.phrase = nn.Linear(words, pointers)
        self.query = nn.Linear(words, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        axis = torch.linspace(-1, 1, side, device="cpu")
        grid_M2 = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).flatten(0, 1)
        self.register_buffer("grid_M2", grid_M2, persistent=False)
        self.head = nn.Sequential(
            nn.Linear(pointers * (width + 3) + words, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 1)
        )

    def see(self, images_BCHW: Tensor) -> Tensor:
        """Return the features (B, M, D) of the M positions of float images in [-1, 1]."""
        x = self.stem(images_BCHW.contiguous(memory_format=torch.channels_last))
        nothing_B1 = x.new_zeros(len(x), 1)
        for block in self.blocks:
            x = block(x, nothing_B1)
        return torch.as_tensor(self.norm(x.flatten(2).transpose(1, 2) + self.position))

    def answer(self, features_BMD: Tensor, words_RLD: Tensor, mask_RL: Tensor) -> Tensor:
        """Return the logits (R,) in float32 of R questions, R / B about each image in turn."""
        images, width, pointers = len(features_BMD), self.config.width, self.config.pointers
        choice_RLP = self.phrase(words_RLD).float().masked_fill(~mask_RL[:, :, None], -1e4).softmax(1)
        phrases_RPD = choice_RLP.transpose(1, 2) @ words_RLD.float()
        query_BSD = self.query(phrases_RPD).reshape(images, -1, width)
        scores_BSM = (query_BSD @ self.key(features_BMD).transpose(1, 2)).float() / width**0.5
        where_BSM = scores_BSM.softmax(-1)
        found_BSD = where_BSM @ self.value(features_BMD).float()
        evidence_BS1 = scores_BSM.logsumexp(-1, keepdim=True)
        pointed = torch.cat([found_BSD, where_BSM @ self.get_buffer("grid_M2"), evidence_BS1], dim=-1)
        pointed = pointed.reshape(-1, pointers * (width + 3))
        return torch.as_tensor(self.head(torch.cat([pointed, mean_word(words_RLD, mask_RL).float()], dim=1))[:, 0].float())

    def forward(self, images_BCHW: Tensor, tokens_BL: Tensor) -> Tensor:
        """Return the logits (B,) in float32, of float images in [-1, 1] and a question each."""
        return self.answer(self.see(images_BCHW), *self.text(tokens_BL))


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
        network = make_network(VQANetwork, read_config(folder, KIND, VQAConfig), folder)
        digest = read_weights(folder, network)
        return cls(network.to(device), f"vqa-{digest}")

    @property
    def id(self) -> str:
        """`vqa-` and a digest of the weights."""
        return self._id

    def check(self) -> None:
        """Nothing can be wrong once it is there."""

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a question that it does not know (see `soar.words`)."""
        return unknown_words(self.network.config.text, text)

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Answer question i about image i; a question with unknown words is answered all the same, with a warning."""
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} images but {len(questions)} questions")
        for text in set(questions) - self._warned:
            if unknown := self.unknown_words(text):
                log.warning("%s does not know the words %s of %r", self.id, ", ".join(unknown), text)
            self._warned.add(text)
        answers: list[Answer] = []
        for start in range(0, len(images), _BATCH):
            stop = start + _BATCH
            for p in self._probabilities(images[start:stop], questions[start:stop]):
                # Of weights that are not finite nothing follows.
                answers.append(Answer(text="yes" if p >= 0.5 else "no", p_yes=p) if p == p else Answer(text=""))  # noqa: PLR0124
        return answers

    def _probabilities(self, images: Sequence[Image], questions: Sequence[str]) -> list[float]:
        config, device = self.network.config, self.network.position.device
        size = (config.image_size, config.image_size)
        small = [resized(image, size) for image in images]
        with torch.inference_mode():
            images_BCHW = torch.from_numpy(np.stack(small)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
            logits_B = self.network(images_BCHW, torch.from_numpy(tokenize(config.text, questions)).to(device))
            return [float(p) for p in torch.sigmoid(logits_B / config.temperature).cpu()]
