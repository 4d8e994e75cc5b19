"""The probe measures slope and saturation of fields whose slope and saturation are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hy3dgen.field.calibration import (
    MAX_POINTS,
    SATURATED_SHARE,
    Calibration,
    calibrate,
    crossings,
    saturated_value,
)
from hy3dgen.field.cells import codes_of
from hy3dgen.field.field_query import FieldMemory, FieldQuery
from hy3dgen.field.geometry import Box
from hy3dgen.field.lattice import Grid, Lattice
from hy3dgen.field.marching_cubes_table import NUM_CODES

RADIUS = 0.6
GRID = Grid(Box.from_bounds(1.0), (128, 128, 128))
LATTICE = Lattice(GRID, 4)


def ball(width: float) -> Callable[[Tensor], Tensor]:
    """A ball of which the field saturates about `width` from its surface; its slope there is 1 / `width`."""

    def field(points: Tensor) -> Tensor:
        return torch.tanh((RADIUS - points.norm(dim=-1)) / width)

    return field


def measured(width: float) -> tuple[Calibration, Tensor]:
    """The calibration at the surface, and the points it was made at."""
    query = FieldQuery(ball(width), 8000)
    memory = FieldMemory(query, GRID, torch.device("cpu"))
    cells = torch.cat(list(LATTICE.all_cells(torch.device("cpu"))))
    codes = codes_of(memory.read(LATTICE.corner_keys(cells)), 0.0)
    is_active = (codes != 0) & (codes != NUM_CODES - 1)
    points = crossings(memory, LATTICE, cells[is_active], codes[is_active], 0.0)
    saturated = saturated_value(memory.logits, 0.0)
    return calibrate(query, LATTICE, points, iso=0.0, saturated=saturated), points


@pytest.mark.parametrize("width", [0.02, 0.03, 0.05])
def test_slope_and_saturation_of_a_ball_are_found(width: float) -> None:
    found, _ = measured(width)
    assert found.steepness == pytest.approx(1 / width, rel=0.05)
    assert found.saturation_distance == pytest.approx(width * math.atanh(SATURATED_SHARE), rel=0.1)


def test_crossings_lie_on_the_surface_and_are_few() -> None:
    _, points = measured(0.03)
    assert 0 < len(points) <= MAX_POINTS
    assert (points.norm(dim=-1) - RADIUS).abs().max() < 1e-3


def test_the_same_field_is_measured_the_same_each_time() -> None:
    assert measured(0.03)[0] == measured(0.03)[0]


def test_saturation_is_judged_by_the_upper_half_of_all_values() -> None:
    logits = torch.tensor([0.0, 0.1, 0.2, 0.9, 1.0, -1.0, 1.0, -1.0])
    assert saturated_value(logits, 0.0) == pytest.approx(SATURATED_SHARE)
    assert saturated_value(logits + 0.5, 0.5) == pytest.approx(SATURATED_SHARE)


def shifted(by: float, scale: float) -> Calibration:
    """Of a ball whose logits are scaled and lifted, at the level that is lifted alike."""

    def field(points: Tensor) -> Tensor:
        return scale * ball(0.03)(points) + by

    memory = FieldMemory(FieldQuery(field, 8000), GRID, torch.device("cpu"))
    cells = torch.cat(list(LATTICE.all_cells(torch.device("cpu"))))
    codes = codes_of(memory.read(LATTICE.corner_keys(cells)), by)
    is_active = (codes != 0) & (codes != NUM_CODES - 1)
    points = crossings(memory, LATTICE, cells[is_active], codes[is_active], by)
    saturated = saturated_value(memory.logits, by)
    return calibrate(memory.query, LATTICE, points, iso=by, saturated=saturated)


def test_a_field_lifted_with_its_level_is_measured_as_before_and_one_scaled_is_as_much_steeper() -> None:
    plain, lifted, scaled = shifted(0.0, 1.0), shifted(0.25, 1.0), shifted(0.0, 4.0)
    assert lifted.steepness == pytest.approx(plain.steepness, rel=1e-3)
    assert lifted.saturation_distance == pytest.approx(plain.saturation_distance, rel=1e-3)
    assert scaled.steepness == pytest.approx(4 * plain.steepness, rel=1e-3)
    assert scaled.saturation_distance == pytest.approx(plain.saturation_distance, rel=1e-3)


def test_a_surface_next_to_the_box_saturates_no_later_than_at_the_box() -> None:
    near_the_side = torch.tensor([[0.99, 0.0, 0.0], [0.0, 0.99, 0.0]])
    query = FieldQuery(lambda points: 0.99 - points.abs().amax(dim=-1), 8000)
    found = calibrate(query, LATTICE, near_the_side, iso=0.0, saturated=10.0)
    assert found.steepness == pytest.approx(1.0, rel=1e-3)
    assert found.saturation_distance <= 2 * LATTICE.half_diagonal / 3**0.5
