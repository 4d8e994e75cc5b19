from __future__ import annotations

import numpy as np
import pytest
from support.solid_shapes import cube, joined, sphere

from ai_engine.mesh.proximity import distances, hausdorff
from ai_engine.mesh.topology import weld_corners


def test_distances_to_a_cube_are_those_of_geometry() -> None:
    points = np.random.default_rng(0).uniform(-3, 3, (500, 3))
    excess = np.abs(points) - 1
    expected = np.where((excess > 0).any(axis=1), np.linalg.norm(excess.clip(0), axis=1), -excess.max(axis=1))
    assert np.allclose(distances(points, cube()), expected, atol=1e-9)


def test_the_hausdorff_distance_of_two_balls_is_the_difference_of_their_radii() -> None:
    assert hausdorff(sphere(24), sphere(24, radius=1.1)) == pytest.approx(0.1, abs=0.002)
    assert hausdorff(sphere(24), sphere(24)) < 1e-7


def test_a_floater_far_away_counts_whichever_mesh_has_it() -> None:
    with_floater = joined(sphere(16), cube(0.1, (5, 0, 0)))
    assert hausdorff(sphere(16), with_floater) == pytest.approx(4.05, abs=0.1)
    assert hausdorff(with_floater, sphere(16)) == pytest.approx(4.05, abs=0.1)


def test_points_that_are_scattered_to_one_number_are_still_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ai_engine.mesh.topology._MIX", np.zeros(3, np.uint64))
    ball = sphere(6)
    again = weld_corners(ball.corners())
    assert len(again.vertices) == len(ball.vertices)
    assert np.array_equal(again.corners(), ball.corners())
