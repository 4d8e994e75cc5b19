"""Joins bodies that overlap or share a piece of wall, by an exact boolean union (manifold3d). Knows no units."""

from __future__ import annotations

import manifold3d
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ai_engine.mesh.containment import windings
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import Doubles, Numbers
from ai_engine.mesh.topology import compact, components, together

MAX_BODIES = 2000
"""Above this the boxes of all pairs would not fit memory; bodies then stay as they are."""


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
    corners = mesh.corners()
    lower = np.full((int(labels.max()) + 1, 3), np.inf, np.float32)
    upper = -lower
    np.minimum.at(lower, labels, corners.min(axis=1))
    np.maximum.at(upper, labels, corners.max(axis=1))
    lower, upper = lower[solids], upper[solids]
    reach = upper + np.float32(tolerance)
    meets = ((lower[:, None] <= reach[None]) & (lower[None] <= reach[:, None])).all(axis=2)
    one, other = np.nonzero(meets)
    return components(one, other, len(solids))


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
