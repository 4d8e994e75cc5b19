"""Parts surfaces that touch along an edge or in a point, so that every edge has two faces. Knows no units.

Where four faces meet at an edge, two solids touch. Each solid gets its own vertices there, drawn a little into
it: were they left at the same place, the next reader of the file would weld them together again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.topology import EdgeGroups, Faces, Numbers, components, edge_groups

DRAWN_IN_SHARE = 0.02
"""How far a parted vertex moves towards the mean of its neighbours, as a share of the way."""


def part_seams(mesh: Mesh) -> tuple[Mesh, int]:
    """The mesh with each edge held by two faces at most, each vertex by one fan of faces; and the vertices added."""
    one, other = partners(mesh)
    faces, origins = _apart(mesh.faces, one, other)
    num_added = len(origins) - len(np.unique(origins))
    vertices = mesh.vertices[origins]
    if num_added:
        is_shared = np.bincount(origins, minlength=len(mesh.vertices))[origins] > 1
        vertices = _drawn_in(vertices, faces, is_shared)
    return Mesh(vertices, faces), num_added


def partners(mesh: Mesh) -> tuple[Numbers, Numbers]:
    """Half-edges that belong together, as two arrays: each runs along the edge of the other, the other way.

    One that is in neither array has no partner: the surface ends there.
    """
    groups = edge_groups(mesh.faces, len(mesh.vertices))
    begin = groups.starts[:-1]
    is_pair = groups.counts == 2
    is_pair[is_pair] &= groups.runs_up[begin[is_pair]] != groups.runs_up[begin[is_pair] + 1]
    one, other = groups.half_edges[begin[is_pair]], groups.half_edges[begin[is_pair] + 1]
    crowded = [_pairs_round_an_edge(mesh, groups, int(group)) for group in np.flatnonzero(groups.counts > 2)]
    if not crowded:
        return one, other
    more = np.concatenate(crowded)
    return np.concatenate([one, more[:, 0]]), np.concatenate([other, more[:, 1]])


def _pairs_round_an_edge(mesh: Mesh, groups: EdgeGroups, group: int) -> Numbers:
    """The half-edges of a crowded edge in pairs [n, 2], so that each pair bounds a wedge of solid.

    Going round the edge against the clock, as seen from its upper end, solid begins at a face whose half-edge runs
    down and ends at the next whose half-edge runs up.
    """
    members = slice(groups.starts[group], groups.starts[group + 1])
    half_edges, runs_up = groups.half_edges[members], groups.runs_up[members]
    order = np.argsort(_angles(mesh, half_edges, runs_up), kind="stable")
    half_edges, runs_up = half_edges[order], runs_up[order]
    count = len(half_edges)
    begins = [i for i in range(count) if not runs_up[i] and runs_up[(i + 1) % count]]
    return np.asarray([(half_edges[i], half_edges[(i + 1) % count]) for i in begins], np.int64).reshape(-1, 2)


def _angles(mesh: Mesh, half_edges: Numbers, runs_up: NDArray[np.bool_]) -> NDArray[np.float64]:
    """At which angle each face stands off the edge that all `half_edges` lie on."""
    faces, corners = np.divmod(half_edges, 3)
    start, end = (mesh.faces[faces, (corners + shift) % 3] for shift in (0, 1))
    third = mesh.vertices[mesh.faces[faces, (corners + 2) % 3]].astype(np.float64)
    lower, upper = (int(pick(start[0], end[0])) for pick in (min, max))
    foot = mesh.vertices[lower].astype(np.float64)
    axis = mesh.vertices[upper] - foot
    axis /= np.linalg.norm(axis)
    side = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    side /= np.linalg.norm(side)
    off = third - foot
    return np.arctan2(off @ np.cross(axis, side), off @ side)


def _apart(faces: Faces, one: Numbers, other: Numbers) -> tuple[Faces, Numbers]:
    """Faces with vertices of their own where only partners share them, and the old number of each new vertex.

    At first every corner is a vertex by itself; each pair of partners ties two corners at both ends of its edge.
    """
    start = np.concatenate([one, _next_corner(one)])
    end = np.concatenate([_next_corner(other), other])
    labels = components(start, end, faces.size)
    origins = np.empty(labels.max(initial=-1) + 1, np.int64)
    origins[labels] = faces.ravel()
    return labels.reshape(-1, 3).astype(np.int32), origins


def _next_corner(half_edges: Numbers) -> Numbers:
    """The corner at which each half-edge ends; its own number is the corner where it begins."""
    face, corner = np.divmod(half_edges, 3)
    return 3 * face + (corner + 1) % 3


def _drawn_in(
    vertices: NDArray[np.float32], faces: Faces, is_moved: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The vertices, those of `is_moved` a little nearer to the mean of their neighbours."""
    touching = faces[is_moved[faces].any(axis=1)]
    start, end = touching.ravel(), np.roll(touching, -1, axis=1).ravel()
    start, end = np.concatenate([start, end]), np.concatenate([end, start])
    counts = np.maximum(np.bincount(start, minlength=len(vertices)), 1)
    sums = [np.bincount(start, vertices[end, axis], len(vertices)) for axis in range(3)]
    means = np.stack(sums, axis=1) / counts[:, None]
    moved = vertices + DRAWN_IN_SHARE * (means - vertices) * is_moved[:, None]
    return moved.astype(np.float32)
