"""What eight corner values say of a cell, by counting."""

from __future__ import annotations

import itertools

import pytest
import torch

from hy3dgen.field.cells import codes_of, crossed_children, mixed_face_table
from hy3dgen.field.marching_cubes_table import CORNERS, FACES, NUM_CODES


def test_bit_c_of_a_code_is_set_where_corner_c_is_above() -> None:
    values = torch.tensor(
        [[(1.0 if code >> corner & 1 else -1.0) for corner in range(8)] for code in range(256)]
    )
    assert codes_of(values, 0.0).tolist() == list(range(NUM_CODES))
    assert codes_of(values, 2.0).tolist() == [0] * NUM_CODES


def test_a_value_at_the_iso_value_counts_as_outside() -> None:
    assert codes_of(torch.zeros(1, 8), 0.0).item() == 0


def trilinear(values: torch.Tensor, at: tuple[float, float, float]) -> float:
    return sum(
        float(value) * abs(1 - x - at[0]) * abs(1 - y - at[1]) * abs(1 - z - at[2])
        for value, (x, y, z) in zip(values, CORNERS, strict=True)
    )


def test_children_are_those_that_a_trilinear_field_crosses() -> None:
    values = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    found = crossed_children(values, 0.1)
    for row, crossed in zip(values, found, strict=True):
        places = itertools.product((0.0, 0.5, 1.0), repeat=3)
        inside = {(x, y, z): trilinear(row, (x, y, z)) > 0.1 for x, y, z in places}
        for child, (x, y, z) in enumerate(CORNERS):
            corners = {inside[(x + i) / 2, (y + j) / 2, (z + k) / 2] for i, j, k in CORNERS}
            assert bool(crossed[child]) == (len(corners) == 2)


@pytest.mark.parametrize("code", [0, 1, 15, 105, 254, 255])
def test_a_mixed_face_has_corners_on_both_sides(code: int) -> None:
    for face, (axis, side) in enumerate(FACES):
        bits = {code >> corner & 1 for corner, at in enumerate(CORNERS) if at[axis] == side}
        assert bool(mixed_face_table(torch.device("cpu"))[code, face]) == (len(bits) == 2)
