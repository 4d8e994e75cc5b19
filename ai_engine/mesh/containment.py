"""Which bodies of a mesh lie inside which: winding numbers along vertical rays, all bodies in one pass.

A ray from a point of a body upwards crosses the surface of another body as often out of it as into it, unless the point
lies inside: there it leaves once more. Knows no units.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.proximity import FaceFinder
from ai_engine.mesh.surface import Doubles, Numbers, corners_of

INNER_POINT = np.asarray([0.4648, 0.3217, 0.2135])
"""Barycentric weights of the point that stands for a body: no centre of symmetry, so that its ray hits no edge."""


def windings(mesh: Mesh, labels: NDArray[np.int32], bodies: Numbers) -> csr_array:
    """How often each body goes round a point of each of `bodies`: [len(bodies), bodies of the mesh].

    `labels` [F] names the body of each face. 1 where the column's faces look out and hold the row's body, -1 where they
    look in, 0 elsewhere and for a body itself.
    """
    _, first_faces = np.unique(labels, return_index=True)
    points = np.einsum("nca,c->na", corners_of(mesh, first_faces[bodies]), INNER_POINT)
    flat = Mesh(mesh.vertices * np.asarray([1, 1, 0], np.float32), mesh.faces)
    on_plate = points * np.asarray([1.0, 1.0, 0.0])
    rows, columns, signs = [], [], []
    for which, faces in FaceFinder.of(flat).near(on_plate, np.zeros(len(points))):
        is_other = labels[faces] != bodies[which]
        which, faces = which[is_other], faces[is_other]
        crossed = _crossings_above(points[which], corners_of(mesh, faces))
        rows.append(which[crossed != 0])
        columns.append(labels[faces[crossed != 0]])
        signs.append(crossed[crossed != 0])
    if not rows:
        return csr_array((len(bodies), len(first_faces)), dtype=np.int64)
    where = (np.concatenate(rows), np.concatenate(columns))
    return csr_array((np.concatenate(signs), where), shape=(len(bodies), len(first_faces)))


def _crossings_above(points: Doubles, corners: Doubles) -> NDArray[np.int64]:
    """For each point and its triangle [n, 3, 3]: 1 where the ray upwards leaves through it, -1 where it enters."""
    off = corners - points[:, None]
    (x, y), z = (off[..., 0], off[..., 1]), off[..., 2]
    parts = np.stack(
        [x[:, i] * y[:, j] - x[:, j] * y[:, i] for i, j in ((1, 2), (2, 0), (0, 1))], axis=1
    )  # twice the areas of the triangles that the point makes with each edge
    is_within = (parts > 0).all(axis=1) | (parts < 0).all(axis=1)
    is_above = np.einsum("nc,nc->n", parts, z) * np.sign(parts[:, 0]) > 0
    return np.where(is_within & is_above, np.sign(parts[:, 0]), 0).astype(np.int64)
