"""The field where it matters: the lattice points round the surface, their logits, and the cells it passes through."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32, Int64, UInt8
from torch import Tensor

from hy3dgen.lattice import AXIS_UNITS, Grid, Level, locate
from hy3dgen.marching_cubes_table import CORNERS


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
    field around it saturates between the points of the coarse level: when `is_covered`, no part can hide so, as far
    as the probe tells; else parts smaller than about `saturation_distance` may be absent. `saturation_distance` (model
    units; None when no surface was found to measure at) is how far from the surface the field saturates, `steepness`
    the field's slope at the surface.
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

    @property
    def used_fallback(self) -> bool:
        """True when a level after the coarse one was read whole, because the field is noise or fills space."""
        return any(level.is_whole for level in self.levels[1:])


@dataclass(frozen=True, eq=False)
class SparseField:
    """The cells that a surface passes through, on the finest lattice.

    `keys` are the corner points of these cells, sorted, and `logits` their values; `cells` says for each cell, sorted
    too, which of the points is its lower corner; bit c of `codes` is set where corner c is above `level`.
    """

    grid: Grid
    level: float
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

    def corners(self, cells: Int32[Tensor, " n"]) -> Int64[Tensor, "n 8"]:
        """Which points are the corners of some of the cells, in the order of `CORNERS`."""
        lower = cells.long()
        columns = {(0, 0): lower}
        for x, y in ((1, 0), (0, 1), (1, 1)):
            columns[x, y] = locate(self.keys, self.keys[lower] + x * AXIS_UNITS[0] + y * AXIS_UNITS[1])[0]
        # z changes fastest in the keys, and all eight corners are present: the upper one follows the lower one.
        return torch.stack([columns[x, y] + z for x, y, z in CORNERS], dim=-1)

    @property
    def finest(self) -> Level:
        """The level that the cells are of."""
        return Level(self.grid, 1)
