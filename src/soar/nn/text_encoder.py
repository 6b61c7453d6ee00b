"""Small word-level text encoder: instructions and questions become one feature vector a word.

Words are shared between objects ("green" of the block and of the marker), so that what is learnt about one helps another. The
vocabulary is fixed when a model is trained and stored in its configuration. A word outside it counts as unknown: its embedding
is zero and never trained, so that it says only that there is a word; `unknown_words` lets callers warn about it.

Tokens: 0 padding, 1 unknown word, 2 start of the text (always there, so that the empty text is one token), 3 … the words.
Shape suffixes: B batch, L tokens, D width.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soar.errors import ConfigError, SoarError
from soar.nn.layers import TransformerBlock, drawn_parameter

PADDING, UNKNOWN, START = 0, 1, 2
SPECIAL_TOKENS = 3


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return re.findall(r"[^\W_]+", text.lower())


def collect_vocabulary(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct words of some texts, sorted."""
    return tuple(sorted({word for text in texts for word in split_words(text)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """Text encoder.

    Attributes:
        vocabulary: The words that it knows, see `collect_vocabulary`.
        width: Features of a token.
        layers: Transformer layers.
        heads: Attention heads.
        max_words: Longest text.
    """

    vocabulary: tuple[str, ...] = ()
    width: int = 96
    layers: int = 2
    heads: int = 4
    max_words: int = 24

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "max_words"):
            if getattr(self, name) < 1:
                raise ConfigError(f"text.{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ConfigError(f"text.width must be a multiple of text.heads ({self.heads}), got {self.width}")
        if len(set(self.vocabulary)) != len(self.vocabulary):
            raise ConfigError(
                f"text.vocabulary lists a word twice: {next(w for w in self.vocabulary if self.vocabulary.count(w) > 1)!r}"
            )


def unknown_words(config: TextConfig, text: str) -> list[str]:
    """Return the words of a text that are outside the vocabulary."""
    known = set(config.vocabulary)
    return [word for word in split_words(text) if word not in known]


def tokenize(config: TextConfig, texts: Sequence[str]) -> NDArray[np.int64]:
    """Return the tokens (B, 1 + max_words) of some texts.

    Raises:
        SoarError: A text has more than `max_words` words.
    """
    index = {word: SPECIAL_TOKENS + i for i, word in enumerate(config.vocabulary)}
    tokens_BL = np.full((len(texts), 1 + config.max_words), PADDING, np.int64)
    tokens_BL[:, 0] = START
    for row, text in zip(tokens_BL, texts, strict=True):
        found = split_words(text)
        if len(found) > config.max_words:
            raise SoarError(f"{text!r} has {len(found)} words, the model reads at most {config.max_words}: say it shorter.")
        row[1 : 1 + len(found)] = [index.get(word, UNKNOWN) for word in found]
    return tokens_BL


def empty_texts(tokens_BL: Tensor) -> Tensor:
    """Return tokens of the empty text, of the same shape."""
    empty_BL = torch.full_like(tokens_BL, PADDING)
    empty_BL[:, 0] = START
    return empty_BL


class TextEncoder(nn.Module):
    """A small transformer over words."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SPECIAL_TOKENS + len(config.vocabulary), config.width)
        self.position = drawn_parameter(1 + config.max_words, config.width)
        self.blocks = nn.ModuleList(TransformerBlock(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        with torch.no_grad():
            self.embedding.weight[UNKNOWN].zero_()

    def forward(self, tokens_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features (B, L, D) and the mask (B, L) that is True where there is a token."""
        mask_BL = tokens_BL != PADDING
        x = self.embedding(tokens_BL) + self.position[: tokens_BL.shape[1]]
        for block in self.blocks:
            x = block(x, mask_BL)
        return self.norm(x), mask_BL


def mean_word(words_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    """Return the mean (B, D) of the features of a text's tokens."""
    weight_BL1 = mask_BL[:, :, None].to(words_BLD.dtype)
    return (words_BLD * weight_BL1).sum(1) / weight_BL1.sum(1)
