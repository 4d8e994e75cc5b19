"""Spatial search on a mesh: nearest points of its surface, faces that meet, the Hausdorff distance of two meshes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import (
    Doubles,
    Floats,
    Numbers,
    area_vectors,
    corners_of,
    cross,
    row_lengths,
    spread,
)

POINTS_AT_ONCE = 10_000

Flags = NDArray[np.bool_]


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
    def of(cls, mesh: Mesh, *, margin: float = 0.0) -> FaceFinder:
        """For the faces of `mesh`, their boxes wider by `margin` on all sides."""
        a, b, c = (np.take(mesh.vertices, corner, axis=0) for corner in mesh.faces.T)
        lower, upper = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
        if margin > 0:
            lower, upper = lower - np.float32(margin), upper + np.float32(margin)
        centres = ((lower + upper) / 2).astype(np.float64)
        radii = row_lengths((upper - lower).astype(np.float64) / 2)
        groups = (
            _LikeSized(those, search_tree(centres[those]), float(radii[those].max()))
            for those in _by_size(radii)
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

    def meeting(self, tested: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
        """Pairs of one of the faces `tested` and another whose bounding boxes meet, as numbers."""
        for points, other in self.near(self.centres[tested], self.radii[tested]):
            one = tested[points]
            below = np.take(self.lower, one, axis=0) <= np.take(self.upper, other, axis=0)
            above = np.take(self.lower, other, axis=0) <= np.take(self.upper, one, axis=0)
            meets = np.all(below & above, axis=1) & (one != other)
            yield one[meets], other[meets]


def _by_size(radii: Doubles) -> Iterator[Numbers]:
    """The numbers of the faces in groups of like size, the small ones first; a few go with those of the next size.

    A small face among larger ones has some more neighbours to look at; a group has a tree that every point asks.
    """
    sizes = np.frexp(radii)[1]
    least, waiting = len(radii) / 32, np.zeros(0, np.int64)
    for size in np.unique(sizes):
        waiting = np.concatenate([waiting, np.flatnonzero(sizes == size)])
        if len(waiting) >= least:
            yield waiting
            waiting = waiting[:0]
    if len(waiting):
        yield waiting


POINTS_SETTLED_AT_ONCE = 1_000
NUM_BOUND_SAMPLES = 20_000


def hausdorff(one: Mesh, other: Mesh, *, num_points: int = 20_000) -> float:
    """The farthest that any of `num_points` points and as many vertices of either surface lies from the other."""
    return max(_farthest(one, other, num_points), _farthest(other, one, num_points))


def _farthest(source: Mesh, target: Mesh, num_points: int) -> float:
    """From the points that may be the farthest down to where no other can be."""
    if len(target.faces) == 0:
        return float("inf")
    step = max(1, -(-len(source.vertices) // num_points))
    points = np.concatenate([source.vertices[::step].astype(np.float64), spread(source, num_points).points])
    bounds, finder, farthest = _upper_bounds(points, target), FaceFinder.of(target), 0.0
    falling = np.argsort(-bounds)
    for start in range(0, len(points), POINTS_SETTLED_AT_ONCE):
        some = falling[start : start + POINTS_SETTLED_AT_ONCE]
        if bounds[some[0]] <= farthest:
            break
        farthest = max(farthest, float(_exact(points[some], bounds[some], target, finder).max()))
    return farthest


def distances(points: Doubles, mesh: Mesh) -> Doubles:
    """How far each of `points` [n, 3] is from the surface of `mesh`."""
    return _exact(points, _upper_bounds(points, mesh), mesh, FaceFinder.of(mesh))


def _exact(points: Doubles, bounds: Doubles, mesh: Mesh, finder: FaceFinder) -> Doubles:
    """The distances of points of which is known that they are no farther than `bounds`."""
    best = bounds.copy()
    for which, faces in finder.near(points, bounds):
        # A ball round a long face reaches far beside it; its box does not.
        place, reach = np.take(points, which, axis=0), bounds[which, None]
        may_be = np.take(finder.lower, faces, axis=0) <= place + reach
        may_be &= np.take(finder.upper, faces, axis=0) >= place - reach
        is_near = may_be.all(axis=1)
        which, faces = which[is_near], faces[is_near]
        np.minimum.at(best, which, triangle_distances(points[which], corners_of(mesh, faces)))
    return best


def _upper_bounds(points: Doubles, mesh: Mesh) -> Doubles:
    """The distance of each point to faces that are near: never too small, mostly right.

    They are those round the nearest vertex and the one of the nearest point spread over the surface: a large face may
    be near where its corners are far away, and a small one have no such point.
    """
    vertices, uses = np.unique(mesh.faces.ravel(), return_counts=True)
    faces_by_vertex = np.argsort(mesh.faces.ravel(), kind="stable") // 3
    _, nearest = search_tree(mesh.vertices[vertices]).query(points)
    counts = uses[nearest]
    begins = np.cumsum(counts) - counts
    within = np.arange(counts.sum()) - np.repeat(begins, counts)
    faces = faces_by_vertex[np.repeat((np.cumsum(uses) - uses)[nearest], counts) + within]
    each = triangle_distances(np.repeat(points, counts, axis=0), corners_of(mesh, faces))
    round_vertex = np.minimum.reduceat(each, begins)
    samples = spread(mesh, NUM_BOUND_SAMPLES)
    if len(samples.points) == 0:
        return round_vertex
    _, nearest = search_tree(samples.points).query(points)
    return np.minimum(round_vertex, triangle_distances(points, corners_of(mesh, samples.faces[nearest])))


def triangle_distances(points: Doubles, corners: Doubles) -> Doubles:
    """The distance of each point to its own triangle of `corners` [n, 3, 3]."""
    normals = area_vectors(corners)
    lengths = row_lengths(normals)
    inside = lengths > 0
    to_edges = np.full(len(points), np.inf)
    for corner in range(3):
        start, end = corners[:, corner], corners[:, (corner + 1) % 3]
        np.minimum(to_edges, _to_segments(points, start, end), out=to_edges)
        inside &= np.einsum("na,na->n", cross(end - start, points - start), normals) >= 0
    height = np.abs(np.einsum("na,na->n", points - corners[:, 0], normals))
    return np.where(inside, height / np.where(lengths > 0, lengths, 1), to_edges)


def _to_segments(points: Doubles, start: Doubles, end: Doubles) -> Doubles:
    along = end - start
    squared = np.einsum("na,na->n", along, along)
    share = np.einsum("na,na->n", points - start, along) / np.where(squared > 0, squared, 1)
    return row_lengths(points - start - np.clip(share, 0, 1)[:, None] * along)


def cut(one: Doubles, other: Doubles) -> Flags:
    """For each pair of triangles [n, 3, 3] whether an edge of either passes through the inside of the other.

    Triangles that touch do not cut.
    """
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
