"""Size and stance of a mesh: from model units with Y up to millimetres with Z up, on a plate at z = 0."""

from __future__ import annotations

import manifold3d
import numpy as np

from ai_engine.mesh.mesh import Mesh

MAX_CUT_SHARE = 0.2
"""A flat base costs at most this share of the height."""
CUT_STEPS = 12


def z_up(mesh: Mesh) -> Mesh:
    """Y up to Z up: what looked along +z looks along -y, as slicers and CAD expect a front."""
    x, y, z = mesh.vertices.T
    return Mesh(np.stack([x, -z, y], axis=1), mesh.faces)


def y_up(mesh: Mesh) -> Mesh:
    """Z up to Y up; undoes `z_up` exactly."""
    x, y, z = mesh.vertices.T
    return Mesh(np.stack([x, z, -y], axis=1), mesh.faces)


def scale_to(mesh: Mesh, height: float) -> float:
    """What a mesh with Z up must be multiplied with to be `height` tall.

    Raises:
        ValueError: the mesh is flat.
    """
    extent = float(np.ptp(mesh.vertices[:, 2].astype(np.float64))) if len(mesh.vertices) else 0.0
    if extent <= 0:
        raise ValueError("a mesh without extent along z has no height to scale")
    return height / extent


def stand(mesh: Mesh, height_mm: float) -> Mesh:
    """The mesh, Z up, `height_mm` tall, standing on z = 0, the middle of its bounding box over the origin."""
    points = mesh.vertices.astype(np.float64)
    lower, upper = points.min(axis=0), points.max(axis=0)
    origin = np.asarray([(lower[0] + upper[0]) / 2, (lower[1] + upper[1]) / 2, lower[2]])
    return Mesh(((points - origin) * scale_to(mesh, height_mm)).astype(np.float32), mesh.faces)


def cut_flat_base(mesh: Mesh, min_share: float) -> Mesh | None:
    """The closed mesh, Z up, cut off as low as makes its foot at least `min_share` of its ground plan.

    None when no cut in the lowest fifth does, or the mesh is no solid.
    """
    solid = manifold3d.Manifold(
        manifold3d.Mesh(np.ascontiguousarray(mesh.vertices), mesh.faces.astype(np.uint32))
    )
    if solid.status() != manifold3d.Error.NoError or solid.is_empty():
        return None
    height = _lowest_cut(solid, min_share * solid.project().area())
    if height is None:
        return None
    cut = solid.trim_by_plane((0.0, 0.0, 1.0), height).to_mesh()
    vertices = np.array(cut.vert_properties[:, :3], np.float32)
    vertices[:, 2] = np.maximum(vertices[:, 2], np.float32(height))
    return Mesh(vertices, np.array(cut.tri_verts, np.int32))


def _lowest_cut(solid: manifold3d.Manifold, min_area: float) -> float | None:
    """The lowest of some heights at which the solid's section is large enough; sections grow unevenly."""
    _, _, bottom, _, _, top = solid.bounding_box()
    heights = bottom + (top - bottom) * MAX_CUT_SHARE * np.linspace(0.002, 1, CUT_STEPS) ** 2
    for height in heights.tolist():
        if solid.slice(height).area() >= min_area:
            return float(height)
    return None
