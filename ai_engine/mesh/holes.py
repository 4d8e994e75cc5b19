"""Closes holes: loops of open edges are spanned with triangles. Knows no units.

Only holes that are small, or flat, where there is little doubt about what is missing.
"""

from __future__ import annotations

import numpy as np
from manifold3d import triangulate
from numpy.typing import NDArray

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import diagonal
from ai_engine.mesh.topology import Faces, Numbers, edge_groups

SMALL_SHARE = 0.5
"""A hole is small when its rim is shorter than this share of the bounding box's diagonal."""
FLAT_SHARE = 0.02
"""A hole is flat when its rim leaves a plane by less than this share of its own extent."""


def fill_holes(mesh: Mesh) -> tuple[Mesh, int]:
    """The mesh with its small and its flat holes closed, and how many those were.

    Needs a mesh whose vertices have one fan of faces each: then a rim never branches.
    """
    size = diagonal(mesh)
    loops = [loop for loop in rims(mesh) if _may_be_filled(mesh.vertices[loop], size)]
    if not loops:
        return mesh, 0
    patches = [loop[_span(mesh.vertices[loop].astype(np.float64))] for loop in loops]
    return Mesh(mesh.vertices, np.concatenate([mesh.faces, *patches]).astype(np.int32)), len(loops)


def rims(mesh: Mesh) -> list[Numbers]:
    """The vertices of each hole, in an order in which missing faces would run."""
    groups = edge_groups(mesh.faces, len(mesh.vertices))
    open_half_edges = groups.half_edges[groups.starts[:-1][groups.counts == 1]]
    face, corner = np.divmod(open_half_edges, 3)
    start, end = mesh.faces[face, corner], mesh.faces[face, (corner + 1) % 3]
    # A missing face runs against its neighbour.
    following = dict(zip(end.tolist(), start.tolist(), strict=True))
    return [np.asarray(loop) for loop in _loops(following)]


def _loops(following: dict[int, int]) -> list[list[int]]:
    loops = []
    while following:
        first, vertex = following.popitem()
        loop = [first]
        while vertex != first and vertex in following:
            loop.append(vertex)
            vertex = following.pop(vertex)
        if vertex == first and len(loop) >= 3:
            loops.append(loop)
    return loops


def _may_be_filled(rim: NDArray[np.float32], mesh_size: float) -> bool:
    length = float(np.linalg.norm(np.roll(rim, -1, axis=0) - rim, axis=1).sum())
    if len(rim) == 3 or length < SMALL_SHARE * mesh_size:
        return True
    extents = np.linalg.svd(rim - rim.mean(axis=0), compute_uv=False)
    return bool(extents[2] < FLAT_SHARE * extents[0])


def _span(rim: NDArray[np.float64]) -> Faces:
    """Triangles that span the closed line `rim` [n, 3], as numbers of its points [n - 2, 3]."""
    if len(rim) == 3:
        return np.asarray([[0, 1, 2]], np.int32)
    across, up = _plane(rim)
    triangles = triangulate([np.ascontiguousarray((rim - rim.mean(axis=0)) @ np.stack([across, up], axis=1))])
    if len(triangles) == len(rim) - 2:
        return np.asarray(triangles, np.int32)
    return _fan(len(rim))


def _plane(rim: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two directions in which the line, seen flat, runs against the clock."""
    centred = rim - rim.mean(axis=0)
    normal = np.cross(centred, np.roll(centred, -1, axis=0)).sum(axis=0)
    length = np.linalg.norm(normal)
    normal = normal / length if length > 0 else np.asarray([0.0, 0.0, 1.0])
    across = np.cross(np.eye(3)[np.abs(normal).argmin()], normal)
    across /= np.linalg.norm(across)
    return across, np.cross(normal, across)


def _fan(count: int) -> Faces:
    here = np.arange(1, count - 1)
    return np.stack([np.zeros_like(here), here, here + 1], axis=1).astype(np.int32)
