"""Finds the surface of a field by asking coarse to fine, near the surface only: the dense cells for a few percent.

    coarse   every point of a coarse lattice; a small probe says whether it is fine enough (else a finer one)
    guard    cells where the field is small without explanation: a thin part may hide between their corners
    refine   the children of active cells that trilinear interpolation crosses, all children of guarded cells
    flood    from each active cell through every face the surface passes, until nothing new: the surface is closed
             (guard, refine and flood again, down to the finest level)

A cell is *active* when its corners lie on both sides of the level. Knows no networks: the field is a function from
points to logits, positive inside. Nothing is asked twice, and every answer serves all later levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from hy3dgen.calibration import Calibration, calibrate, saturated_value
from hy3dgen.field_query import MIN_POINTS_PER_CALL, FieldMemory, FieldQuery, Query, points_that_fit
from hy3dgen.geometry import Box
from hy3dgen.lattice import CELLS_PER_BLOCK, Grid, Keys, Level, locate, without
from hy3dgen.marching_cubes_table import CORNERS, NUM_CODES, code_table
from hy3dgen.sparse_field import DecodeReport, LevelReport, SparseField

COARSEST_CELLS, FINEST_COARSE_CELLS = 32, 128
"""The coarse lattice has at least and at most so many cells along its longest axis."""

GUARD_MARGIN = 1.3
"""How much steeper than measured the guard takes the field to be."""

Mode = Literal["strict", "fast"]
COVER_FACTOR: dict[Mode, float] = {"strict": 1.0, "fast": 1.4 / math.sqrt(3.0)}
"""The saturation distance must reach this share of half a coarse cell's diagonal (fast: 0.7 of its side)."""


@dataclass(frozen=True)
class DecodeOptions:
    """How to ask. `strict` lets no part hide where the probe allows it; `fast` takes a coarser first lattice.

    `max_points_per_call` bounds a call from above; the memory that is free may bound it further: a call takes
    `memory_share` of it, at `bytes_per_point`. A level of which more than `max_active_share` would be active is read
    whole. `is_guarded=False` leaves the guard out, to show what it is for.
    """

    mode: Mode = "strict"
    max_points_per_call: int = 8000
    memory_share: float = 0.4
    bytes_per_point: int = 26_000
    max_active_share: float = 0.25
    is_guarded: bool = True

    def __post_init__(self) -> None:
        if self.mode not in COVER_FACTOR:
            raise ValueError(f"mode must be 'strict' or 'fast', got {self.mode!r}")
        if self.max_points_per_call < 1:
            raise ValueError(f"max_points_per_call must be at least 1, got {self.max_points_per_call}")
        if not 0 < self.memory_share <= 1 or not 0 < self.max_active_share <= 1:
            raise ValueError("memory_share and max_active_share must lie in (0, 1]")


@dataclass(frozen=True)
class DecodeProgress:
    """Told after each level: it is level `level` of `num_levels`, counted from 1."""

    level: int
    num_levels: int
    resolution: tuple[int, int, int]
    num_active_cells: int
    num_queries: int


OnLevel = Callable[[DecodeProgress], None]


@torch.no_grad()
def decode_field(
    query: Query,
    box: Box,
    resolution: int | tuple[int, int, int],
    *,
    level: float,
    device: torch.device | str,
    options: DecodeOptions | None = None,
    on_level: OnLevel | None = None,
) -> SparseField:
    """The cells of a lattice of `resolution` cells per axis over `box` in which the field crosses `level`.

    `query` is called with float32 points [n, 3] on `device`, n one of two fixed sizes, and gives n logits. `on_level`
    may raise to stop. An empty surface gives a field without cells.

    Raises:
        GpuOutOfMemory: not even the smallest call fits.
        ShapeModelError: a logit is not a finite number.
    """
    cells = (resolution,) * 3 if isinstance(resolution, int) else resolution
    search = SurfaceSearch(query, Grid(box, cells), level, options or DecodeOptions(), torch.device(device))
    return search.run(on_level or _ignore)


@dataclass
class Surface:
    """What is known of one level: sorted active cells and their codes, and the cells to look into though inactive."""

    level: Level
    cells: Int64[Tensor, " n"]
    codes: UInt8[Tensor, " n"]
    is_whole: bool
    num_rounds: int = 1
    guarded: list[Keys] = field(default_factory=list)

    @property
    def active_share(self) -> float:
        """Active cells by all cells of the level."""
        return len(self.cells) / self.level.num_cells


class SurfaceSearch:
    """One decode: the memory of what was asked, and the steps from level to level."""

    def __init__(
        self, query: Query, grid: Grid, iso: float, options: DecodeOptions, device: torch.device
    ) -> None:
        self.grid, self.iso, self.options, self.device = grid, iso, options, device
        fitting = points_that_fit(
            device, bytes_per_point=options.bytes_per_point, memory_share=options.memory_share
        )
        self.query = FieldQuery(query, min(options.max_points_per_call, fitting))
        self.memory = FieldMemory(self.query, grid, device)
        self.calibration: Calibration | None = None
        self.saturated = 0.0
        self.level_reports: list[LevelReport] = []

    def run(self, on_level: OnLevel) -> SparseField:
        """Coarse to fine; `on_level` is told after each level."""
        surface = self.read_coarse()
        num_levels = surface.level.stride.bit_length()
        self._report(surface, num_levels, on_level)
        while surface.level.stride > 1:
            self.guard(surface)
            surface = self.refine(surface)
            self._report(surface, num_levels, on_level)
        return self._sparse_field(surface)

    # Coarse ---------------------------------------------------------------------------------------------------

    def read_coarse(self) -> Surface:
        """The first coarse lattice, from few cells to many, between whose points nothing can saturate."""
        levels = coarse_levels(self.grid)
        for level in levels:
            if self._is_covered_by(level) or level is levels[-1] or self.calibration is None:
                surface = self.read_whole(level)
                self._calibrate(surface)
                if self._is_covered_by(level):
                    break
        return surface

    def read_whole(self, level: Level) -> Surface:
        """Every cell of a level, slab by slab."""
        parts = [self._active(level, slab) for slab in level.all_cells(self.device)]
        cells, codes = (torch.cat(column) for column in zip(*parts, strict=True))
        return Surface(level, cells, codes, is_whole=True)

    def _calibrate(self, surface: Surface) -> None:
        """Measures the field at the first level where it crosses the surface, if not done yet."""
        if self.calibration is None and surface.level.stride > 1:
            self.saturated = saturated_value(self.memory.logits, self.iso)
            if len(surface.cells) > 0:
                self.calibration = calibrate(
                    self.query,
                    surface.level,
                    surface.cells,
                    surface.codes,
                    iso=self.iso,
                    saturated=self.saturated,
                )

    def _is_covered_by(self, level: Level) -> bool:
        if level.stride == 1:
            return True
        needed = COVER_FACTOR[self.options.mode] * level.half_diagonal
        return self.calibration is not None and self.calibration.saturation_distance >= needed

    # Guard ----------------------------------------------------------------------------------------------------

    def guard(self, surface: Surface) -> None:
        """Adds the cells in which a part may hide: round points whose value is small for no known reason.

        Where the level was read whole every small value counts; on later levels only points that touch no active cell.
        Cells that turn out to be active join the surface, and so does all that the surface reaches from them.
        """
        if not self.options.is_guarded:
            return
        suspects = self._suspects(surface)
        around = surface.level.cells_around(suspects)
        around = without(around, surface.cells)
        if surface.is_whole:
            surface.guarded.append(around)
            return
        grown = self._flood(surface.level, around, known=surface)
        surface.guarded.append(without(around, grown.cells))
        surface.cells, surface.codes, surface.num_rounds = grown.cells, grown.codes, grown.num_rounds

    def _suspects(self, surface: Surface) -> Keys:
        """The lattice points of a level where the field is nearer to the surface than to be trusted."""
        level, memory = surface.level, self.memory
        is_small = (memory.logits - self.iso).abs() < self._hidden_below(surface)
        keys = memory.keys[is_small]
        keys = keys[level.own_points(keys)]
        if surface.is_whole:
            return keys
        is_explained = torch.zeros_like(keys, dtype=torch.bool)
        for block in surface.cells.split(CELLS_PER_BLOCK):
            at, is_there = locate(keys, level.corner_keys(block).flatten())
            is_explained[at[is_there]] = True
        return keys[~is_explained]

    def _hidden_below(self, surface: Surface) -> float:
        """A value below which the surface may be nearer than any corner of the cells around."""
        if self.calibration is None:
            return self.saturated
        reach = GUARD_MARGIN * self.calibration.steepness * surface.level.half_diagonal
        if surface.is_whole:
            return min(self.saturated, reach)
        return self.saturated * math.tanh(reach / self.saturated) if self.saturated > 0 else 0.0

    # Refine and flood -----------------------------------------------------------------------------------------

    def refine(self, surface: Surface) -> Surface:
        """The surface on the next finer level."""
        finer = surface.level.next_finer
        # A surface's share of the cells halves from level to level: one that would still fill the next is noise.
        if surface.active_share / 2 > self.options.max_active_share:
            refined = self.read_whole(finer)
        else:
            refined = self._flood(finer, torch.cat(list(self._seeds(surface))))
        self._calibrate(refined)
        return refined

    def _seeds(self, surface: Surface) -> Iterable[Keys]:
        """The children that the surface probably crosses, and all children of guarded cells."""
        level = surface.level
        for block in surface.cells.split(CELLS_PER_BLOCK):
            chosen = crossed_children(self.memory.read(level.corner_keys(block)), self.iso)
            yield level.children(block, chosen | level.is_cut_off(block)[:, None])
        for guarded in surface.guarded:
            for block in guarded.split(CELLS_PER_BLOCK):
                yield level.children(block, torch.ones(len(block), 8, dtype=torch.bool, device=self.device))

    def _flood(self, level: Level, seeds: Keys, known: Surface | None = None) -> Surface:
        """The active cells among `seeds` and all that the surface reaches from them, with those already known."""
        mixed_faces = mixed_face_table(self.device)
        found = [] if known is None else [(known.cells, known.codes)]
        visited = seeds.new_empty(0) if known is None else known.cells
        frontier = without(seeds.unique(), visited)
        num_rounds = 0 if known is None else known.num_rounds
        while len(frontier) > 0:
            visited = torch.cat([visited, frontier]).sort().values
            reached = []
            for block in frontier.split(CELLS_PER_BLOCK):
                cells, codes = self._active(level, block)
                found.append((cells, codes))
                reached.append(level.neighbours(cells, mixed_faces[codes.long()]))
            frontier = without(torch.cat(reached).unique(), visited)
            num_rounds += 1
        return _surface(level, found, num_rounds, self.device)

    def _active(self, level: Level, cells: Int64[Tensor, " n"]) -> tuple[Int64[Tensor, " m"], UInt8[Tensor, " m"]]:
        """Those of the cells that the surface crosses, and their codes; asks the corners not known yet."""
        codes = codes_of(self.memory.read(level.corner_keys(cells)), self.iso)
        is_active = (codes != 0) & (codes != NUM_CODES - 1)
        return cells[is_active], codes[is_active]

    # Result ---------------------------------------------------------------------------------------------------

    def _report(self, surface: Surface, num_levels: int, on_level: OnLevel) -> None:
        asked = self.query.num_points
        before = sum(report.num_queries for report in self.level_reports)
        self.level_reports.append(
            LevelReport(
                resolution=surface.level.cells,
                num_active_cells=len(surface.cells),
                num_queries=asked - before,
                num_rounds=surface.num_rounds,
                is_whole=surface.is_whole,
            )
        )
        done = len(self.level_reports)
        on_level(DecodeProgress(done, num_levels, surface.level.cells, len(surface.cells), asked))

    def _sparse_field(self, surface: Surface) -> SparseField:
        """Only what the extraction needs: active cells, and the points at their corners."""
        is_corner = torch.zeros_like(self.memory.keys, dtype=torch.bool)
        for block in surface.cells.split(CELLS_PER_BLOCK):
            is_corner[locate(self.memory.keys, surface.level.corner_keys(block).flatten())[0]] = True
        keys = self.memory.keys[is_corner]
        return SparseField(
            grid=self.grid,
            level=self.iso,
            keys=keys,
            logits=self.memory.logits[is_corner],
            cells=locate(keys, surface.cells)[0].int(),
            codes=surface.codes,
            report=self._decode_report(),
        )

    def _decode_report(self) -> DecodeReport:
        coarse = self.level_reports[0].resolution
        stride = max(-(-cells // count) for cells, count in zip(self.grid.cells, coarse, strict=True))
        return DecodeReport(
            coarse_resolution=coarse,
            saturation_distance=self.calibration and self.calibration.saturation_distance,
            steepness=self.calibration and self.calibration.steepness,
            is_covered=self._is_covered_by(Level(self.grid, stride)),
            levels=tuple(self.level_reports),
            num_queries=self.query.num_points,
            num_probe_queries=self.query.num_points - len(self.memory.keys),
            num_padding=self.query.num_padding,
            num_calls=self.query.num_calls,
            points_per_call=self.query.points_per_call,
            num_halvings=self.query.num_halvings,
        )


def coarse_levels(grid: Grid) -> list[Level]:
    """The levels to begin with, coarsest first: 32 to 128 cells along the longest axis where there are as many."""
    longest = max(grid.cells)
    strides = (1 << power for power in range(longest.bit_length()))
    fitting = [stride for stride in strides if COARSEST_CELLS <= -(-longest // stride) <= FINEST_COARSE_CELLS]
    return [Level(grid, stride) for stride in reversed(fitting or [1])]


def codes_of(values: Float[Tensor, "n 8"], iso: float) -> UInt8[Tensor, " n"]:
    """The code of each cell: bit c is set where corner c is above `iso`."""
    bits = torch.tensor([1 << corner for corner in range(8)], dtype=torch.uint8, device=values.device)
    return ((values > iso) * bits).sum(dim=-1, dtype=torch.uint8)


def crossed_children(values: Float[Tensor, "n 8"], iso: float) -> Bool[Tensor, "n 8"]:
    """Which of a cell's eight children have corners on both sides, if the field is trilinear inside the cell."""
    lattice = values.view(-1, 2, 2, 2)
    for axis in (1, 2, 3):
        low, high = lattice.unbind(axis)
        lattice = torch.stack([low, 0.5 * (low + high), high], dim=axis)
    inside = lattice > iso
    windows = [inside[:, z : z + 2, y : y + 2, x : x + 2].flatten(1) for x, y, z in CORNERS]
    return torch.stack([window.any(dim=1) & ~window.all(dim=1) for window in windows], dim=-1)


@cache
def mixed_face_table(device: torch.device) -> Bool[Tensor, "256 6"]:
    """Which faces of a cell of each code have corners on both sides."""
    return torch.tensor(code_table().mixed_faces, device=device)


def _surface(
    level: Level, found: list[tuple[Tensor, Tensor]], num_rounds: int, device: torch.device
) -> Surface:
    """One sorted surface out of parts that share no cell."""
    cells = torch.cat([part for part, _ in found] or [torch.empty(0, dtype=torch.int64, device=device)])
    codes = torch.cat([part for _, part in found] or [torch.empty(0, dtype=torch.uint8, device=device)])
    cells, order = cells.sort()
    return Surface(level, cells, codes[order], is_whole=False, num_rounds=num_rounds)


def _ignore(progress: DecodeProgress) -> None:
    pass
