"""Which faces of a mesh lie near a place: search trees over the faces' bounding balls. In the mesh's own units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from scipy.spatial import cKDTree

from ai_engine.mesh import Mesh
from ai_engine.mesh_surface import Doubles, Floats, Numbers, row_lengths

POINTS_AT_ONCE = 10_000


def search_tree(points: Doubles | Floats) -> cKDTree:
    """A tree that is built three times as fast as the balanced one, and hardly slower to ask."""
    return cKDTree(points, balanced_tree=False, compact_nodes=False)


@dataclass(frozen=True, eq=False)
class _LikeSized:
    """Faces whose balls differ by a factor of two at most: one large face must not make everything its neighbour."""

    faces: Numbers
    tree: cKDTree
    largest: float


@dataclass(frozen=True, eq=False)
class FaceFinder:
    """The faces of a mesh, to be asked for by place."""

    lower: Floats
    upper: Floats
    """Corners of each face's bounding box, [F, 3]."""
    centres: Doubles
    radii: Doubles
    """Of a ball round that box."""
    groups: tuple[_LikeSized, ...]

    @classmethod
    def of(cls, mesh: Mesh) -> FaceFinder:
        """For the faces of `mesh`."""
        a, b, c = (np.take(mesh.vertices, mesh.faces[:, corner], axis=0) for corner in range(3))
        lower, upper = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
        centres = ((lower + upper) / 2).astype(np.float64)
        radii = row_lengths((upper - lower).astype(np.float64) / 2)
        sizes = np.frexp(radii)[1]
        members = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
        groups = (
            _LikeSized(those, search_tree(centres[those]), float(radii[those].max())) for those in members
        )
        return cls(lower, upper, centres, radii, tuple(groups))

    def near(self, points: Doubles, reach: Doubles) -> Iterator[tuple[Numbers, Numbers]]:
        """Pairs of a point and a face that may come within the point's reach, as numbers, some thousand points at once.

        All such faces are among them.
        """
        for group in self.groups:
            for start in range(0, len(points), POINTS_AT_ONCE):
                piece = slice(start, start + POINTS_AT_ONCE)
                lists = group.tree.query_ball_point(
                    points[piece], reach[piece] + group.largest, return_sorted=False
                )
                counts = np.fromiter(map(len, lists), np.int64, len(lists))
                found = np.fromiter(chain.from_iterable(lists), np.int64, int(counts.sum()))
                yield start + np.repeat(np.arange(len(lists)), counts), group.faces[found]
