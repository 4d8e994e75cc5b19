"""Mesh to manifold3d solid and back."""

from __future__ import annotations

from dataclasses import dataclass

import manifold3d
import numpy as np

from ai_engine.errors import AdditionUnfit
from ai_engine.facts import AdditionFacts
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.topology import face_bodies


@dataclass(frozen=True, eq=False)
class Added:
    """The mesh with what was added to it or taken from it, the facts of that, and what is to be said of it."""

    mesh: Mesh
    facts: AdditionFacts
    remarks: tuple[str, ...] = ()


def solid_of(mesh: Mesh) -> manifold3d.Manifold:
    """The closed mesh as a solid.

    Raises:
        AdditionUnfit: the mesh bounds no solid.
    """
    solid = manifold3d.Manifold(
        manifold3d.Mesh(np.ascontiguousarray(mesh.vertices), mesh.faces.astype(np.uint32))
    )
    if solid.status() != manifold3d.Error.NoError or solid.is_empty():
        raise AdditionUnfit("The mesh is not closed, so nothing can be joined to it or cut from it.")
    return solid


def mesh_of(solid: manifold3d.Manifold) -> Mesh:
    """The surface of a solid."""
    found = solid.to_mesh()
    return Mesh(np.array(found.vert_properties[:, :3], np.float32), found.tri_verts.astype(np.int32))


def count_shells(solid: manifold3d.Manifold) -> int:
    """Surfaces that share no vertex, those that bound hollows too."""
    mesh = mesh_of(solid)
    return int(face_bodies(mesh.faces, len(mesh.vertices)).max(initial=-1)) + 1


def num_bodies(solid: manifold3d.Manifold) -> int:
    """Shells that bound solid; those that bound hollows are not counted."""
    return sum(part.volume() > 0 for part in solid.decompose())
