"""Integer points over a box: their keys, their coordinates, and the cells between them. Knows no field.

A point of the finest lattice has indices 0..cells on each axis. Its *key* packs the three indices into one int64, so
that keys sort with x slowest and the neighbour one step up an axis lies a constant away. A coarse level takes every
stride-th point, and always the last one: every point of every level is a point of the finest, and none lies outside
the box. A cell is named by the key of its lower corner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hy3dgen.field.constants import constant
from hy3dgen.field.geometry import Box
from hy3dgen.field.marching_cubes_table import CORNERS, FACES

INDEX_BITS = 20
MAX_CELLS = 2**INDEX_BITS - 1
AXIS_SHIFTS = (2 * INDEX_BITS, INDEX_BITS, 0)
AXIS_UNITS = tuple(1 << shift for shift in AXIS_SHIFTS)
"""How far apart in keys the neighbours along x, y, z are."""

COARSEST_CELLS, FINEST_COARSE_CELLS = 32, 128
"""The coarse lattice has at least and at most so many cells along its longest axis."""

CELLS_PER_BLOCK = 2**17
"""Cells handled at once on a CPU: bounds the temporaries to about 50 MB, most of which stays in its cache."""

Keys = Int64[Tensor, " _"]
"""Keys of any number of points or cells."""


def pack(indices: Int64[Tensor, "n 3"]) -> Int64[Tensor, " n"]:
    """The keys of points given by their indices."""
    x, y, z = indices.unbind(-1)
    return (x << AXIS_SHIFTS[0]) | (y << AXIS_SHIFTS[1]) | z


def index_along(keys: Int64[Tensor, " n"], axis: int) -> Int64[Tensor, " n"]:
    """The index of each point along one axis."""
    return (keys >> AXIS_SHIFTS[axis]) & MAX_CELLS


def unpack(keys: Int64[Tensor, " n"]) -> Int64[Tensor, "n 3"]:
    """The indices of points given by their keys."""
    return torch.stack([index_along(keys, axis) for axis in range(3)], dim=-1)


def locate(haystack: Keys, keys: Int64[Tensor, " n"]) -> tuple[Int64[Tensor, " n"], Bool[Tensor, " n"]]:
    """Where each key is in the sorted `haystack`, and whether it is there at all."""
    if len(haystack) == 0:
        return torch.zeros_like(keys), torch.zeros_like(keys, dtype=torch.bool)
    at = torch.searchsorted(haystack, keys).clamp_(max=len(haystack) - 1)
    return at, haystack[at] == keys


def without(keys: Keys, excluded: Keys) -> Keys:
    """The keys that are not in the sorted `excluded`."""
    return keys[~locate(excluded, keys)[1]]


def runs(keys: Int64[Tensor, " n"]) -> tuple[Int64[Tensor, " runs"], Int64[Tensor, " n"]]:
    """Where each run of keys that grow by one, a step along z, begins; and which run each key is in."""
    is_first = torch.ones_like(keys, dtype=torch.bool)
    is_first[1:] = keys.diff() != 1
    return is_first.nonzero().squeeze(1), is_first.cumsum(0) - 1


@dataclass(frozen=True)
class Grid:
    """The finest lattice: `cells` along x, y, z over `box`."""

    box: Box
    cells: tuple[int, int, int]

    def __post_init__(self) -> None:
        if not all(1 <= count <= MAX_CELLS for count in self.cells):
            raise ValueError(f"a grid has 1..{MAX_CELLS} cells on each axis, got {self.cells}")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """The side lengths of a finest cell, in model units."""
        x, y, z = (extent / count for extent, count in zip(self.box.extent, self.cells, strict=True))
        return (x, y, z)

    @cached_property
    def axes(self) -> tuple[Tensor, Tensor, Tensor]:
        """The float32 coordinates along each axis: computed in float64, rounded once, the last exactly `upper`."""
        ranges = zip(self.box.lower, self.box.upper, self.cells, strict=True)
        x, y, z = (torch.from_numpy(np.linspace(a, b, n + 1).astype(np.float32)) for a, b, n in ranges)
        return (x, y, z)

    def axes_on(self, device: torch.device) -> tuple[Tensor, ...]:
        """`axes` on `device`, copied there once."""
        if device not in self._axes_on:
            self._axes_on[device] = torch.cat(self.axes).to(device).split([n + 1 for n in self.cells])
        return self._axes_on[device]

    @cached_property
    def _axes_on(self) -> dict[torch.device, tuple[Tensor, ...]]:
        return {}

    def coordinates(self, keys: Int64[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """Where points lie, in model units, float32."""
        axes = self.axes_on(keys.device)
        return torch.stack([axes[axis].index_select(0, index_along(keys, axis)) for axis in range(3)], dim=-1)

    def world(self, positions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Positions in finest-cell units as float32 model units: scaled by the cells, not by the points."""
        lower = constant(self.box.lower, positions.dtype, positions.device)
        return (lower + positions * constant(self.spacing, positions.dtype, positions.device)).float()


@dataclass(frozen=True)
class Lattice:
    """The cells whose lower corners are multiples of `stride`; the last along an axis may be cut off by the box."""

    grid: Grid
    stride: int

    @property
    def cells(self) -> tuple[int, int, int]:
        """How many cells there are along x, y, z."""
        x, y, z = (-(-count // self.stride) for count in self.grid.cells)
        return (x, y, z)

    @property
    def num_cells(self) -> int:
        """How many cells there are."""
        return self.cells[0] * self.cells[1] * self.cells[2]

    @property
    def half_diagonal(self) -> float:
        """The farthest that a point of a cell can be from the nearest corner, in model units."""
        return 0.5 * self.stride * float(np.linalg.norm(self.grid.spacing))

    @property
    def next_finer(self) -> Lattice:
        """The level of half this stride."""
        return Lattice(self.grid, self.stride // 2)

    def all_cells(self, device: torch.device, cells_per_block: int = CELLS_PER_BLOCK) -> Iterator[Keys]:
        """Every cell of the level, sorted, slab by slab."""
        x, y, z = (torch.arange(0, count, self.stride, device=device) for count in self.grid.cells)
        for slab in x.split(max(1, cells_per_block // (len(y) * len(z)))):
            yield pack(torch.cartesian_prod(slab, y, z))

    def corner_keys(self, cells: Int64[Tensor, " n"]) -> Int64[Tensor, "n 8"]:
        """The points at the corners of cells, in the order of `CORNERS`."""
        steps = []
        for axis in range(3):
            room = self.grid.cells[axis] - index_along(cells, axis)
            steps.append(room.clamp_(max=self.stride) * AXIS_UNITS[axis])
        return torch.stack(
            [cells + x * steps[0] + y * steps[1] + z * steps[2] for x, y, z in CORNERS], dim=-1
        )

    def neighbours(self, cells: Int64[Tensor, " n"], across: Bool[Tensor, "n 6"]) -> Keys:
        """The cells of the box on the other side of the chosen faces; one may come up several times."""
        found = []
        for face, (axis, side) in enumerate(FACES):
            index = index_along(cells, axis)
            step = self.stride if side else -self.stride
            is_inside = (index + step >= 0) & (index + step < self.grid.cells[axis])
            found.append((cells + step * AXIS_UNITS[axis], is_inside & across[:, face]))
        return torch.cat([keys for keys, _ in found])[torch.cat([mask for _, mask in found])]

    def children(self, cells: Int64[Tensor, " n"], chosen: Bool[Tensor, "n 8"]) -> Keys:
        """The chosen of the eight cells of the next finer level inside each cell, in the order of `CORNERS`."""
        half = self.stride // 2
        indices = unpack(cells)[:, None] + constant(CORNERS, torch.int64, cells.device) * half
        is_inside = (indices < self._ends(cells)).all(dim=-1)
        return pack(indices[chosen & is_inside])

    def is_cut_off(self, cells: Int64[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Which cells reach beyond the box and so are smaller than the others."""
        return (unpack(cells) + self.stride > self._ends(cells)).any(dim=-1)

    def own_points(self, keys: Int64[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Which points are corners of this level's cells."""
        indices = unpack(keys)
        is_last = indices == self._ends(keys)
        return ((indices % self.stride == 0) | is_last).all(dim=-1)

    def cells_around(self, points: Int64[Tensor, " n"]) -> Keys:
        """The up to eight cells that have one of the points as a corner, sorted, each once."""
        indices = unpack(points)
        above = indices // self.stride * self.stride
        below = (indices - 1).div(self.stride, rounding_mode="floor") * self.stride
        is_above, is_below = indices < self._ends(points), below >= 0
        sides = ((below, is_below), (above, is_above))
        found, exists = [], []
        for picks in product(sides, repeat=3):
            lower = torch.stack([indices[:, axis] for axis, (indices, _) in enumerate(picks)], dim=-1)
            exists.append(torch.stack([mask[:, axis] for axis, (_, mask) in enumerate(picks)]).all(dim=0))
            found.append(pack(lower))
        return torch.cat(found)[torch.cat(exists)].unique()

    def _ends(self, keys: Tensor) -> Int64[Tensor, " 3"]:
        """The largest index along x, y, z, where `keys` are."""
        return constant(self.grid.cells, torch.int64, keys.device)


def coarse_lattices(grid: Grid) -> list[Lattice]:
    """The lattices to begin with, coarsest first: 32 to 128 cells along the longest axis where there are as many."""
    longest = max(grid.cells)
    strides = (1 << power for power in range(longest.bit_length()))
    fitting = [stride for stride in strides if COARSEST_CELLS <= -(-longest // stride) <= FINEST_COARSE_CELLS]
    return [Lattice(grid, stride) for stride in reversed(fitting or [1])]
