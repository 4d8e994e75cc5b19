"""The sparse field's columns, sizes and reports."""

from __future__ import annotations

from dataclasses import replace

import torch
from support.fields import BOX, LEVEL, field_of

from hy3dgen.field.lattice import AXIS_UNITS, Grid, Lattice
from hy3dgen.field.marching_cubes_table import CORNERS
from hy3dgen.field.octree import decode_field
from hy3dgen.field.sparse_field import LevelReport, SparseField, Surface


def torus() -> SparseField:
    return decode_field(field_of("torus"), BOX, 48, iso=LEVEL, device="cpu")


def test_columns_are_the_lower_ends_of_the_upright_edges() -> None:
    field = torus()
    columns = field.keys[field.columns(field.cells)]
    for corner in range(4):
        offset = sum(unit for unit, step in zip(AXIS_UNITS, CORNERS[corner], strict=True) if step)
        assert torch.equal(columns[:, corner], field.cell_keys() + offset)


def test_the_point_above_a_columns_end_is_the_next_one() -> None:
    field = torus()
    columns = field.columns(field.cells)
    assert torch.equal(field.keys[columns + 1], field.keys[columns] + AXIS_UNITS[2])


def test_points_and_cells_are_sorted_and_the_size_is_what_the_tensors_take() -> None:
    field = torus()
    assert field.keys.diff().gt(0).all()
    assert field.cell_keys().diff().gt(0).all()
    assert field.resolution == (48, 48, 48)
    assert field.num_bytes == sum(
        one.numel() * one.element_size() for one in (field.keys, field.logits, field.cells, field.codes)
    )


def test_a_whole_level_after_the_coarse_one_is_a_fallback() -> None:
    report = torus().report
    whole = LevelReport((48, 48, 48), 1, 1, 1, is_whole=True)
    assert not replace(report, levels=(whole,)).used_fallback
    assert replace(report, levels=(whole, whole)).used_fallback


def test_the_active_share_counts_all_cells_of_the_lattice() -> None:
    cells = torch.arange(8)
    surface = Surface(Lattice(Grid(BOX, (4, 4, 4)), 2), cells, cells.to(torch.uint8), cells[:0])
    assert surface.active_share == 1.0
