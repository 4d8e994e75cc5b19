"""Finds the surface of a field by asking coarse to fine, near the surface only: the dense cells for a few percent.

    coarse   every point of a coarse lattice; a small probe says whether it is fine enough (else a finer one)
    guard    cells with |logit - iso| below the calibrated bound though no corner changes sign: a feature thinner
             than the cell may pass between the samples
    refine   the children of active cells that trilinear interpolation crosses, all children of guarded cells
    flood    from each active cell through every face the surface passes, until nothing new: the surface is closed
             (guard, refine and flood again, down to the finest level, guarded too: a part may be one voxel thin)

A cell is *active* when its corners lie on both sides of the iso value. Knows no networks: the field is a function from
points to logits, positive inside. Nothing is asked twice, and every answer serves all later levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import index

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from hy3dgen.field.calibration import MAX_POINTS, Calibration, calibrate, crossings, saturated_value
from hy3dgen.field.cells import codes_of, crossed_children, mixed_face_table
from hy3dgen.field.decode_options import COVER_FACTOR, DecodeOptions, DecodeProgress, Mode, OnLevel
from hy3dgen.field.field_query import FieldMemory, FieldQuery, Query, cells_that_fit, read_slabs
from hy3dgen.field.geometry import Box
from hy3dgen.field.lattice import Grid, Keys, Lattice, coarse_lattices, locate, without
from hy3dgen.field.marching_cubes_table import NUM_CODES
from hy3dgen.field.sparse_field import DecodeReport, LevelReport, SparseField, Surface

GUARD_MARGIN = 1.3
"""How much steeper than measured the guard takes the field to be."""


@torch.no_grad()
def decode_field(
    query: Query,
    box: Box,
    resolution: int | tuple[int, int, int],
    *,
    iso: float,
    device: torch.device | str,
    options: DecodeOptions | None = None,
    on_level: OnLevel | None = None,
) -> SparseField:
    """The cells of a lattice of `resolution` cells per axis over `box` in which the field equals `iso`.

    `query` is called with float32 points [n, 3] on `device`, n one of two fixed sizes, and gives n logits. `on_level`
    may raise to stop. An empty surface gives a field without cells. `iso` is rounded to float32, as logits are: else
    a logit could lie below it when compared and above it when interpolated.

    Raises:
        GpuOutOfMemory: not even the smallest call fits.
        NotFinite: a logit is not a finite number.
        ValueError: `iso` is not a finite number.
    """
    cells = resolution if isinstance(resolution, tuple) else (index(resolution),) * 3
    rounded = float(np.float32(iso))
    if not math.isfinite(rounded):
        raise ValueError(f"the iso value must be a finite float32 number, got {iso}")
    search = SurfaceSearch(query, Grid(box, cells), rounded, options or DecodeOptions(), torch.device(device))
    return search.run(on_level or _ignore)


class SurfaceSearch:
    """One decode: the memory of what was asked, and the steps from level to level."""

    def __init__(
        self, query: Query, grid: Grid, iso: float, options: DecodeOptions, device: torch.device
    ) -> None:
        self.grid, self.iso, self.options, self.device = grid, iso, options, device
        self.query = FieldQuery.that_fits(query, options, device)
        self.cells_per_block = options.cells_per_block or cells_that_fit(device)
        self.memory = FieldMemory(self.query, grid, device)
        self.calibration: Calibration | None = None
        self.is_calibrated_at_surface = False
        self.saturated = 0.0
        self.level_reports: list[LevelReport] = []

    def run(self, on_level: OnLevel) -> SparseField:
        """Coarse to fine; `on_level` is called after each level."""
        coarse = surface = self.guard(self.read_coarse())
        num_depths = coarse.lattice.stride.bit_length()
        self._report_level(surface, num_depths, on_level)
        while surface.lattice.stride > 1:
            surface = self.guard(self.refine(surface))
            self._report_level(surface, num_depths, on_level)
        return self._sparse_field(surface, coarse.lattice)

    def read_coarse(self) -> Surface:
        """The first of the coarse lattices, from few cells to many, between whose points nothing can hide.

        One on which all is saturated is too coarse to judge by: the next is read, and so on to the finest of them.
        """
        *coarser, finest = coarse_lattices(self.grid)
        for lattice in coarser:
            if not self.is_calibrated_at_surface or self.is_covered_by(lattice, self.options.mode):
                surface = self.read_whole(lattice)
                if self.is_covered_by(lattice, self.options.mode):
                    return surface
        return self.read_whole(finest)

    def is_covered_by(self, lattice: Lattice, mode: Mode) -> bool:
        """True when the probe says that the points of a lattice are as dense as `mode` wants them."""
        needed = COVER_FACTOR[mode] * lattice.half_diagonal
        is_fine_enough = self.calibration is not None and self.calibration.saturation_distance >= needed
        return lattice.stride == 1 or is_fine_enough

    def read_whole(self, lattice: Lattice) -> Surface:
        """Every cell of a lattice, slab by slab; of the finest no more is kept than its active cells need."""
        slabs, read = lattice.all_cells(self.device, self.cells_per_block), partial(self._active, lattice)
        if lattice.stride > 1:
            parts = [read(slab) for slab in slabs]
        else:
            parts, self.memory = read_slabs(self.memory, slabs, read, lattice)
        surface = replace(self._join(lattice, parts, is_sorted=True), is_whole=True)
        self._calibrate(surface)
        return surface

    def guard(self, surface: Surface) -> Surface:
        """The surface with the cells in which a part may hide: those round points that are small for no known reason.

        Where the lattice was read whole every small value counts; later only points that no active cell touches. Cells
        that turn out to be active join the surface, and so does all that the surface reaches from them.
        """
        if surface.is_whole and surface.lattice.stride == 1:
            return surface
        around = without(surface.lattice.cells_around(self._suspects(surface)), surface.cells)
        grown = surface if surface.is_whole else self._flood(surface.lattice, around, start=surface)
        return replace(grown, guarded=without(around, grown.cells))

    def refine(self, surface: Surface) -> Surface:
        """The surface on the next finer lattice."""
        finer = surface.lattice.next_finer
        # A surface's share of the cells halves from level to level: one that would still fill the next is noise.
        if surface.active_share / 2 > self.options.max_active_share:
            return self.read_whole(finer)
        refined = self._flood(finer, torch.cat(list(self._seeds(surface))))
        self._calibrate(refined)
        return refined

    def _calibrate(self, surface: Surface) -> None:
        """Measures the field on the first lattice that meets the surface; before that, at the points nearest to it."""
        if self.is_calibrated_at_surface or surface.lattice.stride == 1:
            return
        self.saturated = saturated_value(self.memory.logits, self.iso)
        self.is_calibrated_at_surface = len(surface.cells) > 0
        if self.is_calibrated_at_surface:
            points = crossings(self.memory, surface.lattice, surface.cells, surface.codes, self.iso)
        else:
            points = self._nearest_points()
        if len(points) > 0:
            self.calibration = calibrate(
                self.query, surface.lattice, points, iso=self.iso, saturated=self.saturated
            )

    def _nearest_points(self) -> Float[Tensor, "n 3"]:
        """The known points whose values are nearest to the surface's, as far as the field is not saturated there."""
        distance = (self.memory.logits - self.iso).abs()
        nearest = distance.argsort(stable=True)[:MAX_POINTS]
        return self.grid.coordinates(self.memory.keys[nearest[distance[nearest] < self.saturated]])

    def _suspects(self, surface: Surface) -> Keys:
        """The lattice points of a lattice where the field is too small to say that no surface is near."""
        lattice, memory = surface.lattice, self.memory
        keys = memory.keys[(memory.logits - self.iso).abs() < self._hidden_below(surface)]
        keys = keys[lattice.own_points(keys)]
        if surface.is_whole:
            return keys
        # One place more than keys, for corners that are none of them.
        is_explained = torch.zeros(len(keys) + 1, dtype=torch.bool, device=keys.device)
        for block in surface.cells.split(self.cells_per_block):
            at, is_there = locate(keys, lattice.corner_keys(block).flatten())
            is_explained.index_fill_(0, at.where(is_there, len(keys)), True)
        return keys[~is_explained[:-1]]

    def _hidden_below(self, surface: Surface) -> float:
        """The value below which the surface may be nearer than any corner of the cells around."""
        if self.calibration is None or self.saturated == 0:
            return self.saturated
        reach = GUARD_MARGIN * self.calibration.steepness * surface.lattice.half_diagonal
        if surface.is_whole:
            return min(self.saturated, reach)
        return self.saturated * math.tanh(reach / self.saturated)

    def _seeds(self, surface: Surface) -> Iterator[Keys]:
        """The children that the surface probably crosses, and all children of guarded cells."""
        lattice = surface.lattice
        for block in surface.cells.split(self.cells_per_block):
            chosen = crossed_children(self.memory.read(lattice.corner_keys(block)), self.iso)
            yield lattice.children(block, chosen | lattice.is_cut_off(block)[:, None])
        for block in surface.guarded.split(self.cells_per_block):
            yield lattice.children(block, torch.ones_like(block, dtype=torch.bool)[:, None].expand(-1, 8))

    def _flood(self, lattice: Lattice, seeds: Keys, start: Surface | None = None) -> Surface:
        """The active cells among `seeds` and all that the surface reaches from them, with those of `start`."""
        found = [] if start is None else [(start.cells, start.codes)]
        visited = seeds.new_empty(0) if start is None else start.cells
        num_rounds = 0 if start is None else start.num_rounds
        frontier = without(seeds.unique(), visited)
        while len(frontier) > 0:
            if num_rounds > self._max_rounds:
                raise AssertionError(f"flooding {lattice.cells} cells did not end in {num_rounds} rounds")
            parts = [self._active(lattice, block) for block in frontier.split(self.cells_per_block)]
            visited = torch.cat([visited, frontier]).sort().values
            frontier = without(self._reach(lattice, parts), visited)
            found += parts
            num_rounds += 1
        return self._join(lattice, found, num_rounds)

    @property
    def _max_rounds(self) -> int:
        return 8 * max(self.grid.cells) + 8

    def _active(
        self, lattice: Lattice, cells: Int64[Tensor, " n"], memory: FieldMemory | None = None
    ) -> tuple[Int64[Tensor, " m"], UInt8[Tensor, " m"]]:
        """Those of the cells that the surface crosses, and their codes; asks the corners not known yet."""
        codes = codes_of((memory or self.memory).read(lattice.corner_keys(cells)), self.iso)
        active = ((codes != 0) & (codes != NUM_CODES - 1)).nonzero().squeeze(1)
        return cells.index_select(0, active), codes.index_select(0, active)

    def _reach(self, lattice: Lattice, parts: Sequence[tuple[Tensor, Tensor]]) -> Keys:
        """The cells behind the faces that the surface passes, sorted, each once."""
        mixed_faces = mixed_face_table(self.device)
        return torch.cat(
            [lattice.neighbours(cells, mixed_faces[codes.long()]) for cells, codes in parts]
        ).unique()

    def _join(
        self,
        lattice: Lattice,
        parts: Sequence[tuple[Tensor, Tensor]],
        num_rounds: int = 1,
        *,
        is_sorted: bool = False,
    ) -> Surface:
        """One sorted surface out of parts that share no cell; `is_sorted`: one follows the other."""
        none = torch.empty(0, dtype=torch.int64, device=self.device)
        cells = torch.cat([none, *(cells for cells, _ in parts)])
        codes = torch.cat([none.to(torch.uint8), *(codes for _, codes in parts)])
        if not is_sorted:
            cells, order = cells.sort()
            codes = codes[order]
        return Surface(lattice, cells, codes, guarded=none, num_rounds=num_rounds)

    def _report_level(self, surface: Surface, num_depths: int, on_level: OnLevel) -> None:
        asked = self.query.num_points
        before = sum(report.num_queries for report in self.level_reports)
        self.level_reports.append(
            LevelReport(
                resolution=surface.lattice.cells,
                num_active_cells=len(surface.cells),
                num_queries=asked - before,
                num_rounds=surface.num_rounds,
                is_whole=surface.is_whole,
            )
        )
        done = len(self.level_reports)
        on_level(DecodeProgress(done, num_depths, surface.lattice.cells, len(surface.cells), asked))

    def _sparse_field(self, surface: Surface, coarse: Lattice) -> SparseField:
        """Only what the extraction needs: active cells, and the points at their corners."""
        blocks, known = surface.cells.split(self.cells_per_block), self.memory
        if not surface.is_whole:
            known = known.only(surface.lattice.corner_keys(block).flatten() for block in blocks)
        return SparseField(
            grid=self.grid,
            iso=self.iso,
            keys=known.keys,
            logits=known.logits,
            cells=torch.cat([locate(known.keys, block)[0].int() for block in blocks]),
            codes=surface.codes,
            report=self._decode_report(coarse),
        )

    def _decode_report(self, coarse: Lattice) -> DecodeReport:
        query, measured = self.query, self.calibration
        return DecodeReport(
            coarse_resolution=coarse.cells,
            saturation_distance=None if measured is None else measured.saturation_distance,
            steepness=None if measured is None else measured.steepness,
            is_covered=self.is_covered_by(coarse, "strict"),
            levels=tuple(self.level_reports),
            num_queries=query.num_points,
            num_probe_queries=query.num_points - self.memory.num_asked,
            num_padding=query.num_padding,
            num_calls=query.num_calls,
            points_per_call=query.points_per_call,
            num_halvings=query.num_halvings,
        )


def _ignore(progress: DecodeProgress) -> None:
    pass
