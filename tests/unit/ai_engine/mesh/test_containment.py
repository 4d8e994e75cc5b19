from __future__ import annotations

import numpy as np
from support.solid_shapes import cube, joined, sphere

from ai_engine.mesh.containment import windings
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.topology import face_bodies


def turned(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices, mesh.faces[:, ::-1])


def moved(mesh: Mesh, *by: float) -> Mesh:
    return Mesh(mesh.vertices + np.asarray(by, np.float32), mesh.faces)


def table_of(*bodies: Mesh) -> np.ndarray:
    mesh = joined(*bodies)
    labels = face_bodies(mesh.faces, len(mesh.vertices))
    return windings(mesh, labels, np.arange(len(bodies))).toarray()


def test_nested_bodies_go_round_each_other_with_the_sign_of_their_faces() -> None:
    shells = [sphere(24, 3.0), turned(sphere(20, 2.0)), sphere(16, 1.0), moved(cube(0.5), 5, 0, 0)]
    assert table_of(*shells).tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [1, -1, 0, 0], [0, 0, 0, 0]]


def test_a_body_above_another_or_in_its_hole_is_not_inside() -> None:
    ring = [moved(cube(1.0), x, y, 0) for x, y in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    assert not table_of(cube(0.5), moved(cube(2.0), 0, 0, 3), *ring).any()


def test_random_bubbles_are_inside_exactly_the_balls_that_hold_them() -> None:
    random = np.random.default_rng(5)
    centres, radii = random.uniform(-2, 2, (40, 3)), np.repeat([1.5, 0.05], [4, 36])
    bodies = [moved(sphere(16 if r > 1 else 5, r), *c) for c, r in zip(centres, radii, strict=True)]
    found = table_of(*bodies)[4:, :4]
    distances = np.linalg.norm(centres[4:, None] - centres[None, :4], axis=2)
    is_clear = np.abs(distances - 1.5) > 0.1
    assert np.array_equal(found[is_clear], (distances < 1.5)[is_clear])
