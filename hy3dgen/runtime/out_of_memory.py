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


def free_memory() -> None:
    """Gives the device back what is kept for reuse. Not while an error is handled: it holds on to its tensors."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def retry_after_oom(work: Callable[P, T]) -> Callable[P, T]:
    """Calls `work`; after an out-of-memory error it empties the allocator's cache and calls once more."""

    def twice(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return work(*arguments, **named)
        except torch.OutOfMemoryError:
            pass
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
        except (torch.OutOfMemoryError, GpuOutOfMemory):
            pass
        free_memory()
    try:
        return _do(smallest, last_lowers, on_lowered)
    except torch.OutOfMemoryError as error:
        raise GpuOutOfMemory("no room even for the smallest form of the work") from error


def _do(work: Callable[[], T], lowers: str | None, on_lowered: OnLowered) -> T:
    if lowers is not None:
        on_lowered(lowers)
    return work()


def ignore_lowered(what: str) -> None:
    """For callers who do not ask."""
