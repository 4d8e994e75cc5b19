"""Asking the field: in calls of few fixed shapes, within the memory there is, and never twice for one point.

Knows points and numbers; not which points are worth asking.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from hy3dgen.errors import GpuOutOfMemory, NotFinite
from hy3dgen.field.lattice import CELLS_PER_BLOCK, Grid, locate
from hy3dgen.runtime.out_of_memory import free_bytes, free_memory, is_shortage

Query = Callable[[Tensor], Tensor]
"""Float32 points [n, 3] in model units -> logits [n], positive inside."""

MIN_POINTS_PER_CALL = 2048
MAX_POINTS_PER_CALL = 131_072
POINTS_STEP = 4096
MAX_CELLS_PER_BLOCK = 2**20
"""On a GPU, which waits for the host once or more a block: few large ones."""
BYTES_PER_CELL, CELLS_SHARE = 512, 0.2
"""Temporaries of one cell, and the share of the free memory that a block may take."""


def points_that_fit(device: torch.device, *, bytes_per_point: int, memory_share: float) -> int:
    """How many points a call may have, judged by the memory that is free or kept for reuse now; a CPU sets no bound."""
    if device.type != "cuda":
        return MAX_POINTS_PER_CALL
    points = int(memory_share * free_bytes(device) / bytes_per_point) // POINTS_STEP * POINTS_STEP
    return min(MAX_POINTS_PER_CALL, max(MIN_POINTS_PER_CALL, points))


def cells_that_fit(device: torch.device) -> int:
    """How many cells are looked at at once: as many as a CPU's cache holds, on a GPU as its free memory allows."""
    if device.type != "cuda":
        return CELLS_PER_BLOCK
    fitting = int(CELLS_SHARE * free_bytes(device) / BYTES_PER_CELL)
    return min(MAX_CELLS_PER_BLOCK, max(CELLS_PER_BLOCK, 1 << max(0, fitting.bit_length() - 1)))


class FieldQuery:
    """The field as a function of any number of points, asked in calls of two fixed sizes.

    A network may round differently at another batch size, so every call is padded to `points_per_call`, or to a small
    fixed size for what is left over; with `has_one_size` to the first alone. When the device runs out of memory the
    calls become half as large and the work goes on where it stood.
    """

    def __init__(self, query: Query, points_per_call: int, *, has_one_size: bool = False) -> None:
        self._query = query
        self.points_per_call, self.has_one_size = points_per_call, has_one_size
        self.num_points = 0
        self.num_padding = 0
        self.num_calls = 0
        self.num_halvings = 0

    def __call__(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """The float32 logit at each point.

        Raises:
            GpuOutOfMemory: not even the smallest call fits.
            NotFinite: a logit is not a finite number.
        """
        parts = []
        start = 0
        while start < len(points):
            part = self._one_call(points[start:])
            parts.append(part)
            start += len(part)
        logits = torch.cat(parts) if parts else points.new_empty(0)
        if not torch.isfinite(logits).all():
            num_bad = int((~torch.isfinite(logits)).sum())
            raise NotFinite(f"{num_bad} of {len(logits)} logits are not finite numbers")
        return logits

    def _one_call(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " k"]:
        """The logits of the first points, as many as one call takes."""
        while True:
            size = self._call_size(len(points))
            batch = points[:size]
            padding = size - len(batch)
            logits = self._ask(functional.pad(batch, (0, 0, 0, padding)))
            if logits is None:
                self._halve()
                continue
            self.num_calls += 1
            self.num_points += len(batch)
            self.num_padding += padding
            return logits[: len(batch)].float()

    def _call_size(self, num_left: int) -> int:
        is_full = self.has_one_size or num_left >= self.points_per_call
        return self.points_per_call if is_full else min(self.points_per_call, MIN_POINTS_PER_CALL)

    def _ask(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"] | None:
        """The logits; None when the device has no room for the call."""
        try:
            return self._query(points)
        except RuntimeError as error:
            if not is_shortage(error):
                raise
        return None

    def _halve(self) -> None:
        free_memory()
        if self.points_per_call <= MIN_POINTS_PER_CALL:
            raise GpuOutOfMemory(f"no room for a call of {self.points_per_call} points")
        self.points_per_call = max(MIN_POINTS_PER_CALL, self.points_per_call // 2)
        self.num_halvings += 1


class FieldMemory:
    """Every lattice point asked so far and its logit, sorted by key, whatever the level that asked."""

    def __init__(self, query: FieldQuery, grid: Grid, device: torch.device) -> None:
        self.query = query
        self._grid = grid
        self.keys = torch.empty(0, dtype=torch.int64, device=device)
        self.logits = torch.empty(0, dtype=torch.float32, device=device)

    def read(self, keys: Int64[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The logits of lattice points; those not known yet are asked, each once."""
        wanted = keys.flatten()
        at, is_known = locate(self.keys, wanted)
        unknown = (~is_known).nonzero().squeeze(1)
        logits = self.logits.index_select(0, at) if len(self.keys) else self.logits.new_empty(len(wanted))
        if len(unknown) > 0:
            missing, place = wanted.index_select(0, unknown).unique(return_inverse=True)
            answers = self.query(self._grid.coordinates(missing))
            logits.index_copy_(0, unknown, answers.index_select(0, place))
            self._insert(missing, answers)
        return logits.view(keys.shape)

    def _insert(self, keys: Int64[Tensor, " n"], logits: Float[Tensor, " n"]) -> None:
        """Merges sorted new points into the sorted old ones, and waits for nothing."""
        places = torch.searchsorted(self.keys, keys) + torch.arange(len(keys), device=keys.device)
        num_old = len(self.keys)
        source = torch.arange(num_old + len(keys), device=keys.device)
        is_new = torch.zeros_like(source, dtype=torch.bool).index_fill_(0, places, True)
        num_new = is_new.cumsum(0)
        source = torch.where(is_new, num_old - 1 + num_new, source - num_new)
        self.keys = torch.cat([self.keys, keys]).index_select(0, source)
        self.logits = torch.cat([self.logits, logits]).index_select(0, source)
