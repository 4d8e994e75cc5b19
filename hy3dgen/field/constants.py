"""Small tables of numbers as tensors, copied to a device once and kept there. Knows nothing of what they mean."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

MAX_KEPT = 256
"""Tables kept at a time, over all devices: a decode has about twenty, of up to a few thousand numbers."""


@lru_cache(maxsize=MAX_KEPT)
def constant(values: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The numbers of a tuple, nested or not, on `device`; the same tensor each time, which nothing may write to.

    A copy to a GPU costs more than all the arithmetic on a table, so it is made once per process.
    """
    return torch.tensor(values, dtype=dtype, device=device)
