"""Which of PyTorch's attention kernels is fastest for given shapes, found by trying. Knows no networks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

CANDIDATES = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
)
LAST = SDPBackend.MATH
"""Runs anywhere, holds all scores at once in float32 (1.3 GB for v2-0): tried where nothing else runs."""
NUM_TRIES = 5


def fastest_kernel(
    num_heads: int,
    num_tokens: int,
    head_width: int,
    *,
    device: torch.device,
    dtype: torch.dtype,
    candidates: Sequence[SDPBackend] = CANDIDATES,
) -> SDPBackend | None:
    """The kernel with the shortest median time among those that run at all; `LAST` where none does but that."""
    heads = torch.zeros(1, num_heads, num_tokens, head_width, device=device, dtype=dtype)
    seconds: dict[SDPBackend, float] = {}
    for kernel in (*candidates, LAST):
        if kernel == LAST and seconds:
            break
        try:
            with sdpa_kernel(kernel):
                seconds[kernel] = _median_seconds(
                    lambda: scaled_dot_product_attention(heads, heads, heads), device
                )
        except RuntimeError:  # also a lack of memory
            continue
    return min(seconds, key=lambda kernel: seconds[kernel]) if seconds else None


@contextmanager
def preferring(kernel: SDPBackend | None) -> Iterator[None]:
    """Attention goes through `kernel` where that can do it, else through any other."""
    if kernel is None:
        yield
        return
    others = [one for one in (*CANDIDATES, LAST) if one != kernel]
    with sdpa_kernel([kernel, *others], set_priority=True):
        yield


def _median_seconds(call: Callable[[], object], device: torch.device) -> float:
    seconds = []
    for _ in range(NUM_TRIES + 1):
        begun_s = _now_s(device)
        call()
        seconds.append(_now_s(device) - begun_s)
    return statistics.median(seconds[1:])


def _now_s(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
