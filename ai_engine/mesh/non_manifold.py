"""Parts surfaces that touch along an edge or in a point, so that every edge has two faces. Knows no units.

Where four faces meet at an edge, two solids touch. A *sheet*, faces that are connected across edges of two faces, may
be closed by itself: it is taken out whole (`take_out_solids`). What is left gets vertices of its own for each wedge of
solid round an edge (`part_seams`). Once it is known which solids stay, `draw_in_seams` moves those vertices a little
into their solid: left at one place, the next reader of the file would weld them together again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.topology import EdgeGroups, Faces, Numbers, compact, components, edge_groups, weld

DRAWN_IN_SHARE = 0.02
"""How far a parted vertex moves towards the mean of its neighbours, as a share of the way."""
MAX_HALVINGS = 4
"""How often edges that hold several wedges are halved: a face with two such edges takes two rounds."""
SAME_ANGLE = 1e-4
"""Faces that stand off an edge at angles nearer than this, in radians, lie on each other."""


def take_out_solids(mesh: Mesh) -> tuple[Mesh, Mesh]:
    """The sheets that are surfaces of solids by themselves, each with vertices of its own, and all other faces.

    Without non-manifold edges nothing is taken out.
    """
    groups = edge_groups(mesh.faces, len(mesh.vertices))
    if not np.any(groups.counts > 2):
        return Mesh(mesh.vertices[:0], mesh.faces[:0]), mesh
    sheets = _sheets(mesh, groups)
    is_closed = _closed_sheets(groups, sheets)[sheets]
    apart, origins = _of_labels(mesh.faces[is_closed], sheets[is_closed])
    return Mesh(mesh.vertices[origins], apart), compact(mesh.vertices, mesh.faces[~is_closed])


def _sheets(mesh: Mesh, groups: EdgeGroups) -> NDArray[np.int32]:
    """The number of the sheet that each face belongs to."""
    begin = groups.starts[:-1][groups.counts == 2]
    one, other = groups.half_edges[begin], groups.half_edges[begin + 1]
    return components(one // 3, other // 3, len(mesh.faces))


def _closed_sheets(groups: EdgeGroups, sheets: NDArray[np.int32]) -> NDArray[np.bool_]:
    """For each sheet: whether each of its edges has two faces of it, which run along it in opposite directions.

    Fewer than four faces enclose nothing.
    """
    edge = np.repeat(np.arange(len(groups.counts)), groups.counts)
    sheet = sheets[groups.half_edges // 3].astype(np.int64)
    _, place, counts = np.unique(edge * len(sheets) + sheet, return_inverse=True, return_counts=True)
    is_good = (counts == 2) & (np.bincount(place, groups.runs_up) == 1)
    return (np.bincount(sheet, ~is_good[place]) == 0) & (np.bincount(sheet) >= 3 * 4)


def _of_labels(faces: Faces, labels: NDArray[np.int32]) -> tuple[Faces, Numbers]:
    """Faces with vertices that only those of one label share, and the old number of each new vertex."""
    pairs = np.stack([np.repeat(labels, 3), faces.ravel()], axis=1)
    found, numbers = np.unique(pairs, axis=0, return_inverse=True)
    return numbers.reshape(-1, 3).astype(np.int32), found[:, 1].astype(np.int64)


def part_seams(mesh: Mesh) -> Mesh:
    """The mesh with each edge held by two faces at most, and each vertex by one fan of faces.

    The added vertices lie where the old ones do: see `draw_in_seams`.
    """
    faces, origins = _apart(mesh.faces, *partners(mesh))
    return _split_held_edges(Mesh(mesh.vertices[origins], faces))


def _split_held_edges(mesh: Mesh) -> Mesh:
    """The mesh with edges halved that still hold several wedges: a point in the middle for each wedge.

    The two ends of such an edge are held together by faces elsewhere, as where a tunnel has closed to a slit.
    """
    for _ in range(MAX_HALVINGS):
        groups = edge_groups(mesh.faces, len(mesh.vertices))
        held = np.flatnonzero(groups.counts > 2)
        if len(held) == 0:
            break
        sheets = _sheets(mesh, groups)
        pairs = np.concatenate([_pairs_round_an_edge(mesh, groups, int(group), sheets) for group in held])
        if len(pairs) == 0:
            break
        mesh = _halve(mesh, _of_own_faces(pairs))
    return mesh


def _of_own_faces(pairs: Numbers) -> Numbers:
    """Those pairs of half-edges [n, 2] that have no face of an earlier one."""
    taken: set[int] = set()
    kept = []
    for pair in pairs.tolist():
        faces = {half_edge // 3 for half_edge in pair}
        if not faces & taken:
            taken |= faces
            kept.append(pair)
    return np.asarray(kept, np.int64)


def _halve(mesh: Mesh, pairs: Numbers) -> Mesh:
    """With a vertex in the middle of each pair's edge, which its two faces are split at."""
    middles = np.repeat(len(mesh.vertices) + np.arange(len(pairs)), 2)
    half_edges = pairs.ravel()
    face, corner = np.divmod(half_edges, 3)
    begin, end, third = (mesh.faces[face, (corner + step) % 3] for step in range(3))
    new = (mesh.vertices[begin[::2]] + mesh.vertices[end[::2]]) / 2
    faces = np.concatenate([mesh.faces, np.stack([middles, end, third], axis=1).astype(np.int32)])
    faces[face] = np.stack([begin, middles, third], axis=1)
    return Mesh(np.concatenate([mesh.vertices, new.astype(np.float32)]), faces)


def draw_in_seams(mesh: Mesh) -> Mesh:
    """The mesh with each vertex that shares its place with another moved a little into its own solid."""
    joined = weld(mesh)
    if joined is mesh:
        return mesh
    place = np.empty(len(mesh.vertices), np.int64)
    place[mesh.faces] = joined.faces
    is_shared = np.bincount(place)[place] > 1
    return Mesh(_draw_in(mesh.vertices, mesh.faces, is_shared), mesh.faces)


def partners(mesh: Mesh) -> tuple[Numbers, Numbers]:
    """Half-edges that belong together, as two arrays: each runs along the edge of the other, the other way.

    One that is in neither array has no partner: the surface ends there.
    """
    groups = edge_groups(mesh.faces, len(mesh.vertices))
    begin = groups.starts[:-1]
    is_pair = groups.counts == 2
    is_pair[is_pair] &= groups.runs_up[begin[is_pair]] != groups.runs_up[begin[is_pair] + 1]
    one, other = groups.half_edges[begin[is_pair]], groups.half_edges[begin[is_pair] + 1]
    non_manifold = np.flatnonzero(groups.counts > 2)
    if len(non_manifold) == 0:
        return one, other
    sheets = _sheets(mesh, groups)
    more = np.concatenate([_pairs_round_an_edge(mesh, groups, int(group), sheets) for group in non_manifold])
    return np.concatenate([one, more[:, 0]]), np.concatenate([other, more[:, 1]])


def _pairs_round_an_edge(mesh: Mesh, groups: EdgeGroups, group: int, sheets: NDArray[np.int32]) -> Numbers:
    """The half-edges of a non-manifold edge in pairs [n, 2], so that each pair bounds a wedge of solid.

    Going round the edge against the clock, as seen from its upper end, solid begins at a face whose half-edge runs
    down and ends at the next whose half-edge runs up.
    """
    members = slice(groups.starts[group], groups.starts[group + 1])
    half_edges, runs_up = groups.half_edges[members], groups.runs_up[members]
    angles = _angles(mesh, half_edges, runs_up)
    order = np.argsort(angles, kind="stable")
    # Begun behind the widest gap, so that faces which lie on each other stand together.
    gaps = np.diff(angles[order], append=angles[order[0]] + 2 * np.pi)
    order = np.roll(order, -1 - int(gaps.argmax()))
    # Of faces that lie on each other those come first with which solid begins: a wall between two solids pairs with
    # itself, encloses nothing and is dropped with the floaters.
    bins = np.cumsum(np.diff(np.unwrap(angles[order]), prepend=0) > SAME_ANGLE)
    order = order[np.lexsort([runs_up[order], bins])]
    half_edges, runs_up = half_edges[order], runs_up[order]
    pairs = _wedges(runs_up.tolist(), sheets[half_edges // 3].tolist())
    return half_edges[np.asarray(pairs, np.int64).reshape(-1, 2)]


def _wedges(runs_up: list[bool], sheets: list[int]) -> list[tuple[int, int]]:
    """Pairs of faces, by their place round the edge, that begin and end a wedge: of one sheet where there are such.

    As brackets that open and close, read twice round, since the reading may begin within a wedge.
    """
    wedges: list[tuple[int, int]] = []
    open_ones: list[int] = []
    seen: set[int] = set()
    for place in (*range(len(runs_up)), *range(len(runs_up))):
        if place in seen:
            continue
        if not runs_up[place]:
            open_ones.append(place)
            seen.add(place)
        elif open_ones:
            of_sheet = [begin for begin in open_ones if sheets[begin] == sheets[place]]
            wedges.append(((of_sheet or open_ones)[-1], place))
            open_ones.remove(wedges[-1][0])
            seen.add(place)
    return wedges


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


def _draw_in(vertices: NDArray[np.float32], faces: Faces, is_moved: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The vertices, those of `is_moved` a little nearer to the mean of their neighbours."""
    touching = faces[is_moved[faces].any(axis=1)]
    start, end = touching.ravel(), np.roll(touching, -1, axis=1).ravel()
    start, end = np.concatenate([start, end]), np.concatenate([end, start])
    counts = np.maximum(np.bincount(start, minlength=len(vertices)), 1)
    sums = [np.bincount(start, vertices[end, axis], len(vertices)) for axis in range(3)]
    means = np.stack(sums, axis=1) / counts[:, None]
    moved = vertices + DRAWN_IN_SHARE * (means - vertices) * is_moved[:, None]
    return moved.astype(np.float32)
