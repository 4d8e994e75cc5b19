"""Mesh topology: welding, half-edges, connected components (bodies). Knows no lengths and no units.

A *half-edge* is one of the three directed edges of a face: number `3 face + corner`, from that corner to the next.
On the surface of a solid each half-edge has exactly one partner, which runs the other way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ai_engine.mesh.mesh import Mesh

Floats = NDArray[np.float32]
Faces = NDArray[np.int32]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class EdgeFacts:
    """Edges that no solid has: boundary, non-manifold, misoriented. All three are zero for a solid."""

    num_boundary: int
    """Edges with an odd number of faces: where the surface ends."""
    num_non_manifold: int
    """Edges with more than two faces."""
    num_misoriented: int
    """Edges that two faces run along in the same direction: one of them looks the wrong way."""

    @property
    def is_solid(self) -> bool:
        """True when each edge has two faces which agree on which side is out."""
        return self.num_bad == 0

    @property
    def num_bad(self) -> int:
        """Faults of all three kinds."""
        return self.num_boundary + self.num_non_manifold + self.num_misoriented


def edge_facts(faces: Faces, num_vertices: int) -> EdgeFacts:
    """One sort of all half-edges puts the partners of an edge next to each other."""
    keys = np.sort(_half_edge_keys(faces, num_vertices))
    edges = keys >> 1
    if len(edges) % 2 == 0 and _is_pairwise(keys):
        return EdgeFacts(0, 0, 0)
    counts = np.diff(_group_starts(edges))
    num_forward = np.add.reduceat(keys & 1, _group_starts(edges)[:-1]) if len(keys) else counts
    return EdgeFacts(
        num_boundary=int(np.count_nonzero(counts % 2)),
        num_non_manifold=int(np.count_nonzero(counts > 2)),
        num_misoriented=int(
            np.count_nonzero(np.maximum(num_forward, counts - num_forward) > (counts + 1) // 2)
        ),
    )


def _is_pairwise(keys: Numbers) -> bool:
    """True when the sorted `keys` are pairs of one edge, once each way."""
    first, second = keys[0::2], keys[1::2]
    return bool(np.all(first + 1 == second) and np.all(first & 1 == 0) and np.all(first[1:] != first[:-1]))


def _half_edge_keys(faces: Faces, num_vertices: int) -> Numbers:
    """A number per half-edge [3 F]: the edge it lies on, twice, plus one when it runs upwards."""
    start = faces.astype(np.int64)
    end = np.roll(start, -1, axis=1)
    edge = np.minimum(start, end) * num_vertices + np.maximum(start, end)
    return (2 * edge + (start < end)).ravel()


def _group_starts(values: Numbers) -> Numbers:
    """Where each run of equal `values` begins, and the end of the last."""
    is_new = np.concatenate([[True], values[1:] != values[:-1]]) if len(values) else np.zeros(0, bool)
    return np.append(np.flatnonzero(is_new), len(values))


@dataclass(frozen=True, eq=False)
class EdgeGroups:
    """The half-edges, those on one edge together; groups run from `starts[i]` to `starts[i + 1]`."""

    half_edges: Numbers
    """[3 F], sorted by edge; within an edge those that run downwards come first."""
    runs_up: NDArray[np.bool_]
    """[3 F], of `half_edges`."""
    starts: Numbers

    @property
    def counts(self) -> Numbers:
        """Half-edges per group."""
        return np.diff(self.starts)


def edge_groups(faces: Faces, num_vertices: int) -> EdgeGroups:
    """All half-edges, gathered by the edge they lie on."""
    keys = _half_edge_keys(faces, num_vertices)
    order = np.argsort(keys, kind="stable")
    return EdgeGroups(order, (keys[order] & 1).astype(bool), _group_starts(keys[order] >> 1))


def face_bodies(faces: Faces, num_vertices: int) -> NDArray[np.int32]:
    """The number of the body that each face belongs to [F], counted from 0; bodies share no vertex."""
    # Two of a face's three edges already tie its corners together.
    start, end = faces[:, :2].ravel(), faces[:, 1:].ravel()
    labels = components(start, end, num_vertices)[faces[:, 0]]
    is_used = np.zeros(num_vertices + 1, np.bool_)
    is_used[labels] = True
    return (np.cumsum(is_used) - 1).astype(np.int32)[labels]


def components(start: NDArray[np.integer], end: NDArray[np.integer], num_nodes: int) -> NDArray[np.int32]:
    """A label per node; nodes that links from `start` to `end` tie together have the same."""
    graph = coo_array((np.ones(len(start), np.bool_), (start, end)), shape=(num_nodes, num_nodes))
    return connected_components(graph, directed=False)[1]


def compact(vertices: Floats, faces: Faces) -> Mesh:
    """The mesh without the vertices that no face names."""
    is_used = np.zeros(len(vertices), np.bool_)
    is_used[faces] = True
    if is_used.all():
        return Mesh(vertices, faces)
    new_numbers = (np.cumsum(is_used) - 1).astype(np.int32)
    return Mesh(vertices[is_used], new_numbers[faces])


def together(*meshes: Mesh) -> Mesh:
    """All `meshes` as one, no vertex shared; the same mesh where only one has faces."""
    some = [mesh for mesh in meshes if len(mesh.faces)] or [meshes[0]]
    if len(some) == 1:
        return some[0]
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in some)])
    faces = [mesh.faces + start for mesh, start in zip(some, starts, strict=False)]
    return Mesh(np.concatenate([mesh.vertices for mesh in some]), np.concatenate(faces).astype(np.int32))


def weld(mesh: Mesh) -> Mesh:
    """Vertices at the same place become one, as in every reader of STL. The same mesh when there are none."""
    ascending = np.sort(_scatter(_bits(mesh.vertices)))
    if np.all(ascending[1:] != ascending[:-1]):
        return mesh
    numbers, vertices = _join(mesh.vertices)
    return mesh if len(vertices) == len(mesh.vertices) else Mesh(vertices, numbers[mesh.faces])


def weld_rims(mesh: Mesh, tolerance: float) -> Mesh:
    """Vertices on open edges that lie nearer than `tolerance` become one, and faces that lose a corner go.

    Two shells that were made apart meet so. Where the surface is closed nothing moves; the same mesh when no two
    vertices are near.
    """
    groups = edge_groups(mesh.faces, len(mesh.vertices))
    face, corner = np.divmod(groups.half_edges[groups.starts[:-1][groups.counts % 2 == 1]], 3)
    rim = np.unique(mesh.faces[np.tile(face, 2), np.concatenate([corner, (corner + 1) % 3])])
    near = cKDTree(mesh.vertices[rim]).query_pairs(tolerance, output_type="ndarray") if len(rim) else rim[:0]
    if len(near) == 0:
        return mesh
    labels = components(near[:, 0], near[:, 1], len(rim))
    first = np.unique(labels, return_index=True)[1][labels]
    off = np.linalg.norm(mesh.vertices[rim] - mesh.vertices[rim[first]], axis=1)
    # A rim that is cut finer than the tolerance would shrink to a point: such chains stay as they are.
    is_chain = np.bincount(labels, off > 2 * tolerance)[labels] > 0
    numbers = np.arange(len(mesh.vertices), dtype=np.int32)
    numbers[rim] = np.where(is_chain, rim, rim[first])
    a, b, c = faces = numbers[mesh.faces].T
    return compact(mesh.vertices, faces.T[(a != b) & (b != c) & (c != a)])


def weld_corners(corners: Floats) -> Mesh:
    """The mesh of loose triangles, corners [n, 3, 3]; where corners are at the same place they are one vertex."""
    numbers, vertices = _join(corners.reshape(-1, 3))
    return Mesh(vertices, numbers.reshape(-1, 3))


def _join(points: Floats) -> tuple[NDArray[np.int32], Floats]:
    """The number of the place of each of `points`, and the places, in the order in which they first come."""
    bits = _bits(points)
    numbers, first = _number(*_runs_of_equal(_scatter(bits)))
    if not np.array_equal(
        np.take(bits[first], numbers, axis=0), bits
    ):  # two places were scattered to one number
        order = np.lexsort(bits.T)
        is_new = np.any(bits[order][1:] != bits[order][:-1], axis=1)
        numbers, first = _number(order, np.concatenate([[0], np.flatnonzero(is_new) + 1, [len(order)]]))
    return numbers, points[first]


def _number(order: Numbers, starts: Numbers) -> tuple[NDArray[np.int32], Numbers]:
    """A number per row, the same within each run, and the first row of each number; numbers rise with first rows."""
    first = order[starts[:-1]]
    by_first = np.argsort(first)
    run_numbers = np.empty(len(first), np.int32)
    run_numbers[by_first] = np.arange(len(first), dtype=np.int32)
    numbers = np.empty(len(order), np.int32)
    numbers[order] = np.repeat(run_numbers, np.diff(starts))
    return numbers, first[by_first]


def _bits(points: Floats) -> NDArray[np.uint32]:
    # Minus zero and zero are one place.
    return np.ascontiguousarray(points + np.float32(0)).view(np.uint32)


def _scatter(bits: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """A number per row of three; equal rows have the same, different ones hardly ever."""
    x, y, z = (bits[:, axis].astype(np.uint64) * factor for axis, factor in enumerate(_MIX))
    return x ^ y ^ z


def _runs_of_equal(values: NDArray[np.uint64]) -> tuple[Numbers, Numbers]:
    """An order in which equal values are together, first rows first, and where each run begins (and the end).

    The row's number takes the place of the lower bits, which scatter least: sorting numbers is twice as fast as sorting
    an order. Values that differ in those bits alone fall together.
    """
    num_bits = np.uint64(max(1, len(values) - 1).bit_length())
    row_bits = (np.uint64(1) << num_bits) - np.uint64(1)
    ascending = np.sort((values & ~row_bits) | np.arange(len(values), dtype=np.uint64))
    return (ascending & row_bits).view(np.int64), _group_starts((ascending >> num_bits).view(np.int64))


_MIX = np.asarray([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
"""Odd numbers that scatter three coordinates over 64 bits; what still falls together is found out."""
