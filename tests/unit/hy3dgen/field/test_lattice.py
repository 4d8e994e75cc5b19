"""Keys, coordinates and cells of a lattice over a box."""

from __future__ import annotations

import itertools

import pytest
import torch

from hy3dgen.field.geometry import Box
from hy3dgen.field.lattice import (
    AXIS_UNITS,
    MAX_CELLS,
    Grid,
    Lattice,
    coarse_lattices,
    index_along,
    locate,
    pack,
    runs,
    unpack,
    without,
)
from hy3dgen.field.marching_cubes_table import CORNERS

GRID = Grid(Box((0.0, 0.0, 0.0), (1.0, 2.0, 3.0)), (10, 7, 5))


def keys(*indices: tuple[int, int, int]) -> torch.Tensor:
    return pack(torch.tensor(indices))


def test_a_key_gives_its_indices_back_up_to_the_largest() -> None:
    indices = torch.tensor([[0, 0, 0], [1, 2, 3], [MAX_CELLS, 0, MAX_CELLS], [MAX_CELLS] * 3])
    assert torch.equal(unpack(pack(indices)), indices)
    assert torch.equal(index_along(pack(indices), 1), indices[:, 1])


def test_keys_sort_with_x_slowest_and_neighbours_lie_a_constant_apart() -> None:
    indices = [(x, y, z) for x, y, z in itertools.product(range(3), repeat=3)]
    assert keys(*indices).diff().gt(0).all()
    start = keys((4, 5, 6))
    assert torch.equal(start + AXIS_UNITS[0], keys((5, 5, 6)))
    assert torch.equal(start + AXIS_UNITS[1], keys((4, 6, 6)))
    assert torch.equal(start + AXIS_UNITS[2], keys((4, 5, 7)))


def test_locate_says_where_and_whether() -> None:
    at, is_there = locate(torch.tensor([2, 5, 9]), torch.tensor([5, 6, 10, 2]))
    assert is_there.tolist() == [True, False, False, True]
    assert at[is_there].tolist() == [1, 0]
    assert locate(torch.tensor([], dtype=torch.int64), torch.tensor([1, 2]))[1].tolist() == [False, False]


def test_without_keeps_the_order_of_what_is_left() -> None:
    assert without(torch.tensor([7, 1, 5, 3]), torch.tensor([1, 3, 4])).tolist() == [7, 5]


def test_runs_begin_where_keys_do_not_grow_by_one() -> None:
    first, run = runs(torch.tensor([3, 4, 5, 9, 11, 12]))
    assert first.tolist() == [0, 3, 4]
    assert run.tolist() == [0, 0, 0, 1, 2, 2]


def test_coordinates_reach_both_ends_of_the_box_exactly() -> None:
    corners = GRID.coordinates(keys((0, 0, 0), (10, 7, 5)))
    assert corners.tolist() == [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]
    assert corners.dtype == torch.float32


def test_positions_in_cells_are_scaled_by_the_number_of_cells() -> None:
    middle = GRID.world(torch.tensor([[5.0, 3.5, 2.5]], dtype=torch.float64))
    assert middle[0].tolist() == pytest.approx([0.5, 1.0, 1.5])


@pytest.mark.parametrize("cells", [(0, 4, 4), (4, -1, 4), (4, 4, MAX_CELLS + 1)])
def test_a_grid_without_cells_or_with_too_many_is_refused(cells: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cells on each axis"):
        Grid(GRID.box, cells)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_all_cells_are_there_once_sorted_whatever_the_blocks(stride: int) -> None:
    lattice = Lattice(GRID, stride)
    whole = torch.cat(list(lattice.all_cells(torch.device("cpu"))))
    in_blocks = torch.cat(list(lattice.all_cells(torch.device("cpu"), cells_per_block=6)))
    assert len(whole) == lattice.num_cells
    assert whole.diff().gt(0).all()
    assert torch.equal(whole, in_blocks)


def test_corners_of_a_cell_follow_the_table_and_end_at_the_box() -> None:
    lattice = Lattice(GRID, 4)
    inner = unpack(lattice.corner_keys(keys((4, 0, 0)))[0]).tolist()
    assert inner == [[4 + 4 * x, 4 * y, 4 * z] for x, y, z in CORNERS]
    cut = unpack(lattice.corner_keys(keys((8, 4, 4)))[0])
    assert cut.amax(dim=0).tolist() == [10, 7, 5]
    assert lattice.is_cut_off(keys((4, 0, 0), (8, 4, 4))).tolist() == [False, True]


def test_neighbours_across_faces_stay_inside_the_box() -> None:
    lattice = Lattice(GRID, 1)
    everywhere = torch.ones(1, 6, dtype=torch.bool)
    assert len(lattice.neighbours(keys((5, 3, 2)), everywhere)) == 6
    found = unpack(lattice.neighbours(keys((0, 6, 4)), everywhere)).tolist()
    assert sorted(found) == [[0, 5, 4], [0, 6, 3], [1, 6, 4]]


def test_children_fill_their_cell_and_none_lies_outside_the_box() -> None:
    coarse, chosen = Lattice(GRID, 2), torch.ones(1, 8, dtype=torch.bool)
    inner = unpack(coarse.children(keys((4, 4, 2)), chosen))
    assert sorted(inner.tolist()) == [[4 + x, 4 + y, 2 + z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    assert coarse.next_finer == Lattice(GRID, 1)
    at_the_end = unpack(coarse.children(keys((4, 6, 4)), chosen))
    assert sorted(at_the_end.tolist()) == [[4, 6, 4], [5, 6, 4]]


def test_the_cells_around_a_point_have_it_as_a_corner() -> None:
    lattice = Lattice(GRID, 1)
    point = keys((5, 3, 2))
    around = lattice.cells_around(point)
    assert len(around) == 8
    assert (lattice.corner_keys(around) == point).any(dim=1).all()
    assert len(lattice.cells_around(keys((0, 0, 0)))) == 1


def test_own_points_are_the_multiples_of_the_stride_and_the_last_ones() -> None:
    lattice = Lattice(GRID, 4)
    points = keys((4, 4, 4), (4, 3, 4), (10, 7, 5), (9, 7, 5))
    assert lattice.own_points(points).tolist() == [True, False, True, False]


@pytest.mark.parametrize(("longest", "counts"), [(16, [16]), (64, [32, 64]), (256, [32, 64, 128])])
def test_the_search_begins_on_32_to_128_cells(longest: int, counts: list[int]) -> None:
    lattices = coarse_lattices(Grid(GRID.box, (longest, 8, 8)))
    assert [lattice.cells[0] for lattice in lattices] == counts
