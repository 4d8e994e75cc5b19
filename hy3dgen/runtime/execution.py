"""How a model's networks are run: by which functions and attention kernel, and from where their weights come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.attention import SDPBackend

Load = Callable[[nn.Module], None]
"""Called with a network before its weights are used: brings them to the device."""


def no_offload(network: nn.Module) -> None:
    """For weights that are on their device anyway."""


@dataclass(frozen=True)
class Execution:
    """What the defaults give is the plain way; every other gives the same shapes.

    `denoise` and `query` stand for the denoiser's and the geometry decoder's own call, as their compiled twins do.
    `attention` is the kernel to prefer while denoising, `load` what offloaded weights are loaded by.
    """

    denoise: Callable[..., Tensor] | None = None
    query: Callable[..., Tensor] | None = None
    attention: SDPBackend | None = None
    load: Load = no_offload
