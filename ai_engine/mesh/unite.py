"""Finds small bodies that meet a larger one, and joins bodies that overlap or share a piece of wall. Knows no units.

Joining is an exact boolean union (manifold3d). It costs seconds on a large mesh, so that contact is looked for first.
"""

from __future__ import annotations

import manifold3d
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ai_engine.mesh.containment import windings
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.proximity import FaceFinder, Flags, cut, triangle_distances
from ai_engine.mesh.surface import Doubles, Floats, Numbers, corners_of
from ai_engine.mesh.topology import compact, components, together

MAX_BODIES = 2000
"""Above this the boxes of all pairs would not fit memory; bodies then stay as they are."""
GRID_CELLS = 128
"""Along the longest side of the box in which faces beside small bodies are looked for."""


def meets_larger(mesh: Mesh, labels: NDArray[np.int32], is_small: Flags, *, tolerance: float = 0.0) -> Flags:
    """Which of the small bodies touch or cut one that is not small, or another that does: [bodies].

    `labels` [F] names the body of each face. None does where there are more than `MAX_BODIES` small ones.
    """
    if not 0 < np.count_nonzero(is_small) <= MAX_BODIES:
        return np.zeros(len(is_small), np.bool_)
    is_of_small = is_small[labels]
    small = Mesh(mesh.vertices, mesh.faces[is_of_small])
    lower, upper = (ends[is_small] for ends in _boxes(small, labels[is_of_small], len(is_small)))
    is_beside = _is_beside(mesh, lower - tolerance, upper + tolerance) & ~is_of_small
    is_crowded = is_small.copy()
    is_crowded[is_small] = _meet(lower, upper, tolerance).sum(axis=1) > 1
    some = np.flatnonzero(is_of_small | is_beside)
    patch, of_body = Mesh(mesh.vertices, mesh.faces[some]), labels[some]
    tested = np.flatnonzero((is_beside | is_crowded[labels])[some])
    one, other = _contacts(patch, of_body, tested, tolerance)
    groups = components(one, other, len(is_small))
    return is_small & (np.bincount(groups, ~is_small) > 0)[groups]


def _is_beside(mesh: Mesh, low: Doubles | Floats, high: Doubles | Floats) -> Flags:
    """The faces that may come near one of the boxes: by cells of a coarse grid, and all faces that span several."""
    lower, upper = mesh.box
    size = max(float((upper - lower).max()) / GRID_CELLS, 1e-30)
    x, y, z = cells = [
        ((axis - start) / size).astype(np.int16) for axis, start in zip(mesh.vertices.T, lower, strict=True)
    ]
    taken = np.zeros((GRID_CELLS + 1,) * 3, np.bool_)
    # A face that spans two cells has each corner in the cell beside those that it reaches.
    first = np.maximum((low - lower) / size - 1, 0).astype(np.int64)
    last = ((high - lower) / size + 2).astype(np.int64)
    for (x0, y0, z0), (x1, y1, z1) in zip(first.tolist(), last.tolist(), strict=True):
        taken[x0:x1, y0:y1, z0:z1] = True
    is_beside = np.take(taken[x, y, z], mesh.faces[:, 0])
    for places in cells:
        start = np.take(places, mesh.faces[:, 0])
        for corner in (1, 2):
            is_beside |= np.abs(np.take(places, mesh.faces[:, corner]) - start) > 1
    return is_beside


def _contacts(
    mesh: Mesh, labels: NDArray[np.int32], tested: Numbers, tolerance: float
) -> tuple[Numbers, Numbers]:
    """Pairs of bodies of which a face of `tested` and one of another body touch or cut."""
    found = [np.zeros((2, 0), np.int64)]
    for one, other in FaceFinder.of(mesh, margin=tolerance).meeting(tested):
        is_pair = labels[one] != labels[other]
        one, other = one[is_pair], other[is_pair]
        is_contact = _touch(corners_of(mesh, one), corners_of(mesh, other), tolerance)
        bodies = np.stack([labels[one[is_contact]], labels[other[is_contact]]])
        found.append(np.unique(bodies, axis=1).astype(np.int64))
    one_body, other_body = np.concatenate(found, axis=1)
    return one_body, other_body


def _touch(one: Doubles, other: Doubles, tolerance: float) -> Flags:
    """For each pair of triangles [n, 3, 3] whether they cut, or a corner of either is as near the other as that."""
    found = cut(one, other)
    for corner in range(3):
        found |= triangle_distances(one[:, corner], other) <= tolerance
        found |= triangle_distances(other[:, corner], one) <= tolerance
    return found


def unite(mesh: Mesh, labels: NDArray[np.int32], volumes: Doubles, *, tolerance: float = 0.0) -> Mesh:
    """The mesh with bodies that overlap or touch in a face joined; `mesh` itself where there are none.

    Bodies touch, too, whose corners lie nearer than `tolerance` to each other.

    Needs a mesh whose edges have two faces each that agree, faces looking out of solid: `labels` [F] names the body of
    each face, `volumes` is negative for the bodies that bound hollows.
    """
    solids = np.flatnonzero(volumes > 0)
    if not 1 < len(solids) <= MAX_BODIES:
        return mesh
    groups = _meeting(mesh, labels, solids, tolerance)
    meeting = np.flatnonzero(np.bincount(groups) > 1)
    if len(meeting) == 0:
        return mesh
    owners = _owners(mesh, labels, volumes, solids)
    is_joined = np.zeros(len(volumes), np.bool_)
    pieces: list[Mesh] = []
    for members in (solids[groups == group] for group in meeting):
        whole = _union(_snap(mesh, owners[labels], members, tolerance), labels, owners, members)
        if whole is not None:
            is_joined |= np.isin(owners, members)
            pieces.append(whole)
    if not pieces:
        return mesh
    return together(compact(mesh.vertices, mesh.faces[~is_joined[labels]]), *pieces)


def _meeting(mesh: Mesh, labels: NDArray[np.int32], solids: Numbers, tolerance: float) -> NDArray[np.int32]:
    """A group per solid; those of one group are tied together by bounding boxes no further than `tolerance` apart."""
    lower, upper = (ends[solids] for ends in _boxes(mesh, labels, int(labels.max()) + 1))
    one, other = np.nonzero(_meet(lower, upper, tolerance))
    return components(one, other, len(solids))


def _meet(lower: Floats, upper: Floats, tolerance: float) -> Flags:
    """Whether each two boxes are no further apart than `tolerance`, [n, n]; each meets itself."""
    reach = upper + np.float32(tolerance)
    return np.asarray(((lower[:, None] <= reach[None]) & (lower[None] <= reach[:, None])).all(axis=2))


def _boxes(mesh: Mesh, labels: NDArray[np.int32], num_bodies: int) -> tuple[Floats, Floats]:
    """The lower and the upper corner of the box round each body, [bodies, 3]."""
    corners = mesh.corners()
    lower = np.full((num_bodies, 3), np.inf, np.float32)
    upper = -lower
    np.minimum.at(lower, labels, corners.min(axis=1))
    np.maximum.at(upper, labels, corners.max(axis=1))
    return lower, upper


def _snap(mesh: Mesh, owners: Numbers, members: Numbers, tolerance: float) -> Mesh:
    """The mesh with corners of one of `members` moved to those of another that lie nearer than `tolerance`.

    `owners` [F] names the solid of each face.
    """
    if tolerance <= 0:
        return mesh
    owner = np.full(len(mesh.vertices), -1)
    owner[mesh.faces] = owners[:, None]
    those = np.flatnonzero(np.isin(owner, members))
    near = those[cKDTree(mesh.vertices[those]).query_pairs(tolerance, output_type="ndarray")]
    apart = near[owner[near[:, 0]] != owner[near[:, 1]]]
    first, second = np.take_along_axis(apart, owner[apart].argsort(axis=1), axis=1).T
    vertices = mesh.vertices.copy()
    vertices[second] = mesh.vertices[first]
    return Mesh(vertices, mesh.faces)


def _owners(mesh: Mesh, labels: NDArray[np.int32], volumes: Doubles, solids: Numbers) -> Numbers:
    """The solid that each body belongs to: itself, or for a hollow the smallest one that holds it."""
    owners = np.arange(len(volumes))
    hollows = np.setdiff1d(owners, solids)
    inside = windings(mesh, labels, hollows)
    for row, hollow in enumerate(hollows):
        holding = inside.indices[inside.indptr[row] : inside.indptr[row + 1]]
        holding = holding[volumes[holding] > 0]
        if len(holding):
            owners[hollow] = holding[volumes[holding].argmin()]
    return owners


def _union(mesh: Mesh, labels: NDArray[np.int32], owners: Numbers, members: Numbers) -> Mesh | None:
    """The bodies of `members` as one; None where nothing would be joined, or one of them is no solid by itself."""
    solids = [_manifold(Mesh(mesh.vertices, mesh.faces[owners[labels] == member])) for member in members]
    if any(solid.status() != manifold3d.Error.NoError for solid in solids):
        return None
    whole = manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add)
    parts = whole.decompose()
    if sum(part.volume() > 0 for part in parts) >= len(members):
        return None
    found = whole.to_mesh()
    return Mesh(found.vert_properties[:, :3].astype(np.float32), found.tri_verts.astype(np.int32))


def _manifold(mesh: Mesh) -> manifold3d.Manifold:
    alone = compact(mesh.vertices, mesh.faces)
    return manifold3d.Manifold(manifold3d.Mesh(alone.vertices, alone.faces.astype(np.uint32)))
