"""Which of PyTorch's attention kernels is fastest for given shapes, found by trying; and attention to equal keys.

Where one key stands for many equal ones with equal values, a kernel that also gives the logarithm of its sums of
exponentials attends to the others alone, and the one is merged into its result. Knows no networks.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal, ParamSpec, TypeVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor
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
CUDNN_FRONTEND = "cuDNN Frontend error"
"""How errors begin where cuDNN has no plan for a call: no fault of the device, and the other kernels may do it."""

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)

Merge = Literal["cudnn", "flash", "efficient"]
"""A kernel that gives the logarithm of its sums of exponentials, too."""


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
                seconds[kernel] = median_seconds(
                    lambda: scaled_dot_product_attention(heads, heads, heads), device
                )
        except RuntimeError:  # also a lack of memory
            continue
    return min(seconds, key=lambda kernel: seconds[kernel]) if seconds else None


def attend_merging(
    query: Float[Tensor, "batch heads queries width"],
    key: Float[Tensor, "batch heads keys width"],
    value: Float[Tensor, "batch heads keys width"],
    first_key_counts: int,
    kernel: Merge,
) -> Float[Tensor, "batch heads queries width"]:
    """Attention to keys of which the first stands for `first_key_counts` equal ones.

    The first one's share of all weights is sigmoid(its logit + log(its count) - the others' log-sum-exp); the sum of
    both parts is made in float32.
    """
    others, log_sum = _attend_with_log_sum(query, key[:, :, 1:], value[:, :, 1:], kernel)
    logit = (query.float() * key[:, :, :1].float()).sum(dim=-1) / math.sqrt(query.shape[-1])
    share = torch.sigmoid(logit + math.log(first_key_counts) - log_sum)[..., None]
    return torch.lerp(others.float(), value[:, :, :1].float(), share).to(query.dtype)


def _attend_with_log_sum(query: Tensor, key: Tensor, value: Tensor, kernel: Merge) -> tuple[Tensor, Tensor]:
    """What the queries gather, and the logarithm of each query's sum of exponentials, [batch, heads, queries]."""
    kernels = torch.ops.aten
    if query.device.type == "cpu":
        found = kernels._scaled_dot_product_flash_attention_for_cpu(query, key, value)
    elif kernel == "flash":
        found = kernels._scaled_dot_product_flash_attention(query, key, value)
    elif kernel == "cudnn":
        found = kernels._scaled_dot_product_cudnn_attention(query, key, value, None, True)
    else:
        found = kernels._scaled_dot_product_efficient_attention(query, key, value, None, True)
    # Kernels add an axis of one, or fill up the queries.
    return found[0], found[1].flatten(2)[:, :, : query.shape[2]]


def fastest_merge(
    num_heads: int,
    num_tokens: int,
    head_width: int,
    first_key_counts: int,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Merge | None:
    """The fastest way to attend where the first of `num_tokens` stands for many; None where repeating it is faster."""
    heads = torch.zeros(1, num_heads, num_tokens, head_width, device=device, dtype=dtype)
    repeated = torch.zeros(
        1, num_heads, num_tokens - 1 + first_key_counts, head_width, device=device, dtype=dtype
    )
    # The copies that repeating makes of keys and values are not counted: what wins, wins by a little more.
    seconds: dict[Merge | None, float] = {}
    for kernel in (*get_args(Merge), None):
        try:
            if kernel is None:
                call = partial(scaled_dot_product_attention, heads, repeated, repeated)
            else:
                call = partial(attend_merging, heads, heads, heads, first_key_counts, kernel)
            seconds[kernel] = median_seconds(call, device)
        except (RuntimeError, NotImplementedError):  # no such kernel here, or a lack of memory
            continue
    return min(seconds, key=lambda kernel: seconds[kernel]) if seconds else None


def retry_without_cudnn(network: Callable[P, T]) -> Callable[P, T]:
    """Calls `network`; where cuDNN finds no plan for its attention, once more with the other kernels, and so on."""
    is_avoided = False

    def call(*arguments: P.args, **named: P.kwargs) -> T:
        nonlocal is_avoided
        if not is_avoided:
            try:
                return network(*arguments, **named)
            except RuntimeError as error:
                if not str(error).startswith(CUDNN_FRONTEND):
                    raise
                logger.warning("attention goes on without cuDNN: %s", str(error).partition("\n")[0])
            is_avoided = True
        with sdpa_kernel([one for one in (*CANDIDATES, LAST) if "CUDNN" not in one.name], set_priority=True):
            return network(*arguments, **named)

    return call


@contextmanager
def preferring(kernel: SDPBackend | None) -> Iterator[None]:
    """Attention goes through `kernel` where that can do it, else through any other."""
    if kernel is None:
        yield
        return
    others = [one for one in (*CANDIDATES, LAST) if one != kernel]
    with sdpa_kernel([kernel, *others], set_priority=True):
        yield


def median_seconds(call: Callable[[], object], device: torch.device) -> float:
    """How long a call takes on the device, after a first that does not count."""
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
