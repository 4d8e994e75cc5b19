from __future__ import annotations

import numpy as np
import pytest
import trimesh
from support.solid_shapes import sphere

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import (
    area_vectors,
    corners_of,
    cross,
    diagonal,
    row_lengths,
    signed_volumes,
    spread,
)


def test_points_spread_evenly_lie_on_the_surface() -> None:
    points = spread(sphere(64), 2000).points
    assert np.abs(np.linalg.norm(points, axis=1) - 1).max() < 0.002
    assert np.linalg.norm(points.mean(axis=0)) < 0.05
    assert len(spread(Mesh(np.zeros((3, 3), np.float32), np.asarray([[0, 1, 2]], np.int32)), 5).points) == 0


BODIES = {
    "a ring": trimesh.creation.torus(major_radius=3.0, minor_radius=1.0),
    "a tube": trimesh.creation.annulus(r_min=0.2, r_max=0.5, height=0.9),
    "a box far away": trimesh.creation.box((1, 2, 3)).apply_translation((50, -20, 10)),
    "a soup": trimesh.Trimesh(
        np.random.default_rng(0).normal(size=(30, 3)),
        np.random.default_rng(1).permuted(np.tile(np.arange(30), (40, 1)), axis=1)[:, :3],
        process=False,
    ),
}
"""Bodies that another program draws and measures."""


def mesh_of(body: trimesh.Trimesh) -> Mesh:
    return Mesh(body.vertices.astype(np.float32), body.faces.astype(np.int32))


@pytest.mark.parametrize("name", BODIES)
def test_areas_and_normals_are_those_of_another_program(name: str) -> None:
    body, corners = BODIES[name], mesh_of(BODIES[name]).corners()
    areas = area_vectors(corners)
    assert row_lengths(areas) == pytest.approx(body.area_faces, rel=1e-4)
    assert areas / row_lengths(areas)[:, None] == pytest.approx(body.face_normals, abs=1e-3)
    assert np.array_equal(signed_volumes(corners, areas), signed_volumes(corners))


@pytest.mark.parametrize("name", [name for name, body in BODIES.items() if body.is_watertight])
def test_the_volumes_of_a_closed_body_sum_to_its_own(name: str) -> None:
    found = signed_volumes(mesh_of(BODIES[name]).corners())
    assert found.sum() == pytest.approx(BODIES[name].volume, rel=1e-3)


def test_the_quick_cross_product_is_numpys() -> None:
    one, other = np.random.default_rng(2).normal(size=(2, 50, 3))
    assert cross(one, other) == pytest.approx(np.cross(one, other))


def test_the_diagonal_is_that_of_the_bounding_box_and_nothing_has_none() -> None:
    body = BODIES["a box far away"]
    assert diagonal(mesh_of(body)) == pytest.approx(np.linalg.norm(body.extents), rel=1e-6)
    assert diagonal(Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))) == 0.0


@pytest.mark.parametrize("name", BODIES)
def test_each_spread_point_lies_on_the_face_that_it_names_and_large_faces_have_more(name: str) -> None:
    body, mesh = BODIES[name], mesh_of(BODIES[name])
    found = spread(mesh, 4000)
    weights = trimesh.triangles.points_to_barycentric(corners_of(mesh, found.faces), found.points)
    assert weights.min() > -1e-3
    assert found.area == pytest.approx(body.area, rel=1e-4)
    shares = np.bincount(found.faces, minlength=len(body.faces)) / 4000
    assert shares == pytest.approx(body.area_faces / body.area, abs=2 / 4000)


def test_the_same_seed_spreads_the_same_points_and_another_seed_others() -> None:
    mesh = mesh_of(BODIES["a ring"])
    first, again, other = (spread(mesh, 50, seed=seed).points for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(spread(mesh, 0).points) == 0
