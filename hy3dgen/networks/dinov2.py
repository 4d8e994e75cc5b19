"""DINOv2, the vision transformer that the picture encoders are made of. Formulas: docs/shape-model.md, Picture encoder.

The names of its parameters are kept by what trains it; `families/published_names.py` finds them in published files.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import isqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hy3dgen.networks.layers import LAYER_NORM_EPS, attend


@dataclass(frozen=True)
class Dinov2Sizes:
    """Sizes of the network; `patches_per_side` is the grid that its positions were trained on."""

    width: int
    num_layers: int
    num_heads: int
    mlp_ratio: int
    is_swiglu: bool
    patch_px: int
    patches_per_side: int


class Dinov2(nn.Module):
    """Pictures to tokens: the class token, then one per patch, row by row."""

    def __init__(self, sizes: Dinov2Sizes) -> None:
        super().__init__()
        self.embeddings = Embeddings(sizes)
        layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.num_layers))
        self.encoder = nn.ModuleDict({"layer": layers})
        self.layernorm = nn.LayerNorm(sizes.width, eps=LAYER_NORM_EPS)

    def forward(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch tokens width"]:
        """The tokens of normalised pixels, whose sides are multiples of the patch's."""
        return self.transform(self.embeddings(pixels))

    def transform(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """The embedded tokens after all layers and the last norm, same shape."""
        layers = self.encoder["layer"]
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            tokens = layer(tokens)
        normed: Tensor = self.layernorm(tokens)
        return normed


class Embeddings(nn.Module):
    """Patches and the class token, with their positions added."""

    def __init__(self, sizes: Dinov2Sizes) -> None:
        super().__init__()
        width, patch_px = sizes.width, sizes.patch_px
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # published, of use in its training alone
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + sizes.patches_per_side**2, width))
        projection = nn.Conv2d(3, width, kernel_size=patch_px, stride=patch_px)
        self.patch_embeddings = nn.Sequential(OrderedDict(projection=projection))

    def forward(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch tokens width"]:
        """Class token and patches, row by row."""
        patches = self.patch_embeddings(pixels)
        positions = self.positions(*patches.shape[-2:])
        tokens = patches.flatten(2).transpose(1, 2)
        return torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1) + positions

    def positions(self, rows: int, columns: int) -> Float[Tensor, "1 tokens width"]:
        """The positions of a grid of patches: those trained, or resampled from them in float32 (bicubic)."""
        trained = self.position_embeddings
        side = isqrt(trained.shape[1] - 1)
        if (rows, columns) == (side, side):
            return trained
        grid = trained[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2).float()
        grid = functional.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([trained[:, :1], grid.to(trained.dtype).flatten(2).transpose(1, 2)], dim=1)


class Layer(nn.Module):
    """Attention and MLP, each behind a norm and with a learned scale per feature."""

    def __init__(self, sizes: Dinov2Sizes) -> None:
        super().__init__()
        width, hidden = sizes.width, sizes.mlp_ratio * sizes.width
        self.norm1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.attention = Attention(width, sizes.num_heads)
        self.layer_scale1 = Scale(width)
        self.norm2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.mlp = SwiGlu(width, _two_thirds(hidden)) if sizes.is_swiglu else Mlp(width, hidden)
        self.layer_scale2 = Scale(width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """The tokens, one layer further; same shape."""
        tokens = self.layer_scale1(self.attention(self.norm1(tokens))) + tokens
        return self.layer_scale2(self.mlp(self.norm2(tokens))) + tokens


class Attention(nn.Module):
    """Softmax attention of all tokens to all."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """What the tokens take from each other; same shape."""
        query, key, value = (
            project(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.o_proj(attend(query, key, value))


class Scale(nn.Module):
    """A learned factor per feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The scaled tokens."""
        return tokens * self.lambda1


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, tokens: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The transformed tokens, same shape."""
        return self.fc2(functional.gelu(self.fc1(tokens)))


class SwiGlu(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.down_proj = nn.Linear(hidden, width)

    def forward(self, tokens: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """The transformed tokens, same shape."""
        return self.down_proj(functional.silu(self.gate_proj(tokens)) * self.up_proj(tokens))


def _two_thirds(hidden: int) -> int:
    """Two thirds of a plain MLP's hidden width, up to the next multiple of eight: its parameters in three."""
    return (2 * hidden // 3 + 7) // 8 * 8
