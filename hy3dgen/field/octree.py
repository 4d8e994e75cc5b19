"""Finds the surface of a field by asking coarse to fine, near the surface only: the dense cells for a few percent.

    coarse   every point of a coarse lattice; a small probe says whether it is fine enough (else a finer one)
    guard    cells where the field is small without explanation: a thin part may hide between their corners
    refine   the children of active cells that trilinear interpolation crosses, all children of guarded cells
    flood    from each active cell through every face the surface passes, until nothing new: the surface is closed
             (guard, refine and flood again, down to the finest level, guarded too: a part may be one voxel thin)

A cell is *active* when its corners lie on both sides of the level. Knows no networks: the field is a function from
points to logits, positive inside. Nothing is asked twice, and every answer serves all later levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import index
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from hy3dgen.field.calibration import MAX_POINTS, Calibration, calibrate, crossings, saturated_value
from hy3dgen.field.field_query import FieldMemory, FieldQuery, Query, points_that_fit
from hy3dgen.field.geometry import Box
from hy3dgen.field.lattice import CELLS_PER_BLOCK, Grid, Keys, Level, locate, without
from hy3dgen.field.marching_cubes_table import CORNERS, NUM_CODES, code_table
from hy3dgen.field.sparse_field import DecodeReport, LevelReport, SparseField

COARSEST_CELLS, FINEST_COARSE_CELLS = 32, 128
"""The coarse lattice has at least and at most so many cells along its longest axis."""

POINTS_PER_CALL = 8000
"""Points asked in one call unless the caller or the memory that is free says otherwise."""

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
    whole. `is_guarded=False` leaves the guard out, to show what it is for. Cells are looked at in blocks of
    `cells_per_block`: smaller ones take less memory and more time, and give the same.
    """

    mode: Mode = "strict"
    max_points_per_call: int = POINTS_PER_CALL
    memory_share: float = 0.4
    bytes_per_point: int = 26_000
    max_active_share: float = 0.25
    is_guarded: bool = True
    cells_per_block: int = CELLS_PER_BLOCK

    def __post_init__(self) -> None:
        if self.mode not in COVER_FACTOR:
            raise ValueError(f"mode must be 'strict' or 'fast', got {self.mode!r}")
        if self.max_points_per_call < 1 or self.cells_per_block < 1:
            raise ValueError("max_points_per_call and cells_per_block must be at least 1")
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
    may raise to stop. An empty surface gives a field without cells. `level` is rounded to float32, as logits are: else
    a logit could lie below it when compared and above it when interpolated.

    Raises:
        GpuOutOfMemory: not even the smallest call fits.
        ShapeModelError: a logit is not a finite number.
        ValueError: `level` is not a finite number.
    """
    cells = resolution if isinstance(resolution, tuple) else (index(resolution),) * 3
    iso = float(np.float32(level))
    if not math.isfinite(iso):
        raise ValueError(f"the level must be a finite float32 number, got {level}")
    search = SurfaceSearch(query, Grid(box, cells), iso, options or DecodeOptions(), torch.device(device))
    return search.run(on_level or _ignore)


@dataclass(frozen=True)
class Surface:
    """What is known of one level: sorted active cells, their codes, and cells to look into though none is active."""

    level: Level
    cells: Int64[Tensor, " n"]
    codes: UInt8[Tensor, " n"]
    guarded: Int64[Tensor, " m"]
    is_whole: bool = False
    num_rounds: int = 1

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
        self.is_calibrated_at_surface = False
        self.saturated = 0.0
        self.level_reports: list[LevelReport] = []

    def run(self, on_level: OnLevel) -> SparseField:
        """Coarse to fine; `on_level` is told after each level."""
        coarse = surface = self.guard(self.read_coarse())
        num_levels = coarse.level.stride.bit_length()
        self._report_level(surface, num_levels, on_level)
        while surface.level.stride > 1:
            surface = self.guard(self.refine(surface))
            self._report_level(surface, num_levels, on_level)
        return self._sparse_field(surface, coarse.level)

    def read_coarse(self) -> Surface:
        """The first of the coarse lattices, from few cells to many, between whose points nothing can hide.

        One on which all is saturated is too coarse to judge by: the next is read, and so on to the finest of them.
        """
        *coarser, finest = coarse_levels(self.grid)
        for level in coarser:
            if not self.is_calibrated_at_surface or self.is_covered_by(level, self.options.mode):
                surface = self.read_whole(level)
                if self.is_covered_by(level, self.options.mode):
                    return surface
        return self.read_whole(finest)

    def is_covered_by(self, level: Level, mode: Mode) -> bool:
        """True when the probe says that the points of a level are as dense as `mode` wants them."""
        needed = COVER_FACTOR[mode] * level.half_diagonal
        is_fine_enough = self.calibration is not None and self.calibration.saturation_distance >= needed
        return level.stride == 1 or is_fine_enough

    def read_whole(self, level: Level) -> Surface:
        """Every cell of a level, slab by slab."""
        parts = [
            self._active(level, slab) for slab in level.all_cells(self.device, self.options.cells_per_block)
        ]
        surface = replace(self._joined(level, parts), is_whole=True)
        self._calibrate(surface)
        return surface

    def guard(self, surface: Surface) -> Surface:
        """The surface with the cells in which a part may hide: those round points that are small for no known reason.

        Where the level was read whole every small value counts; later only points that no active cell touches. Cells
        that turn out to be active join the surface, and so does all that the surface reaches from them.
        """
        if not self.options.is_guarded or (surface.is_whole and surface.level.stride == 1):
            return surface
        around = without(surface.level.cells_around(self._suspects(surface)), surface.cells)
        grown = surface if surface.is_whole else self._flood(surface.level, around, start=surface)
        return replace(grown, guarded=without(around, grown.cells))

    def refine(self, surface: Surface) -> Surface:
        """The surface on the next finer level."""
        finer = surface.level.next_finer
        # A surface's share of the cells halves from level to level: one that would still fill the next is noise.
        if surface.active_share / 2 > self.options.max_active_share:
            return self.read_whole(finer)
        refined = self._flood(finer, torch.cat(list(self._seeds(surface))))
        self._calibrate(refined)
        return refined

    def _calibrate(self, surface: Surface) -> None:
        """Measures the field on the first level that meets the surface; before that, at the points nearest to it."""
        if self.is_calibrated_at_surface or surface.level.stride == 1:
            return
        self.saturated = saturated_value(self.memory.logits, self.iso)
        self.is_calibrated_at_surface = len(surface.cells) > 0
        if self.is_calibrated_at_surface:
            points = crossings(self.memory, surface.level, surface.cells, surface.codes, self.iso)
        else:
            points = self._nearest_points()
        if len(points) > 0:
            self.calibration = calibrate(
                self.query, surface.level, points, iso=self.iso, saturated=self.saturated
            )

    def _nearest_points(self) -> Float[Tensor, "n 3"]:
        """The known points whose values are nearest to the surface's, as far as the field is not saturated there."""
        distance = (self.memory.logits - self.iso).abs()
        nearest = distance.argsort(stable=True)[:MAX_POINTS]
        return self.grid.coordinates(self.memory.keys[nearest[distance[nearest] < self.saturated]])

    def _suspects(self, surface: Surface) -> Keys:
        """The lattice points of a level where the field is too small to say that no surface is near."""
        level, memory = surface.level, self.memory
        keys = memory.keys[(memory.logits - self.iso).abs() < self._hidden_below(surface)]
        keys = keys[level.own_points(keys)]
        if surface.is_whole:
            return keys
        is_explained = torch.zeros_like(keys, dtype=torch.bool)
        for block in surface.cells.split(self.options.cells_per_block):
            at, is_there = locate(keys, level.corner_keys(block).flatten())
            is_explained[at[is_there]] = True
        return keys[~is_explained]

    def _hidden_below(self, surface: Surface) -> float:
        """The value below which the surface may be nearer than any corner of the cells around."""
        if self.calibration is None or self.saturated == 0:
            return self.saturated
        reach = GUARD_MARGIN * self.calibration.steepness * surface.level.half_diagonal
        if surface.is_whole:
            return min(self.saturated, reach)
        return self.saturated * math.tanh(reach / self.saturated)

    def _seeds(self, surface: Surface) -> Iterator[Keys]:
        """The children that the surface probably crosses, and all children of guarded cells."""
        level = surface.level
        for block in surface.cells.split(self.options.cells_per_block):
            chosen = crossed_children(self.memory.read(level.corner_keys(block)), self.iso)
            yield level.children(block, chosen | level.is_cut_off(block)[:, None])
        for block in surface.guarded.split(self.options.cells_per_block):
            yield level.children(block, torch.ones_like(block, dtype=torch.bool)[:, None].expand(-1, 8))

    def _flood(self, level: Level, seeds: Keys, start: Surface | None = None) -> Surface:
        """The active cells among `seeds` and all that the surface reaches from them, with those of `start`."""
        found = [] if start is None else [(start.cells, start.codes)]
        visited = seeds.new_empty(0) if start is None else start.cells
        num_rounds = 0 if start is None else start.num_rounds
        frontier = without(seeds.unique(), visited)
        while len(frontier) > 0:
            if num_rounds > self._max_rounds:
                raise AssertionError(f"flooding {level.cells} cells did not end in {num_rounds} rounds")
            parts = [self._active(level, block) for block in frontier.split(self.options.cells_per_block)]
            visited = torch.cat([visited, frontier]).sort().values
            frontier = without(self._reached(level, parts), visited)
            found += parts
            num_rounds += 1
        return self._joined(level, found, num_rounds)

    @property
    def _max_rounds(self) -> int:
        return 8 * max(self.grid.cells) + 8

    def _active(
        self, level: Level, cells: Int64[Tensor, " n"]
    ) -> tuple[Int64[Tensor, " m"], UInt8[Tensor, " m"]]:
        """Those of the cells that the surface crosses, and their codes; asks the corners not known yet."""
        codes = codes_of(self.memory.read(level.corner_keys(cells)), self.iso)
        is_active = (codes != 0) & (codes != NUM_CODES - 1)
        return cells[is_active], codes[is_active]

    def _reached(self, level: Level, parts: Sequence[tuple[Tensor, Tensor]]) -> Keys:
        """The cells behind the faces that the surface passes, sorted, each once."""
        mixed_faces = mixed_face_table(self.device)
        return torch.cat(
            [level.neighbours(cells, mixed_faces[codes.long()]) for cells, codes in parts]
        ).unique()

    def _joined(self, level: Level, parts: Sequence[tuple[Tensor, Tensor]], num_rounds: int = 1) -> Surface:
        """One sorted surface out of parts that share no cell."""
        none = torch.empty(0, dtype=torch.int64, device=self.device)
        cells, order = torch.cat([none, *(cells for cells, _ in parts)]).sort()
        codes = torch.cat([none.to(torch.uint8), *(codes for _, codes in parts)])[order]
        return Surface(level, cells, codes, guarded=none, num_rounds=num_rounds)

    def _report_level(self, surface: Surface, num_levels: int, on_level: OnLevel) -> None:
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

    def _sparse_field(self, surface: Surface, coarse: Level) -> SparseField:
        """Only what the extraction needs: active cells, and the points at their corners."""
        is_corner = torch.zeros_like(self.memory.keys, dtype=torch.bool)
        for block in surface.cells.split(self.options.cells_per_block):
            is_corner[locate(self.memory.keys, surface.level.corner_keys(block).flatten())[0]] = True
        keys = self.memory.keys[is_corner]
        return SparseField(
            grid=self.grid,
            level=self.iso,
            keys=keys,
            logits=self.memory.logits[is_corner],
            cells=locate(keys, surface.cells)[0].int(),
            codes=surface.codes,
            report=self._decode_report(coarse),
        )

    def _decode_report(self, coarse: Level) -> DecodeReport:
        query, measured = self.query, self.calibration
        return DecodeReport(
            coarse_resolution=coarse.cells,
            saturation_distance=None if measured is None else measured.saturation_distance,
            steepness=None if measured is None else measured.steepness,
            is_covered=self.is_covered_by(coarse, "strict"),
            levels=tuple(self.level_reports),
            num_queries=query.num_points,
            num_probe_queries=query.num_points - len(self.memory.keys),
            num_padding=query.num_padding,
            num_calls=query.num_calls,
            points_per_call=query.points_per_call,
            num_halvings=query.num_halvings,
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


def _ignore(progress: DecodeProgress) -> None:
    pass
