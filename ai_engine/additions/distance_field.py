"""The distance to a mesh's surface on a lattice, inside of it and fine only near one level: an octree, coarse to fine.

Lipschitz's bound prunes it twice: the distance changes by no more than one moves. A cell whose middle is farther from
the level than half its diagonal has no part of the level surface in it. One whose middle is farther from the surface
than that lies on one side of the surface, and so do neighbours of which both do: those that hang together with the
lattice's border are outside, and are asked no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.proximity import search_tree, triangle_distances
from ai_engine.mesh.surface import Doubles, Floats, Numbers, corners_of, spread

MAX_SAMPLES = 1_000_000
POINTS_AT_ONCE = 100_000
LEVELS = 3
NEIGHBOURS = 8
"""Samples whose faces are looked at where it matters on which side of them a point lies."""
REACH = 0.94
"""Of a cell's side: all points of the lattice within it lie no farther from its middle than this, less a step of the
lattice. Halved once: a quarter of the diagonal and half the side, 0.933; more often: less."""
SLACK = 0.1
"""Of the level: by so much a distance may come out too large at creases."""


@dataclass(frozen=True, eq=False)
class DistanceField:
    """Distances at `origin + cell * (i, j, k)`: near the level exact but at creases, elsewhere on its right side.

    0 outside of the mesh but within some cells of it, where it is negative if cells are larger than the level. At a
    crease the face that the nearest sample names may not be the nearest: up to a tenth of the level too much.
    """

    values: Floats
    """[x, y, z]."""
    origin: Doubles
    cell: float


@dataclass(frozen=True, eq=False)
class _Surface:
    """Points of a surface close enough together that the nearest one names the nearest face."""

    mesh: Mesh
    faces: Numbers
    tree: cKDTree

    @classmethod
    def of(cls, mesh: Mesh, spacing: float) -> _Surface:
        area = spread(mesh, 1).area
        points = spread(mesh, int(min(max(area / spacing**2, 1_000), MAX_SAMPLES)))
        # Vertices too: a narrow groove has little area, and yet the wall must follow it.
        face_of_vertex = np.zeros(len(mesh.vertices), np.int64)
        face_of_vertex[mesh.faces.ravel()] = np.repeat(np.arange(len(mesh.faces)), 3)
        faces = np.concatenate([points.faces, face_of_vertex])
        return cls(mesh, faces, search_tree(np.concatenate([points.points, mesh.vertices])))

    def distances(self, points: Doubles) -> Doubles:
        """Of each point to the face that its nearest sample names."""
        found = np.empty(len(points))
        for start in range(0, len(points), POINTS_AT_ONCE):
            piece = points[start : start + POINTS_AT_ONCE]
            to_points, nearest = self.tree.query(piece, workers=-1)
            to_faces = triangle_distances(piece, corners_of(self.mesh, self.faces[nearest]))
            found[start : start + POINTS_AT_ONCE] = np.minimum(to_points, to_faces)
        return found

    def signed_distances(self, points: Doubles) -> Doubles:
        """Of each point to the nearest of the faces that its nearest samples name, negative where that looks to it."""
        found = np.full(len(points), np.inf)
        for start in range(0, len(points), POINTS_AT_ONCE):
            piece = points[start : start + POINTS_AT_ONCE]
            _, nearest = self.tree.query(piece, k=NEIGHBOURS, workers=-1)
            best = found[start : start + POINTS_AT_ONCE]
            for faces in self.faces[nearest].T:
                corners = corners_of(self.mesh, faces)
                above = np.einsum("na,na->n", piece - corners[:, 0], self.mesh.area_vectors[faces])
                distances = np.copysign(triangle_distances(piece, corners), -above)
                np.copyto(best, distances, where=np.abs(distances) < np.abs(best))
        return found


def distance_field(mesh: Mesh, *, level: float, cell: float) -> DistanceField:
    """Distances to the surface of `mesh` inside of it, on a lattice of `cell` that reaches past it."""
    coarse = cell * 2**LEVELS
    spacing = max(level / 4, cell / 2)
    lower = mesh.vertices.min(axis=0).astype(np.float64) - spacing - 2 * coarse
    upper = mesh.vertices.max(axis=0).astype(np.float64) + spacing + 2 * coarse
    shape = np.ceil((upper - lower) / coarse).astype(np.int64) + 1
    surface = _Surface.of(mesh, spacing=spacing)
    # A wall thinner than a cell has points of the lattice on both of its sides, and none within.
    distances = surface.signed_distances if cell > level else surface.distances
    # One value a cell, at its middle; halved, each cell hands its value to those of its eight children that lie so far
    # from the level that they need none of their own.
    values = np.empty(shape, np.float32)
    asked, outside = np.ones(shape, np.bool_), np.zeros(shape, np.bool_)
    for halving in range(LEVELS + 1):
        size = coarse / 2**halving
        at = np.argwhere(asked)
        values[asked] = distances(lower + size * (at + 0.5)).astype(np.float32)
        if halving < LEVELS:
            outside = _outside(outside | (np.abs(values) > np.sqrt(3) / 2 * size + spacing))
            near = np.abs(np.abs(values) - level) <= REACH * size + SLACK * level
            values, asked, outside = map(_halve, (values, near & asked & ~outside, outside))
    values[outside] = 0
    return DistanceField(values, lower + cell / 2, cell)


def _outside(free: np.ndarray) -> np.ndarray:
    """Of cells that the surface does not pass through, those that hang together with the lattice's border."""
    labels, _ = ndimage.label(free)
    sides = (np.take(labels, end, axis=axis).ravel() for axis in range(3) for end in (0, -1))
    at_border = np.unique(np.concatenate(list(sides)))
    return np.isin(labels, at_border[at_border > 0])


def _halve(cells: np.ndarray) -> np.ndarray:
    return cells.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
