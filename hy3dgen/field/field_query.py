"""Asking the field: in calls of few fixed shapes, within the memory there is, and never twice for one point.

Knows points and numbers; not which points are worth asking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from hy3dgen.errors import GpuOutOfMemory, NotFinite
from hy3dgen.field.decode_options import DecodeOptions
from hy3dgen.field.lattice import AXIS_SHIFTS, CELLS_PER_BLOCK, Grid, Keys, Lattice, index_along, locate
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

    @classmethod
    def that_fits(cls, query: Query, options: DecodeOptions, device: torch.device) -> FieldQuery:
        """In calls as large as `options` and the device's memory allow.

        A GPU's libraries may take another kernel for another size: all of a field is rounded in one way there.
        """
        fitting = points_that_fit(
            device, bytes_per_point=options.bytes_per_point, memory_share=options.memory_share
        )
        return cls(query, min(options.max_points_per_call, fitting), has_one_size=device.type == "cuda")

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
        self.query, self.grid = query, grid
        self.keys = torch.empty(0, dtype=torch.int64, device=device)
        self.logits = torch.empty(0, dtype=torch.float32, device=device)
        self.num_asked = 0

    def part(self, keys: Keys, logits: Float[Tensor, " n"]) -> FieldMemory:
        """A memory of the same field that knows only these sorted points."""
        made = FieldMemory(self.query, self.grid, keys.device)
        made.keys, made.logits = keys, logits
        return made

    def only(self, points: Iterable[Keys]) -> FieldMemory:
        """A memory that knows those of the points alone, all of which are known."""
        is_needed = torch.zeros_like(self.keys, dtype=torch.bool)
        for block in points:
            is_needed.index_fill_(0, locate(self.keys, block)[0], True)
        needed = is_needed.nonzero().squeeze(1)
        return self.part(self.keys.index_select(0, needed), self.logits.index_select(0, needed))

    def read(self, keys: Int64[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The logits of lattice points; those not known yet are asked, each once."""
        wanted = keys.flatten()
        at, is_known = locate(self.keys, wanted)
        unknown = (~is_known).nonzero().squeeze(1)
        logits = self.logits.index_select(0, at) if len(self.keys) else self.logits.new_empty(len(wanted))
        if len(unknown) > 0:
            missing, place = wanted.index_select(0, unknown).unique(return_inverse=True)
            answers = self.query(self.grid.coordinates(missing))
            logits.index_copy_(0, unknown, answers.index_select(0, place))
            self._insert(missing, answers)
            self.num_asked += len(missing)
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


class SlabMemory:
    """A memory while the finest lattice is read whole, slab by slab: of each only the corners that are needed are kept.

    A slab's last plane of points is the next one's first: it is carried over, with which of its points are needed.
    """

    def __init__(self, before: FieldMemory) -> None:
        self._before = before
        self._window = before
        self._end = 0
        self._carried: tuple[Tensor, ...] = (before.keys[:0], before.logits[:0], before.keys[:0].bool())
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._num_asked = before.num_asked

    def enter(self, cells: Int64[Tensor, " n"]) -> FieldMemory:
        """What is known of the points of a slab, which is given by its sorted cells, and follows the one before."""
        known, first = self._before.keys, self._end
        self._end = int(index_along(cells[-1:], 0)) + 2
        bounds = torch.tensor([first << AXIS_SHIFTS[0], self._end << AXIS_SHIFTS[0]], device=known.device)
        begin, end = torch.searchsorted(known, bounds).tolist()
        keys, logits, _ = self._carried
        self._window = self._before.part(
            torch.cat([keys, known[begin:end]]), torch.cat([logits, self._before.logits[begin:end]])
        )
        return self._window

    def leave(self, corners: Keys) -> None:
        """Keeps what the slab's `corners` need, but for its last plane, which is carried over."""
        window = self._window
        is_needed = torch.zeros_like(window.keys, dtype=torch.bool)
        is_needed.index_fill_(0, locate(window.keys, corners)[0], True)
        was_needed = self._carried[2]
        is_needed[: len(was_needed)] |= was_needed
        last = int(torch.searchsorted(window.keys, (self._end - 1) << AXIS_SHIFTS[0]))
        done = is_needed[:last]
        self._kept.append((window.keys[:last][done], window.logits[:last][done]))
        self._carried = tuple(one[last:].clone() for one in (window.keys, window.logits, is_needed))
        self._num_asked += window.num_asked

    def finish(self) -> FieldMemory:
        """What was needed of the whole lattice."""
        keys, logits, is_needed = self._carried
        kept = [*self._kept, (keys[is_needed], logits[is_needed])]
        found = self._before.part(torch.cat([one for one, _ in kept]), torch.cat([one for _, one in kept]))
        found.num_asked = self._num_asked
        return found


def read_slabs(
    before: FieldMemory,
    slabs: Iterable[Keys],
    read: Callable[[Keys, FieldMemory], tuple[Tensor, Tensor]],
    finest: Lattice,
) -> tuple[list[tuple[Tensor, Tensor]], FieldMemory]:
    """What `read` gives of each slab of the finest lattice, and the corners of the cells that it finds active."""
    memory, parts = SlabMemory(before), []
    for slab in slabs:
        parts.append(read(slab, memory.enter(slab)))
        memory.leave(finest.corner_keys(parts[-1][0]).flatten())
    return parts, memory.finish()
