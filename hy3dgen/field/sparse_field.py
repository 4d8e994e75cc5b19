"""The field where it matters: the lattice points round the surface, their logits, and the cells it passes through.

`Surface` is what a search knows on one lattice, `SparseField` what is left of the finest: all that extraction needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32, Int64, UInt8
from torch import Tensor

from hy3dgen.field.lattice import AXIS_UNITS, Grid, Lattice, runs
from hy3dgen.field.marching_cubes_table import CORNERS


@dataclass(frozen=True)
class LevelReport:
    """What happened on one level: `is_whole` where every cell was read instead of those near the surface."""

    resolution: tuple[int, int, int]
    num_active_cells: int
    num_queries: int
    num_rounds: int
    is_whole: bool


@dataclass(frozen=True)
class DecodeReport:
    """How a decode went, and how far completeness is warranted.

    Every surface that was touched is complete. A separate part can be overlooked only when it is so small that the
    field around it saturates between the points of the coarse level: when `is_covered` (by the strict measure,
    whatever the mode), no part can hide so, as far as the probe shows; else parts smaller than about
    `saturation_distance` may be absent. `saturation_distance` (model units; None when no surface was found to measure
    at) is how far from the surface the field saturates, `steepness` the field's slope at the surface.
    """

    coarse_resolution: tuple[int, int, int]
    saturation_distance: float | None
    steepness: float | None
    is_covered: bool
    levels: tuple[LevelReport, ...]
    num_queries: int
    num_probe_queries: int
    num_padding: int
    num_calls: int
    points_per_call: int
    num_halvings: int
    warnings: tuple[str, ...] = ()
    """What is suspicious about the field, in words for the operator; nothing in the usual case."""

    @property
    def used_fallback(self) -> bool:
        """True when a level after the coarse one was read whole, because the field is noise or fills space."""
        return any(level.is_whole for level in self.levels[1:])


@dataclass(frozen=True)
class Surface:
    """What is known on one lattice: sorted active cells, their codes, and cells to look into though none is active."""

    lattice: Lattice
    cells: Int64[Tensor, " n"]
    codes: UInt8[Tensor, " n"]
    guarded: Int64[Tensor, " m"]
    is_whole: bool = False
    num_rounds: int = 1

    @property
    def active_share(self) -> float:
        """Active cells by all cells of the lattice."""
        return len(self.cells) / self.lattice.num_cells


@dataclass(frozen=True, eq=False)
class SparseField:
    """The cells that a surface passes through, on the finest lattice.

    `keys` are the corner points of these cells, sorted, and `logits` their values; `cells` says for each cell, sorted
    too, which of the points is its lower corner; bit c of `codes` is set where corner c is above `iso`.
    """

    grid: Grid
    iso: float
    keys: Int64[Tensor, " points"]
    logits: Float[Tensor, " points"]
    cells: Int32[Tensor, " cells"]
    codes: UInt8[Tensor, " cells"]
    report: DecodeReport

    @property
    def resolution(self) -> tuple[int, int, int]:
        """Cells along x, y, z."""
        return self.grid.cells

    @property
    def num_bytes(self) -> int:
        """The memory that the tensors take."""
        return sum(tensor.nbytes for tensor in (self.keys, self.logits, self.cells, self.codes))

    def cell_keys(self) -> Int64[Tensor, " cells"]:
        """The lattice key of each cell."""
        return self.keys[self.cells]

    def columns(self, cells: Int32[Tensor, " n"]) -> Int64[Tensor, "n 4"]:
        """Which points are the lower ends of the four upright edges of some of the cells: corners 0 to 3.

        The upper end, four corners on, is the next point: z changes fastest in the keys, and all corners are present.
        """
        lower = cells.long()
        keys = self.keys.index_select(0, lower)
        # One search for each run of cells that stand on each other: their corners do so too, none is missing.
        first, run = runs(keys)
        start = keys.index_select(0, first)
        height = keys - start.index_select(0, run)
        others = (torch.searchsorted(self.keys, start + _offset(corner)) for corner in (1, 2, 3))
        return torch.stack([lower, *(at.index_select(0, run) + height for at in others)], dim=-1)


def _offset(corner: int) -> int:
    """How far in keys a corner is from the lower corner of its cell."""
    return sum(unit for unit, step in zip(AXIS_UNITS, CORNERS[corner], strict=True) if step)
