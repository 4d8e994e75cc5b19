"""Layers that more than one network uses. Knows nothing of what the tokens mean."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

LAYER_NORM_EPS = 1e-6


def attend(
    query: Float[Tensor, "batch heads queries width"],
    key: Float[Tensor, "batch heads keys width"],
    value: Float[Tensor, "batch heads keys width"],
) -> Float[Tensor, "batch queries merged"]:
    """Softmax attention with scale 1/sqrt(width), heads merged back into one feature axis."""
    attended = functional.scaled_dot_product_attention(query, key, value)
    return attended.transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them, as in the ShapeVAE."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, tokens: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The transformed tokens, same shape."""
        return self.contract(functional.gelu(self.expand(tokens)))


class HeadNorm(nn.Module):
    """RMS norm over the features of one head, with a learned scale, as in the DiT."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, heads: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The normalised heads; statistics in float32, rounded back before the scale (trained so)."""
        lifted = heads.float()
        inverse_rms = torch.rsqrt(lifted.square().mean(dim=-1, keepdim=True) + LAYER_NORM_EPS)
        return (lifted * inverse_rms).to(heads.dtype) * self.scale
