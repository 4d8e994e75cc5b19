from __future__ import annotations

import numpy as np
import pytest
from support.solid_shapes import cube, joined, sphere

from ai_engine.mesh.mesh import Mesh
from ai_engine.printing.self_intersections import crossing_faces, crossing_share


def turned(mesh: Mesh, seed: int = 5) -> Mesh:
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    return Mesh((mesh.vertices @ rotation.T).astype(np.float32), mesh.faces)


def test_faces_that_cut_through_others_are_found_exactly() -> None:
    stick = Mesh(cube(1).vertices * np.asarray([0.2, 0.2, 9], np.float32), cube().faces)
    mesh = joined(cube(), turned(stick, seed=2))
    found = set(crossing_faces(mesh, np.arange(24)).tolist())
    assert found == slow_crossings(mesh)
    assert any(face < 12 for face in found)
    assert any(face >= 12 for face in found)


def slow_crossings(mesh: Mesh) -> set[int]:
    """All pairs, each edge against each face, by solving for where the line meets the plane."""
    corners = mesh.corners().astype(np.float64)
    found = set()
    for one in range(len(corners)):
        for other in range(len(corners)):
            if set(mesh.faces[one]) & set(mesh.faces[other]):
                continue
            for edge in range(3):
                start, end = corners[one, edge], corners[one, (edge + 1) % 3]
                a, b, c = corners[other]
                matrix = np.stack([end - start, a - b, a - c], axis=1)
                if abs(np.linalg.det(matrix)) < 1e-12:
                    continue
                along, u, v = np.linalg.solve(matrix, a - start)
                if 0 < along < 1 and u > 0 and v > 0 and u + v < 1:
                    found |= {one, other}
    return found


def test_bodies_that_only_touch_do_not_cut() -> None:
    assert crossing_share(joined(cube(), cube(centre=(2, 0, 0)))) == 0
    assert crossing_share(sphere(24)) == 0


def test_a_sample_estimates_the_share_of_all() -> None:
    shifted = Mesh(sphere(32).vertices + np.float32(0.5), sphere(32).faces)
    both = joined(sphere(32), shifted)
    exact = crossing_share(both)
    assert crossing_share(both, max_faces_tested=3000) == pytest.approx(exact, rel=0.3)
