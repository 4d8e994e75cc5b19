"""The picture encoder: one picture, or several views, to the tokens the denoiser listens to.

Formulas: docs/shape-model.md, Picture encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from hy3dgen.networks.dinov2 import Dinov2, Dinov2Sizes

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
VIEW_BASE = 10000.0
PATCH_PX = 14

Pixels = Float[Tensor, "batch 3 rows columns"] | UInt8[Tensor, "batch 3 rows columns"]


@dataclass(frozen=True)
class ConditionerConfig:
    """Sizes of the DINOv2 encoder; `native_px` is the side its positions were trained at.

    Pixels lie in [-1, 1] and are resized to `working_px` in float32; where `resized_px` is set they are 8-bit, Pillow
    resizes them to that, and the middle `working_px` are used.
    """

    width: int
    num_layers: int
    num_heads: int
    is_swiglu: bool
    mlp_ratio: int
    native_px: int
    working_px: int
    resized_px: int | None = None
    num_registers: int = 0


def view_embeddings(views: Sequence[int], width: int) -> Float[Tensor, "views width"]:
    """Sines, then cosines, of each view's index (0 front, 1 left, 2 back, 3 right) at width/2 frequencies, float32.

    The embedding follows the view's identity, not its place in a list. Not stored in checkpoints.
    """
    half = width // 2
    frequencies = VIEW_BASE ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.tensor(views, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()


class Conditioner(nn.Module):
    """DINOv2 with the published pre-processing in front of it."""

    def __init__(self, config: ConditionerConfig) -> None:
        super().__init__()
        self.config = config
        self.dino = Dinov2(
            Dinov2Sizes(
                width=config.width,
                num_layers=config.num_layers,
                num_heads=config.num_heads,
                mlp_ratio=config.mlp_ratio,
                is_swiglu=config.is_swiglu,
                patch_px=PATCH_PX,
                patches_per_side=config.native_px // PATCH_PX,
            )
        )
        self.registers = (
            nn.Parameter(torch.empty(1, config.num_registers, config.width)) if config.num_registers else None
        )

    def forward(
        self,
        pixels: Pixels | Float[Tensor, "batch views 3 side side"],
        views: Sequence[int] | None = None,
    ) -> Float[Tensor, "batch context width"]:
        """Class and patch tokens of `pixels`, which have a white background and the range that the config says.

        With a views axis the tokens of all views follow each other; `views` holds each one's index (0 front,
        1 left, 2 back, 3 right), ascending.

        Raises:
            ValueError: a views axis without as many `views`, or the other way round.
        """
        is_multi_view = pixels.ndim == 5
        if is_multi_view != (views is not None) or (views is not None and len(views) != pixels.shape[1]):
            raise ValueError(f"pixels of shape {list(pixels.shape)} do not fit the views {views}")
        if views is None:
            return self._encode(pixels)
        tokens = self._encode(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        identity = view_embeddings(views, self.config.width).to(tokens)
        return (tokens + identity[:, None, :]).flatten(1, 2)

    def normalise(self, pixels: Pixels) -> Float[Tensor, "batch 3 working working"]:
        """What the network sees of `pixels`, float32."""
        config = self.config
        if config.resized_px is None:
            resized = resize_shorter_side((pixels.float() + 1) / 2, config.working_px)
        else:
            resized = centre_square(resize_8_bit(pixels, config.resized_px), config.working_px)
            resized = resized.to(pixels.device).float() / 255
        mean, std = (resized.new_tensor(one)[:, None, None] for one in (IMAGENET_MEAN, IMAGENET_STD))
        return (resized - mean) / std

    def _encode(self, pixels: Pixels) -> Float[Tensor, "batch context width"]:
        dino = self.dino
        tokens = dino.embeddings(self.normalise(pixels).to(dino.embeddings.cls_token.dtype))
        if self.registers is not None:
            # After the positions: registers have none. They are dropped again below.
            registers = self.registers.expand(len(tokens), -1, -1)
            tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
        tokens = dino.transform(tokens)
        first_patch = 1 + self.config.num_registers
        return torch.cat([tokens[:, :1], tokens[:, first_patch:]], dim=1)


def resize_8_bit(
    pixels: UInt8[Tensor, "batch 3 height width"], shorter_px: int
) -> UInt8[Tensor, "batch 3 resized_height resized_width"]:
    """The pixels with their shorter side at `shorter_px`, on the CPU: Pillow's antialiased bicubic, in 8 bits."""
    height, width = pixels.shape[-2:]
    shorter = min(height, width)
    size = (int(shorter_px * width / shorter), int(shorter_px * height / shorter))
    images = (Image.fromarray(one.permute(1, 2, 0).contiguous().numpy()) for one in pixels.cpu())
    resized = [np.array(image.resize(size, Image.Resampling.BICUBIC)) for image in images]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)


def resize_shorter_side(
    pixels: Float[Tensor, "batch 3 height width"], side_px: int
) -> Float[Tensor, "batch 3 side side"]:
    """The centre square of `pixels`, `side_px` wide: bilinear, antialiased, neither clamped nor rounded."""
    height, width = pixels.shape[-2:]
    if min(height, width) != side_px:
        scale = side_px / min(height, width)
        size = [max(side_px, int(height * scale)), max(side_px, int(width * scale))]
        pixels = functional.interpolate(
            pixels, size=size, mode="bilinear", antialias=True, align_corners=False
        )
    return centre_square(pixels, side_px)


def centre_square(pixels: Pixels, side_px: int) -> Shaped[Tensor, "batch 3 side side"]:
    """The middle `side_px` rows and columns."""
    top, left = (pixels.shape[-2] - side_px) // 2, (pixels.shape[-1] - side_px) // 2
    return pixels[..., top : top + side_px, left : left + side_px]
