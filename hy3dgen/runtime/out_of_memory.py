"""Out of device memory: the allocator's cache is emptied and the call is made again, then in a smaller form.

`OnLowered` is called with a few words for what was lowered. Knows no networks.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import torch

from hy3dgen.errors import GpuOutOfMemory

P = ParamSpec("P")
T = TypeVar("T")

OnLowered = Callable[[str], None]
"""Hears, in a few words, what was lowered so that the work fits."""
Form = tuple[str | None, Callable[[], T]]
"""A way to do some work, and what it lowers; None for the first, which lowers nothing."""


SHORTAGE_WORDS = ("ALLOC_FAILED", "out of memory")
"""In errors without a class of their own: of cuBLAS and cuDNN, of the driver and of Triton."""


ORDINARY_POOL = (0, 0)
"""The id of the allocator's pool that is not a CUDA graph's."""


def is_shortage(error: BaseException) -> bool:
    """True when the device, or a library on it, lacked memory: no fault, and smaller work may still fit."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in SHORTAGE_WORDS)


def free_memory() -> None:
    """Gives the device back what is kept for reuse. Not while an error is handled: it holds on to its tensors."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def free_bytes(device: torch.device) -> int:
    """What a call on a GPU can still allocate: what is free, and what the allocator keeps for reuse.

    Free blocks in the private pools of CUDA graphs are not counted: no other call can have them.
    """
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + max(0, kept - _unused_in_pools(device)) if kept > 0 else free


def _unused_in_pools(device: torch.device) -> int:
    index = device.index or 0
    return sum(
        segment["total_size"] - segment["allocated_size"]
        for segment in torch.cuda.memory_snapshot(include_traces=False)
        if segment["device"] == index and tuple(segment["segment_pool_id"]) != ORDINARY_POOL
    )


def retry_after_oom(work: Callable[P, T]) -> Callable[P, T]:
    """Calls `work`; after an out-of-memory error it empties the allocator's cache and calls once more."""

    def twice(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return work(*arguments, **named)
        except RuntimeError as error:
            if not is_shortage(error):
                raise
        free_memory()
        return work(*arguments, **named)

    return twice


def first_that_fits(forms: Sequence[Form[T]], on_lowered: OnLowered) -> T:
    """What the first of `forms` gives that the device has room for.

    Raises:
        GpuOutOfMemory: not even the last fits.
    """
    *larger, (last_lowers, smallest) = forms
    for lowers, work in larger:
        try:
            return _do(work, lowers, on_lowered)
        except GpuOutOfMemory:
            pass
        except RuntimeError as error:
            if not is_shortage(error):
                raise
        free_memory()
    try:
        return _do(smallest, last_lowers, on_lowered)
    except RuntimeError as error:
        if not is_shortage(error):
            raise
        raise GpuOutOfMemory("no room even for the smallest form of the work") from error


def _do(work: Callable[[], T], lowers: str | None, on_lowered: OnLowered) -> T:
    if lowers is not None:
        on_lowered(lowers)
    return work()


def ignore_lowered(what: str) -> None:
    """For callers who do not ask."""
