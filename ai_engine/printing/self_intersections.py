"""Self-intersections: faces that cut through others. Touching is no cut, nor are neighbours that share a corner."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.proximity import FaceFinder
from ai_engine.mesh.surface import Doubles, Numbers, cross

MAX_FACES_TESTED = 10_000

Flags = NDArray[np.bool_]


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
    for one, other in _near_pairs(mesh, tested):
        is_apart = ~np.any(mesh.faces[one][:, :, None] == mesh.faces[other][:, None, :], axis=(1, 2))
        one, other = one[is_apart], other[is_apart]
        is_cut = _cut(*(mesh.vertices[mesh.faces[pair]].astype(np.float64) for pair in (one, other)))
        found.append(one[is_cut])
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


def _near_pairs(mesh: Mesh, tested: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """Pairs of a tested face and another whose bounding boxes meet."""
    finder = FaceFinder.of(mesh)
    lower, upper = finder.lower, finder.upper
    for points, other in finder.near(finder.centres[tested], finder.radii[tested]):
        one = tested[points]
        below = np.take(lower, one, axis=0) <= np.take(upper, other, axis=0)
        above = np.take(lower, other, axis=0) <= np.take(upper, one, axis=0)
        meets = np.all(below & above, axis=1) & (one != other)
        yield one[meets], other[meets]


def _cut(one: Doubles, other: Doubles) -> Flags:
    """For each pair of triangles [n, 3, 3] whether an edge of either passes through the inside of the other."""
    maybe = np.flatnonzero(_straddles(one, other) & _straddles(other, one))
    is_cut = np.zeros(len(one), np.bool_)
    one, other = one[maybe], other[maybe]
    hits = np.zeros(len(maybe), np.bool_)
    for edge in range(3):
        hits |= _passes(one[:, edge], one[:, (edge + 1) % 3], other)
        hits |= _passes(other[:, edge], other[:, (edge + 1) % 3], one)
    is_cut[maybe] = hits
    return is_cut


def _straddles(triangles: Doubles, planes: Doubles) -> Flags:
    """True where a triangle has corners on both sides of the plane of the other."""
    heights = _heights(triangles, planes)
    return (heights.min(axis=1) < 0) & (heights.max(axis=1) > 0)


def _heights(points: Doubles, planes: Doubles) -> Doubles:
    origin = planes[:, 0]
    normals = cross(planes[:, 1] - origin, planes[:, 2] - origin)
    return np.einsum("nka,na->nk", points - origin[:, None], normals)


def _passes(start: Doubles, end: Doubles, triangles: Doubles) -> Flags:
    """True where the segment passes through the inside of its triangle: by the signs of five volumes."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    heights = _heights(np.stack([start, end], axis=1), triangles)
    along = end - start
    sides = [np.einsum("na,na->n", along, cross(p - start, q - start)) for p, q in ((a, b), (b, c), (c, a))]
    same_side = (np.minimum.reduce(sides) > 0) | (np.maximum.reduce(sides) < 0)
    return (heights[:, 0] * heights[:, 1] < 0) & same_side
