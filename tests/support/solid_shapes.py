"""Small closed meshes with known truth, for tests."""

from __future__ import annotations

import numpy as np

from ai_engine.mesh.mesh import Mesh

_CUBE_FACES = [
    *([0, 3, 2], [0, 2, 1], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4]),
    *([1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7]),
]


def cube(side: float = 2.0, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    """An axis-aligned cube, normals out."""
    half = side / 2
    ring = [(-half, -half), (half, -half), (half, half), (-half, half)]
    points = [(x, y, z) for z in (-half, half) for x, y in ring]
    return Mesh(
        np.asarray(points, np.float32) + np.asarray(centre, np.float32), np.asarray(_CUBE_FACES, np.int32)
    )


def sphere(num_rings: int = 32, radius: float = 1.0) -> Mesh:
    """A sphere of `num_rings` rings of `2 num_rings` points between two poles, normals out."""
    num_around = 2 * num_rings
    polar = np.pi * np.arange(1, num_rings + 1) / (num_rings + 1)
    around = 2 * np.pi * np.arange(num_around) / num_around
    ring_points = np.stack(
        [
            np.outer(np.sin(polar), np.sin(around)),
            np.outer(np.cos(polar), np.ones(num_around)),
            np.outer(np.sin(polar), np.cos(around)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    points = radius * np.concatenate([ring_points, [[0, 1, 0], [0, -1, 0]]])
    return Mesh(points.astype(np.float32), _sphere_faces(num_rings, num_around))


def joined(*meshes: Mesh) -> Mesh:
    """All `meshes` as one, nothing shared."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=False)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces).astype(np.int32))


def _sphere_faces(num_rings: int, num_around: int) -> np.ndarray:
    here = np.arange(num_around)
    after = (here + 1) % num_around
    north, south = num_rings * num_around, num_rings * num_around + 1
    last = (num_rings - 1) * num_around
    parts = [np.stack([np.full_like(here, north), here, after], 1)]
    for ring in range(num_rings - 1):
        upper, lower = ring * num_around, (ring + 1) * num_around
        parts.append(np.stack([upper + here, lower + here, lower + after], 1))
        parts.append(np.stack([upper + here, lower + after, upper + after], 1))
    parts.append(np.stack([np.full_like(here, south), last + after, last + here], 1))
    return np.concatenate(parts).astype(np.int32)
