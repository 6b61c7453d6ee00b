"""What was done in an episode? A contrastive model of (first frame, last frame) and text (DIAL, arXiv 2211.11736).

    first frame ─► image tower ─┐
    last frame  ─► image tower ─┴► a small layer ─► episode (B, E) ─┐
                                                                    ├─► cosine / temperature, a softmax over the texts
    instruction ─► text tower ────────────────────► text (T, E) ────┘

The towers are the policies' small encoder with a sentence encoder and two layers, or with `clip` those of a CLIP checkpoint
in the form of `transformers`. Untrained, the latter is CLIP on the last frame. It is tuned on demonstrations, all of which
succeeded: that nothing happened is no text that it has ever seen.

Shape suffixes: B episodes, T texts, C channels, H height, W width, E features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from soar.cameras import MAIN
from soar.errors import CheckpointError, ConfigError
from soar.images import Fit, ImageFitter
from soar.nn.model_files import read_config, read_weights
from soar.policies.encoders import SMALL_IMAGE_SIZE, EncoderConfig, build_encoder
from soar.policies.instructions import InstructionConfig, InstructionEncoder
from soar.policies.network import images_to_tensor

KIND = "soar-labeller"
TOKENIZER = "tokenizer"
_BATCH = 64
_HOTTEST = math.log(100.0)
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabellerNetworkConfig:
    """Architecture of a labeller.

    Attributes:
        encoder: The image tower.
        instruction: The sentence encoder of the text tower, and the width of the layers after it.
        image_size: Height and width of its images [px].
        fit: How others are brought to it.
        camera: Whose pictures they are, see `soar.cameras`.
        features: Of an episode and of a text.
        temperature: Of the softmax in the beginning; it is trained.
        clip: Folder of a CLIP checkpoint that gives both towers instead; empty for the small ones.
    """

    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(name="small", width=32))
    instruction: InstructionConfig = field(default_factory=InstructionConfig)
    image_size: int = SMALL_IMAGE_SIZE
    fit: Fit = "squash"
    camera: str = MAIN
    features: int = 128
    temperature: float = 0.07
    clip: str = ""

    def __post_init__(self) -> None:
        if self.features < 1 or not self.temperature > 0:
            raise ConfigError(
                f"labeller: features and temperature must be positive, got {self.features} and {self.temperature}"
            )
        if not self.clip and self.encoder.name == "small" and self.image_size != SMALL_IMAGE_SIZE:
            raise ConfigError(f"labeller: the small encoder takes {SMALL_IMAGE_SIZE} px, got image_size {self.image_size}")

    @property
    def fitter(self) -> ImageFitter:
        """Brings pictures of any size and shape to the network's."""
        return ImageFitter(size=self.image_size, fit=self.fit)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabellerConfig:
    """A labeller as it is stored.

    Attributes:
        network: Its architecture.
        texts: The instructions that it was tuned on.
        clip_config: What `transformers` says of its towers, if they are CLIP's.
    """

    network: LabellerNetworkConfig = field(default_factory=LabellerNetworkConfig)
    texts: tuple[str, ...] = ()
    clip_config: Mapping[str, Any] = field(default_factory=dict)


class LabellerNetwork(nn.Module):
    """Two towers and a temperature.

    Args:
        config: Which.
        folder: With CLIP, where its tokenizer is.
    """

    def __init__(self, config: LabellerConfig, folder: Path | None = None) -> None:
        super().__init__()
        self.config = config
        network = config.network
        if network.clip:
            self.towers: ClipTowers | _SmallTowers = ClipTowers(config.clip_config, folder)
        else:
            self.towers = _SmallTowers(network)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(network.temperature)))

    def episodes(self, first_BCHW: Tensor, last_BCHW: Tensor) -> Tensor:
        """Return episodes (B, E) of length 1 from images in -1..1."""
        return F.normalize(self.towers.episodes(first_BCHW, last_BCHW).float(), dim=-1)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return texts (T, E) of length 1."""
        return F.normalize(self.towers.texts(texts).float(), dim=-1)

    @property
    def scale(self) -> Tensor:
        """One over the temperature."""
        return self.log_scale.clamp(max=_HOTTEST).exp()

    def loss(self, first_BCHW: Tensor, last_BCHW: Tensor, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return the symmetric contrastive loss, and how often the right text of the batch is the nearest.

        Episodes of one and the same text are no negatives of each other: each text stands for itself once.
        """
        distinct = list(dict.fromkeys(texts))
        text_B = torch.tensor([distinct.index(text) for text in texts], device=first_BCHW.device)
        episode_BE, text_TE = self.episodes(first_BCHW, last_BCHW), self.texts(distinct)
        with torch.autocast(first_BCHW.device.type, enabled=False):
            logits_BT = self.scale * episode_BE @ text_TE.T
            loss = (F.cross_entropy(logits_BT, text_B) + _from_texts(logits_BT, text_B)) / 2
        top1 = (logits_BT.argmax(-1) == text_B).float().mean()
        return {"loss": loss, "top1": top1, "temperature": 1 / self.scale.detach()}

    @torch.inference_mode()
    def probabilities(
        self, first_BHWC: NDArray[np.uint8], last_BHWC: NDArray[np.uint8], texts: Sequence[str]
    ) -> NDArray[np.float64]:
        """Return how probable each text is (B, T) among these texts, for uint8 RGB images of the network's size."""
        device = self.log_scale.device
        text_TE = self.texts(texts)
        parts = []
        for start in range(0, len(first_BHWC), _BATCH):
            part = slice(start, start + _BATCH)
            episode_BE = self.episodes(
                images_to_tensor(first_BHWC[part]).to(device), images_to_tensor(last_BHWC[part]).to(device)
            )
            parts.append((self.scale * episode_BE @ text_TE.T).double().softmax(-1).cpu().numpy())
        return np.concatenate(parts)


def _from_texts(logits_BT: Tensor, text_B: Tensor) -> Tensor:
    """Return minus the logarithm of an episode's share, for its text, among itself and the episodes of other texts."""
    other_BT = torch.ones_like(logits_BT, dtype=torch.bool)
    other_BT[torch.arange(len(text_B)), text_B] = False
    others_T = logits_BT.masked_fill(~other_BT, -math.inf).logsumexp(0)
    own_B = logits_BT.gather(1, text_B[:, None])[:, 0]
    return (torch.logaddexp(own_B, others_T[text_B]) - own_B).mean()


class _SmallTowers(nn.Module):
    def __init__(self, config: LabellerNetworkConfig) -> None:
        super().__init__()
        self.encoder = build_encoder(config.encoder, 3)
        width = config.instruction.hidden
        self.join = nn.Sequential(nn.Linear(2 * self.encoder.features, width), nn.SiLU(), nn.Linear(width, config.features))
        self.text = nn.Sequential(nn.Linear(config.instruction.features, width), nn.SiLU(), nn.Linear(width, config.features))
        self._sentences = InstructionEncoder(config.instruction)

    def episodes(self, first_BCHW: Tensor, last_BCHW: Tensor) -> Tensor:
        first_BF, last_BF = self.encoder(torch.cat([first_BCHW, last_BCHW])).chunk(2)
        return torch.as_tensor(self.join(torch.cat([first_BF, last_BF], dim=-1)))

    def texts(self, texts: Sequence[str]) -> Tensor:
        embedding_TE = torch.from_numpy(self._sentences(texts)).to(next(self.text.parameters()).device)
        return torch.as_tensor(self.text(embedding_TE))


class ClipTowers(nn.Module):
    """The towers of a CLIP checkpoint, and a layer that joins two frames."""

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, config: Mapping[str, Any], folder: Path | None) -> None:
        super().__init__()
        from transformers import AutoTokenizer, CLIPConfig, CLIPModel

        self.clip = CLIPModel(CLIPConfig.from_dict(dict(config)))
        self._tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        width = self.clip.config.projection_dim
        self.join = nn.Linear(2 * width, width)
        with torch.no_grad():
            self.join.bias.zero_()
            self.join.weight.copy_(torch.cat([torch.zeros(width, width), torch.eye(width)], dim=1))
        for name, values in (("mean_C11", _CLIP_MEAN), ("std_C11", _CLIP_STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None])

    def episodes(self, first_BCHW: Tensor, last_BCHW: Tensor) -> Tensor:
        """Return episodes (B, E) from images in -1..1."""
        pixels = ((torch.cat([first_BCHW, last_BCHW]) + 1) / 2 - self.mean_C11) / self.std_C11
        seen = self.clip.visual_projection(self.clip.vision_model(pixel_values=pixels).pooler_output)
        return torch.as_tensor(self.join(torch.cat(F.normalize(seen, dim=-1).chunk(2), dim=-1)))

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return texts (T, E)."""
        tokens = self._tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt").to(self.join.weight.device)
        return torch.as_tensor(self.clip.text_projection(self.clip.text_model(**tokens).pooler_output))


class Labeller:
    """A trained labeller.

    Args:
        network: The network.
        id: Kind and hash of its weights: who made a label.
    """

    def __init__(self, network: LabellerNetwork, id: str) -> None:
        self.network, self.id = network.eval(), id

    @property
    def texts(self) -> tuple[str, ...]:
        """The instructions that it was tuned on."""
        return self.network.config.texts

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Labeller:
        """Load the labeller in a folder.

        Raises:
            CheckpointError: There is none, or it is damaged.
        """
        config = read_config(folder, KIND, LabellerConfig)
        network = LabellerNetwork(config, folder / TOKENIZER)
        return cls(network.to(device), f"dial-{read_weights(folder, network)}")


def open_clip(name: str) -> tuple[dict[str, Any], Any, Any]:
    """Return configuration, weights and tokenizer of a CLIP checkpoint.

    Args:
        name: Folder of a checkpoint in the form of `transformers`.

    Raises:
        CheckpointError: It is missing, or no CLIP.
        ConfigError: `transformers` is not installed.
    """
    try:
        from transformers import AutoTokenizer, CLIPModel
    except ImportError as error:
        raise ConfigError(
            "labeller.network.clip needs a package that is not installed (transformers). Install it with "
            "`pip install 'soar-robot[foundation]'`, or leave clip out."
        ) from error
    try:
        model = CLIPModel.from_pretrained(name, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"labeller.network.clip: {name} is no CLIP checkpoint that transformers can read ({error}). Name the folder of "
            "one: config.json, model.safetensors, and its tokenizer's files."
        ) from error
    return model.config.to_dict(), model, tokenizer
