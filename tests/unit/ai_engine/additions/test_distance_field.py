"""The lattice's distances against those of formulas, and of an exact search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from support.solid_shapes import cube, sphere

from ai_engine.additions.distance_field import DistanceField, distance_field
from ai_engine.mesh.proximity import distances


def points_of(field: DistanceField) -> NDArray[np.float64]:
    return field.origin + field.cell * np.argwhere(np.ones(field.values.shape, np.bool_))


def assert_near(found: NDArray[np.float32], true: NDArray[np.float64], *, level: float) -> None:
    """Exact but at creases, where it may be a tenth of the level too much, and never too little."""
    excess = found - true
    assert excess.min() > -1e-4
    assert excess.max() < 0.1 * level
    assert (excess < 0.02).mean() > 0.98


def test_near_the_level_it_is_the_distance_to_a_cube_s_nearest_side() -> None:
    field = distance_field(cube(20.0), level=2.0, cell=0.8)
    true = 10 - np.abs(points_of(field)).max(axis=1)
    near = np.abs(true - 2.0) < 0.8
    assert near.sum() > 1000
    assert_near(field.values.ravel()[near], true[near], level=2.0)


def test_far_from_the_level_it_is_on_the_right_side() -> None:
    field = distance_field(sphere(24, 10.0), level=2.0, cell=0.4)
    radius = np.linalg.norm(points_of(field), axis=1)
    values = field.values.ravel()
    assert (values[radius < 7.5] > 2).all()
    assert (values[radius > 8.5] < 2).all()
    assert (values[radius > 12.7] == 0).all()


def test_it_agrees_with_the_exact_search_on_a_faceted_ball() -> None:
    ball = sphere(8, 10.0)
    field = distance_field(ball, level=1.5, cell=0.7)
    values = field.values.ravel()
    near = np.flatnonzero(np.abs(values - 1.5) < 0.7)[::7]
    assert_near(values[near], distances(points_of(field)[near], ball), level=1.5)


def test_the_lattice_s_border_is_outside() -> None:
    field = distance_field(cube(10.0), level=3.0, cell=1.0)
    assert (points_of(field).min(axis=0) < -5).all()
    assert (points_of(field).max(axis=0) > 5).all()
    for axis in range(3):
        assert not np.take(field.values, (0, -1), axis=axis).any()


def test_a_wall_that_runs_through_points_of_the_lattice_keeps_the_outside_out() -> None:
    # Points of the lattice lie on its upper sides exactly, where the distance is 0 as it is outside.
    field = distance_field(cube(15.875), level=2.5, cell=0.5)
    inside = np.abs(points_of(field)).max(axis=1) < 15.875 / 2 - 2.75
    assert (field.values.ravel()[inside] > 2.5).all()


def test_where_cells_are_larger_than_the_level_the_outside_is_negative() -> None:
    field = distance_field(sphere(48, 20.0), level=0.8, cell=1.5)
    radius, values = np.linalg.norm(points_of(field), axis=1), field.values.ravel()
    assert (values[radius > 20] <= 0).all()
    near = (radius > 18) & (radius < 21)
    assert (np.abs(values[near] - (20 - radius[near])) < 0.1 * 0.8).mean() > 0.99
