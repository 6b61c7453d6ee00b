"""A small InstructPix2Pix pipeline with random weights, for those who train one of their own from nothing.

It has every part of a large one, in the same format: VAE, CLIP text encoder, tokenizer, UNet and scheduler. So whatever loads
the large one loads this one, `diffusers` included. The tokenizer knows the words that it is made for, each as one token, and
spells all others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from soar.errors import ConfigError
from soar.nn.text_encoder import split_words
from soar.seeding import derive_seed
from soar.subgoals.diffusion import quiet_diffusers
from soar.subgoals.susie import SCHEDULER

START, END, SPACE = "<|startoftext|>", "<|endoftext|>", "</w>"
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallConfig:
    """Sizes of the networks.

    Attributes:
        vae_channels: Of the VAE at each resolution; each but the first halves it.
        latent_channels: Of the latents.
        channels: Of the UNet at each resolution, the first of which has no attention.
        layers: Residual blocks of the UNet at each resolution.
        head_width: Channels of one attention head of the UNet.
        text_width: Width of the text encoder.
        text_layers: Its layers.
        max_tokens: Longest instruction, in tokens.
        groups: Of the group normalisations; divides all channels.
    """

    vae_channels: tuple[int, ...] = (32, 64, 64)
    latent_channels: int = 4
    channels: tuple[int, ...] = (64, 128)
    layers: int = 1
    head_width: int = 16
    text_width: int = 128
    text_layers: int = 2
    max_tokens: int = 32
    groups: int = 8

    def __post_init__(self) -> None:
        if len(self.vae_channels) < 2 or len(self.channels) < 2:
            raise ConfigError(
                "network.vae_channels and network.channels need two resolutions or more, "
                f"got {list(self.vae_channels)} and {list(self.channels)}"
            )
        for name in ("vae_channels", "channels"):
            if any(count < 1 or count % self.groups for count in getattr(self, name)):
                raise ConfigError(f"network.{name} must be multiples of groups ({self.groups}), got {getattr(self, name)}")
        if any(count % self.head_width for count in self.channels[1:]):
            raise ConfigError(f"network.channels must be multiples of head_width ({self.head_width}), got {self.channels}")
        if self.text_width % 16 or self.max_tokens < 3:
            raise ConfigError(
                f"text_width must be a multiple of 16 and max_tokens at least 3, got {self.text_width}, {self.max_tokens}"
            )


def small_pipeline(config: SmallConfig, instructions: Iterable[str], image_size: int, seed: int) -> Any:
    """Return a pipeline whose weights are random: equal arguments, equal weights.

    Raises:
        ConfigError: The image cannot be halved as often as the networks do.
    """
    diffusers = quiet_diffusers()
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    latent, depth = image_size >> (len(config.vae_channels) - 1), len(config.channels) - 1
    if latent << (len(config.vae_channels) - 1) != image_size or latent % (1 << depth) or not latent:
        raise ConfigError(
            f"image_size must be a multiple of {1 << (len(config.vae_channels) - 1 + depth)} for this network, got {image_size}"
        )
    vocabulary, merges = words_as_tokens(instructions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "small-pipeline"))
        vae = diffusers.AutoencoderKL(
            block_out_channels=config.vae_channels,
            down_block_types=("DownEncoderBlock2D",) * len(config.vae_channels),
            up_block_types=("UpDecoderBlock2D",) * len(config.vae_channels),
            latent_channels=config.latent_channels,
            norm_num_groups=config.groups,
            sample_size=image_size,
            scaling_factor=1.0,
            mid_block_add_attention=False,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(vocabulary),
                hidden_size=config.text_width,
                intermediate_size=2 * config.text_width,
                num_hidden_layers=config.text_layers,
                num_attention_heads=config.text_width // 16,
                max_position_embeddings=config.max_tokens,
                bos_token_id=vocabulary[START],
                eos_token_id=vocabulary[END],
                pad_token_id=vocabulary[END],
            )
        )
        unet = diffusers.UNet2DConditionModel(
            sample_size=latent,
            in_channels=2 * config.latent_channels,
            out_channels=config.latent_channels,
            layers_per_block=config.layers,
            block_out_channels=config.channels,
            down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * depth),
            up_block_types=(*("CrossAttnUpBlock2D",) * depth, "UpBlock2D"),
            cross_attention_dim=config.text_width,
            # `diffusers` takes the number of heads by this name.
            attention_head_dim=tuple(max(1, count // config.head_width) for count in config.channels),
            norm_num_groups=config.groups,
        )
    return diffusers.StableDiffusionInstructPix2PixPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=config.max_tokens),
        unet=unet,
        scheduler=diffusers.DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def words_as_tokens(texts: Iterable[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the vocabulary and merges of a byte-pair tokenizer that has a token for each word of some texts.

    Each word is put together from its beginning, letter by letter, the most frequent words first.
    """
    counts = Counter(word for text in texts for word in split_words(text))
    tokens = dict.fromkeys([START, END, *_CHARACTERS, *(character + SPACE for character in _CHARACTERS)])
    merges: dict[tuple[str, str], None] = {}
    for word in sorted(counts, key=lambda word: (-counts[word], word)):
        if not set(word) <= set(_CHARACTERS):
            continue  # Bytes of other alphabets have names of their own; such words are unknown.
        parts = [*word[:-1], word[-1] + SPACE]
        for end in range(1, len(parts)):
            pair = "".join(parts[:end]), parts[end]
            merges[pair] = None
            tokens["".join(pair)] = None
    return {token: index for index, token in enumerate(tokens)}, list(merges)
