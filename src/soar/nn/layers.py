"""Network layers that the small models share: a residual block with FiLM, attention, and a transformer block.

Shape suffixes: B batch, C channels, H height, W width, L tokens of a sequence, M tokens of its context, D features,
F conditioning.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 8


def drawn_parameter(*shape: int) -> nn.Parameter:
    """Return a parameter that is normal, with a standard deviation of 0.02."""
    return nn.Parameter(nn.init.normal_(torch.empty(shape), std=0.02))


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with group normalisation; a vector modulates the second one (FiLM). Starts as the identity."""

    def __init__(self, channels: int, channels_out: int, condition: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels)
        self.conv1 = nn.Conv2d(channels, channels_out, 3, padding=1)
        self.film = nn.Linear(condition, 2 * channels_out)
        self.norm2 = nn.GroupNorm(GROUPS, channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.skip = nn.Conv2d(channels, channels_out, 1) if channels != channels_out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x_BCHW: Tensor, condition_BF: Tensor) -> Tensor:
        """Return (B, channels_out, H, W)."""
        h = self.conv1(F.silu(self.norm1(x_BCHW)))
        scale, shift = self.film(condition_BF)[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return torch.as_tensor(self.skip(x_BCHW) + h)


class Attention(nn.Module):
    """Multi-head attention of a sequence to a context (or to itself)."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context, 2 * width)
        self.out = nn.Linear(width, width)

    def _split(self, x_BLD: Tensor) -> Tensor:
        batch, length, _ = x_BLD.shape
        return x_BLD.view(batch, length, self.heads, -1).transpose(1, 2)

    def forward(self, x_BLD: Tensor, context_BMD: Tensor, mask_BM: Tensor | None) -> Tensor:
        """Return (B, L, D); only the positions of the context where the mask is True are attended to."""
        key, value = self.key_value(context_BMD).chunk(2, dim=-1)
        query = self._split(self.query(x_BLD) * (x_BLD.shape[-1] // self.heads) ** -0.5)
        # Written out: for sequences this short, PyTorch's fused attention is several times slower backward on a CPU.
        scores = query @ self._split(key).transpose(2, 3)
        if mask_BM is not None:
            scores = scores.masked_fill(~mask_BM[:, None, None, :], -1e4)
        h = scores.softmax(-1).to(value.dtype) @ self._split(value)
        return torch.as_tensor(self.out(h.transpose(1, 2).flatten(2)))


class TransformerBlock(nn.Module):
    """Pre-norm self-attention, attention to a context if there is one, and an MLP."""

    def __init__(self, width: int, heads: int, context: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads, width)
        self.norm2 = nn.LayerNorm(width) if context else None
        self.cross_attention = Attention(width, heads, context) if context else None
        self.norm3 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(
        self,
        x_BLD: Tensor,
        mask_BL: Tensor | None = None,
        context_BMD: Tensor | None = None,
        context_mask_BM: Tensor | None = None,
    ) -> Tensor:
        """Return (B, L, D); masks are True where there is something to attend to."""
        h = self.norm1(x_BLD)
        x = x_BLD + self.self_attention(h, h, mask_BL)
        if self.norm2 is not None and self.cross_attention is not None and context_BMD is not None:
            x = x + self.cross_attention(self.norm2(x), context_BMD, context_mask_BM)
        return torch.as_tensor(x + self.mlp(self.norm3(x)))
