"""Self-intersections: faces that cut through others. Touching is no cut, nor are neighbours that share a corner."""

from __future__ import annotations

import numpy as np

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.proximity import FaceFinder, cut
from ai_engine.mesh.surface import Numbers, corners_of

MAX_FACES_TESTED = 10_000


def crossing_share(mesh: Mesh, *, max_faces_tested: int = MAX_FACES_TESTED, seed: int = 0) -> float:
    """The share of faces that cut through another: exact up to `max_faces_tested` faces, else of so many at random."""
    if len(mesh.faces) == 0:
        return 0.0
    tested = np.arange(len(mesh.faces))
    if len(tested) > max_faces_tested:
        random = np.random.default_rng(seed)
        tested = np.sort(random.choice(len(tested), max_faces_tested, replace=False))
    return len(crossing_faces(mesh, tested)) / len(tested)


def crossing_faces(mesh: Mesh, tested: Numbers) -> Numbers:
    """Those of the faces `tested` that cut through any other face of the mesh, in ascending order."""
    found = []
    for one, other in FaceFinder.of(mesh).meeting(tested):
        is_apart = ~np.any(mesh.faces[one][:, :, None] == mesh.faces[other][:, None, :], axis=(1, 2))
        one, other = one[is_apart], other[is_apart]
        is_cut = cut(corners_of(mesh, one), corners_of(mesh, other))
        found.append(one[is_cut])
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
