"""A function with a compiled twin for the shapes it was prepared for; every other call goes the plain way.

Shapes are fixed, so that on a GPU whole calls are recorded and replayed (CUDA graphs). What can't be compiled, gives
other numbers, or fails later, goes the plain way and is logged: compiling is never needed. A twin that runs out of
memory is forgotten with its graphs, whose pools no other call can use. Knows no networks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from hy3dgen.runtime.out_of_memory import OnLowered, free_memory, ignore_lowered, is_shortage

NUM_TRIAL_CALLS = 3  # CUDA graphs: one call warms up, the next is recorded, the third replays it.
LARGEST_DEVIATION = {torch.float32: 1e-3}
LARGEST_HALF_DEVIATION = 5e-2

logger = logging.getLogger(__name__)


class FixedShapes:
    """`plain`, fast for prepared shapes. `name` is what log lines call it."""

    def __init__(self, plain: Callable[..., Tensor], name: str, *, has_graphs: bool) -> None:
        self.plain, self.name, self.has_graphs = plain, name, has_graphs
        self._fast: Callable[..., Tensor] = torch.compile(
            plain, dynamic=False, fullgraph=True, mode="reduce-overhead" if has_graphs else None
        )
        self._prepared: set[Hashable] = set()
        self._logged: set[Hashable] = set()
        self.on_lowered: OnLowered = ignore_lowered
        """Hears when the twin is given up for lack of memory."""

    def __call__(self, *arguments: Any) -> Tensor:
        """What `plain` gives."""
        if shape_of(arguments) not in self._prepared:
            self._log_plain(arguments)
            return self.plain(*arguments)
        try:
            return self._call(arguments)
        except Exception as error:
            logger.warning("compiled %s failed, going on without: %s", self.name, _first_line(error))
            is_short = is_shortage(error)
        # Not while the error is handled: it holds on to the tensors of the failed call.
        self._forget(is_short=is_short)
        return self.plain(*arguments)

    @torch.no_grad()
    def prepare(self, *arguments: Any) -> bool:
        """Compiles for the shapes of these arguments; False when calls like this stay plain."""
        begun_s = time.monotonic()
        try:
            expected = self.plain(*arguments)
            for _ in range(NUM_TRIAL_CALLS):
                found = self._call(arguments)
        except Exception as error:  # a compiler brings the errors of many packages, and programs of its own
            logger.warning("%s is not compiled: %s: %s", self.name, type(error).__name__, _first_line(error))
            return False
        off = deviation(found, expected)
        if not off <= LARGEST_DEVIATION.get(found.dtype, LARGEST_HALF_DEVIATION):  # also what is no number
            logger.warning("%s is not compiled: it comes out %.2g off", self.name, off)
            return False
        self._prepared.add(shape_of(arguments))
        seconds = time.monotonic() - begun_s
        logger.info("compiled %s in %.1f s, deviation %.1g", self.name, seconds, off)
        return True

    def _log_plain(self, arguments: tuple[Any, ...]) -> None:
        """Logs, once for each, which shapes go the plain way though others are compiled."""
        shapes = tuple(tuple(one.shape) for one in arguments if isinstance(one, Tensor))
        if self._prepared and shapes not in self._logged:
            self._logged.add(shapes)
            logger.info("%s goes the plain way for calls of %s", self.name, shapes)

    def _forget(self, *, is_short: bool) -> None:
        """Goes the plain way from now on; frees the graphs where memory was the reason."""
        self._prepared.clear()
        if not is_short:
            return
        self._fast = self.plain
        if self.has_graphs:
            reset_cudagraph_trees()
        free_memory()
        self.on_lowered(f"{self.name} not compiled")

    def _call(self, arguments: tuple[Any, ...]) -> Tensor:
        if not self.has_graphs:
            return self._fast(*arguments)
        torch.compiler.cudagraph_mark_step_begin()
        # The next replay writes where this one's result lies.
        return self._fast(*arguments).clone()


@contextmanager
def reporting(functions: Iterable[Callable[..., Tensor] | None], on_lowered: OnLowered) -> Iterator[None]:
    """`on_lowered` hears of compiled twins among `functions` that are given up for lack of memory."""
    compiled = [one for one in functions if isinstance(one, FixedShapes)]
    for one in compiled:
        one.on_lowered = on_lowered
    try:
        yield
    finally:
        for one in compiled:
            one.on_lowered = ignore_lowered


def reset_cudagraph_trees() -> None:
    """Drops every CUDA graph that this thread recorded, and their pools."""
    from torch._inductor import cudagraph_trees  # seconds of imports that only a compiled network needs

    cudagraph_trees.reset_cudagraph_trees()


def shape_of(arguments: tuple[Any, ...]) -> Hashable:
    """What a compiled function depends on: layout, number type and device of tensors, other values themselves."""
    return tuple(
        (tuple(one.shape), one.stride(), one.dtype, one.device) if isinstance(one, Tensor) else one
        for one in arguments
    )


def deviation(found: Tensor, expected: Tensor) -> float:
    """The largest difference, by the largest magnitude expected."""
    scale = expected.abs().amax().float().clamp_min(1e-12)
    return float((found.float() - expected.float()).abs().amax() / scale)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200]
