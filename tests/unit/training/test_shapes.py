"""The procedural shapes: their distances, proportions and pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("numba")

from training.data import query_points, surface_points
from training.renders import MAX_AZIMUTH_DEG, camera_axes, random_view, render
from training.shapes import FAMILY_NAMES, grid_points, random_shape, sdf
from training.solids import (
    BOX,
    CAPSULE,
    CONE,
    ELLIPSOID,
    LARGEST_HALF_EXTENT,
    PRISM,
    SUBTRACT,
    TORUS,
    Primitive,
    Shape,
    assemble,
)

SIDE = 96
CELL_VOLUME = (2 / SIDE) ** 3


def volume(shape: Shape) -> float:
    return float((sdf(shape, grid_points(SIDE, 1.0)) < 0).sum()) * CELL_VOLUME


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Primitive(ELLIPSOID, (1.0, 1.0, 1.0)), 4 / 3 * math.pi),
        (Primitive(ELLIPSOID, (1.0, 0.5, 0.7)), 4 / 3 * math.pi * 0.35),
        (Primitive(BOX, (1.0, 0.6, 0.4)), 8 * 0.24),
        (Primitive(CONE, (1.0, 0.5, 0.5)), math.pi * 0.25 * 2),
        (Primitive(CONE, (1.0, 0.8, 0.0)), math.pi * 0.64 * 2 / 3),
        (Primitive(TORUS, (0.7, 0.3)), 2 * math.pi**2 * 0.7 * 0.09),
        (Primitive(CAPSULE, (0.5, 0.5)), math.pi * 0.25 + 4 / 3 * math.pi * 0.125),
        (Primitive(PRISM, (0.8, 1.0, 0.6)), 0.8 * 2 * 1.2),
    ],
)
def test_each_primitive_has_the_volume_of_its_formula(part: Primitive, expected: float) -> None:
    shape = assemble("one", [part])
    assert shape.half_extent.max() == pytest.approx(LARGEST_HALF_EXTENT)
    assert volume(shape) == pytest.approx(expected * LARGEST_HALF_EXTENT**3, rel=0.02)


def test_a_subtraction_leaves_the_difference_of_the_volumes() -> None:
    shape = assemble(
        "shell",
        [Primitive(ELLIPSOID, (1.0, 1.0, 1.0)), Primitive(ELLIPSOID, (0.5, 0.5, 0.5), operation=SUBTRACT)],
    )
    assert volume(shape) == pytest.approx(4 / 3 * math.pi * 0.875 * LARGEST_HALF_EXTENT**3, rel=0.02)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_family_fills_its_box_and_no_more(family: str) -> None:
    for seed in range(5):
        shape = random_shape(np.random.default_rng(seed), family)
        points = grid_points(SIDE, 1.0)
        inside = points[sdf(shape, points) < 0]
        reach = np.stack([-inside.min(0), inside.max(0)])
        assert np.all(reach <= shape.half_extent + 0.02)
        assert np.all(reach >= shape.half_extent - 0.06)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_distances_grow_at_unit_rate_near_the_surface(family: str) -> None:
    rng = np.random.default_rng(1)
    shape = random_shape(rng, family)
    points = surface_points(rng, shape, 400)
    points = points[np.abs(sdf(shape, points)) < 0.01] + rng.normal(size=3) * 0.003
    steps = np.eye(3) * 1e-4
    gradient = np.stack([(sdf(shape, points + s) - sdf(shape, points - s)) / 2e-4 for s in steps], 1)
    norm = np.linalg.norm(gradient, axis=1)
    assert len(points) > 200
    assert np.median(norm) == pytest.approx(1, abs=0.02)
    assert (np.abs(norm - 1) < 0.1).mean() > 0.85


def test_most_query_points_lie_where_the_field_is_not_saturated() -> None:
    rng = np.random.default_rng(2)
    shape = random_shape(rng, "chair")
    distances = sdf(shape, query_points(rng, shape, 512))
    assert (np.abs(distances) < 0.1).mean() > 0.6
    assert 0.2 < (distances < 0).mean() < 0.8


def test_the_same_seed_draws_the_same_shape() -> None:
    first, second = (random_shape(np.random.default_rng(3), "rocket") for _ in range(2))
    assert np.array_equal(first.rows, second.rows)


@pytest.mark.parametrize("family", ["ellipsoid", "chair", "mug", "house"])
def test_alpha_is_the_projection_of_the_solid(family: str) -> None:
    rng = np.random.default_rng(4)
    shape, view = random_shape(rng, family), random_view(rng)
    alpha = render(shape, view, 96)[:, :, 3] > 127
    points = grid_points(SIDE, 1.0)
    position, right, up, forward = camera_axes(view)
    offset = points[sdf(shape, points) < 0] - position
    flat = np.stack([offset @ right, -(offset @ up)], 1) / (offset @ forward)[:, None]
    assert _spans_match(alpha, flat)
    assert _share_of_box(alpha) == pytest.approx(_share_of_box(_mask(flat)), abs=0.06)


def test_the_camera_looks_at_the_front_from_above() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        view = random_view(rng)
        position, right, up, forward = camera_axes(view)
        assert abs(view.azimuth_deg) <= MAX_AZIMUTH_DEG
        assert np.all(position[1:] > 0)
        assert np.allclose(np.cross(right, up), -forward)
        assert min(right[0], up[1]) > 0


def _mask(flat: np.ndarray) -> np.ndarray:
    lower, upper = flat.min(0), flat.max(0)
    cells = ((flat - lower) / (upper - lower).max() * 47.99).astype(int)
    mask = np.zeros((48, 48), bool)
    mask[cells[:, 1], cells[:, 0]] = True
    return mask


def _spans_match(alpha: np.ndarray, flat: np.ndarray) -> bool:
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    seen = (columns[-1] - columns[0] + 1) / (rows[-1] - rows[0] + 1)
    extent = np.ptp(flat, axis=0)
    return bool(abs(seen / (extent[0] / extent[1]) - 1) < 0.08)


def _share_of_box(mask: np.ndarray) -> float:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean())
