"""Layers that more than one network uses. Knows nothing of what the tokens mean."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hy3dgen.runtime.attention import Merge, attend_merging

LAYER_NORM_EPS = 1e-6
TIME_BASE = 10_000.0


def attend(
    query: Float[Tensor, "batch heads queries width"],
    key: Float[Tensor, "batch heads keys width"],
    value: Float[Tensor, "batch heads keys width"],
    first_key_counts: int = 1,
    merge_by: Merge | None = None,
) -> Float[Tensor, "batch queries merged"]:
    """Softmax attention with scale 1/sqrt(width), heads merged back into one feature axis.

    The first key stands for `first_key_counts` equal ones with equal values; in half precision by the kernel
    `merge_by` if there is one.
    """
    if first_key_counts > 1 and merge_by is not None and query.dtype != torch.float32:
        merged = attend_merging(query, key, value, first_key_counts, merge_by)
        return merged.transpose(1, 2).flatten(2)
    bias = None
    if first_key_counts > 1 and query.dtype == torch.float32:
        bias = functional.pad(query.new_full((1, 1), math.log(first_key_counts)), (0, key.shape[2] - 1))
    elif first_key_counts > 1:
        # Half precision would round the logarithm by a percent, and the fastest kernels take no bias.
        key, value = _repeat_first(key, first_key_counts), _repeat_first(value, first_key_counts)
    attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return attended.transpose(1, 2).flatten(2)


def _repeat_first(heads: Tensor, times: int) -> Tensor:
    return torch.cat([heads[:, :, :1].expand(-1, -1, times, -1), heads[:, :, 1:]], dim=2)


def call_block(block: nn.Module, *arguments: Any) -> Any:
    """What the block gives."""
    return block(*arguments)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them, as in the ShapeVAE."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, tokens: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The transformed tokens, same shape."""
        return self.contract(functional.gelu(self.expand(tokens)))


def time_waves(time: Float[Tensor, " batch"], width: int) -> Float[Tensor, "batch width"]:
    """Sines, then cosines, of the time at width/2 frequencies 10000^(-k/(width/2)), in float32."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=time.device)
    frequencies = torch.exp(-math.log(TIME_BASE) * steps / half)
    angles = time.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class TimeEmbedding(nn.Module):
    """One vector per time: its waves, as wide as the network, through two linear layers with an exact GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.mlp = Mlp(width, 4 * width)

    def forward(self, time: Float[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        """The vectors."""
        return self.mlp(time_waves(time, self.width).to(self.mlp.expand.weight.dtype))


class HeadNorm(nn.Module):
    """RMS norm over the features of one head, with a learned scale, as in the denoisers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, heads: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The normalised heads; statistics in float32, rounded back before the scale (trained so)."""
        return functional.rms_norm(heads, heads.shape[-1:], eps=LAYER_NORM_EPS) * self.scale
