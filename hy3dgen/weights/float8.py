"""The denoiser's matrices in eight bits: half the memory and, on cards that multiply them, up to twice the rate.

Another shape comes out, near the exact one: an option, never a default (benchmarks/RESULTS.md has the deviation). On a
CPU the numbers are the same, and slower. Knows no sampling.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

FLOAT8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FLOAT8).max
SMALLEST_SCALE = 1e-12
FIRST_CAPABILITY = (8, 9)
"""Cards since Ada and Hopper multiply float8."""


class Float8Linear(nn.Module):
    """A linear layer in float8 (4 bits of exponent, 3 of mantissa), weights and inputs scaled row by row."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = round_rows(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.T.contiguous())
        self.bias = linear.bias

    def forward(self, tokens: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch out"]:
        """What the plain layer gives, to within the rounding of its factors."""
        rows, scale = round_rows(tokens.flatten(0, -2))
        # Rows scaled apart are multiplied into bfloat16 alone.
        product = torch._scaled_mm(
            rows, self.weight.T, scale_a=scale, scale_b=self.scale, out_dtype=torch.bfloat16
        )
        result = product.to(tokens.dtype).unflatten(0, tokens.shape[:-1])
        return result if self.bias is None else result + self.bias


def round_rows(rows: Float[Tensor, "rows features"]) -> tuple[Tensor, Float[Tensor, "rows 1"]]:
    """The rows in float8 and, per row, what they are to be multiplied with."""
    scale = (rows.float().abs().amax(dim=1, keepdim=True) / LARGEST).clamp_min(SMALLEST_SCALE)
    return (rows.float() / scale).to(FLOAT8), scale


def can_multiply(device: torch.device) -> bool:
    """True when `device` has products of float8 numbers."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= FIRST_CAPABILITY


def use_float8(blocks: Iterable[nn.Module], kept_inside: type[nn.Module]) -> None:
    """Replaces the linear layers of `blocks`, except those inside modules of the type `kept_inside`.

    Raises:
        ValueError: the device of a block's weights multiplies no float8 numbers.
    """
    for block in blocks:
        device = next(block.parameters()).device
        if not can_multiply(device):
            raise ValueError(f"{torch.cuda.get_device_name(device)} multiplies no float8 numbers")
        kept = {
            one for module in block.modules() if isinstance(module, kept_inside) for one in module.modules()
        }
        for parent in list(block.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, nn.Linear) and layer not in kept:
                    setattr(parent, name, Float8Linear(layer))
