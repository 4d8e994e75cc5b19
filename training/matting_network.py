"""The matting network and its graph for rembg's `u2net_custom`.

A U-Net of half and lower resolutions with attention over 10 x 10 cells. Knows no pictures and no training.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

INPUT_PX, WORKING_PX = 320, 160
WIDTHS = (24, 48, 96, 160)
NUM_CELLS, NUM_ATTENTION_BLOCKS, HEAD_WIDTH = 10, 3, 32

OPACITY_FROM, OPACITY_RANGE = 0.35, 0.3
"""A probability up to the first is background, exactly 0; above their sum it is object, exactly 1."""
BLANK_BELOW, FULL_ABOVE = 0.2, 0.8


class ConvNorm(nn.Module):
    """A 3x3 convolution, batch norm and, unless told not to, a ramp."""

    def __init__(self, width_in: int, width_out: int, stride: int = 1, *, is_linear: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width_out, 3, stride, 1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(width_out)
        self.is_linear = is_linear

    def forward(self, features: Tensor) -> Tensor:
        """Features [batch, width_out, height / stride, width / stride]."""
        features = self.norm(self.conv(features))
        return features if self.is_linear else functional.relu(features)

    def fold(self) -> None:
        """Puts the norm's statistics into the convolution: the same function with fewer steps."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = nn.utils.fusion.fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class Residual(nn.Module):
    """Two convolutions beside a straight path."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = ConvNorm(width, width), ConvNorm(width, width, is_linear=True)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        return functional.relu(features + self.second(self.first(features)))


class AttentionBlock(nn.Module):
    """A transformer block over the cells of the picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = width // HEAD_WIDTH
        self.norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [batch, cells, width]."""
        query, key, value = (
            part.unflatten(-1, (self.num_heads, HEAD_WIDTH)).transpose(1, 2)
            for part in self.query_key_value(self.norm(tokens)).chunk(3, -1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.mlp_norm(tokens))


class MattingNetwork(nn.Module):
    """Pixels [batch, 3, 160, 160] as rembg normalises them -> logits [batch, 1, 160, 160] and coarse logits.

    The coarse logits [batch, 1, 10, 10] answer how much of each cell is object; training alone reads them.
    """

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        self.down80 = nn.Sequential(ConvNorm(12, a), ConvNorm(a, a))
        self.down40 = nn.Sequential(ConvNorm(a, b, 2), Residual(b))
        self.down20 = nn.Sequential(ConvNorm(b, c, 2), Residual(c))
        self.down10 = ConvNorm(c, d, 2)
        self.position_embeddings = nn.Parameter(torch.randn(1, NUM_CELLS**2, d) * 0.02)
        self.attention = nn.Sequential(*(AttentionBlock(d) for _ in range(NUM_ATTENTION_BLOCKS)))
        self.coarse = nn.Linear(d, 1)
        self.lift20, self.up20 = nn.Conv2d(d, c, 1), ConvNorm(c, c)
        self.lift40, self.up40 = nn.Conv2d(c, b, 1), ConvNorm(b, b)
        self.lift80, self.up80 = nn.Conv2d(b, a, 1), ConvNorm(a, a)
        self.head = nn.Conv2d(a, 4, 3, 1, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of opacity, fine and coarse."""
        at80 = self.down80(functional.pixel_unshuffle(pixels, 2))
        at40 = self.down40(at80)
        at20 = self.down20(at40)
        tokens = self.down10(at20).flatten(2).transpose(1, 2) + self.position_embeddings
        tokens = self.attention(tokens)
        cells = tokens.transpose(1, 2).unflatten(-1, (NUM_CELLS, NUM_CELLS))
        features = self.up20(at20 + _doubled(self.lift20(cells)))
        features = self.up40(at40 + _doubled(self.lift40(features)))
        features = self.up80(at80 + _doubled(self.lift80(features)))
        coarse = self.coarse(tokens).transpose(1, 2).unflatten(-1, (NUM_CELLS, NUM_CELLS))
        return functional.pixel_shuffle(self.head(features), 2), coarse


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")


class StoredAsHalf(nn.Module):
    """A weight kept as float16 and computed with as float32."""

    def forward(self, stored: Tensor) -> Tensor:
        """The weight as float32."""
        return stored.float()


class ForRembg(nn.Module):
    """Pixels [1, 3, 320, 320] as rembg gives them -> opacity [1, 1, 320, 320] in 0..1, background exactly 0.

    rembg stretches what it gets to 0..1 and divides zero by zero when all is alike. So where no object is seen at
    all one corner pixel is opaque, and where everything is object that pixel is not. Weights lie in the file as
    float16 and are computed with as float32.
    """

    def __init__(self, network: MattingNetwork) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        for module in list(self.network.modules()):
            if isinstance(module, ConvNorm):
                module.fold()
        for module in list(self.network.modules()):
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight = nn.Parameter(module.weight.detach().half(), requires_grad=False)
                parametrize.register_parametrization(module, "weight", StoredAsHalf(), unsafe=True)

    def forward(self, pixels: Tensor) -> Tensor:
        """Opacity of the object."""
        logits, _ = self.network(functional.avg_pool2d(pixels, 2))
        logits = functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
        opacity = ((logits.sigmoid() - OPACITY_FROM) / OPACITY_RANGE).clamp(0, 1)
        is_blank = (opacity.amax((2, 3), keepdim=True) < BLANK_BELOW).float()
        is_full = (opacity.amin((2, 3), keepdim=True) > FULL_ABOVE).float()
        corner = functional.pad(is_blank - is_full, (0, INPUT_PX - 1, 0, INPUT_PX - 1))
        return (opacity + corner).clamp(0, 1)
