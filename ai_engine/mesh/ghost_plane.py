"""Finds a ghost plane: a flat floor, wall or sheet that the shape model added and the picture does not show.

Shape models draw one when a picture's ground or shadow was left in the cut-out. Two forms are known: a flat body by
itself, and a thin sheet along one side of the box that the object stands on or leans at. Both are found on the mesh. A
plate that the picture does show (a plinth, a relief) differs by its outline: seen from the front, the shape with its
plate fits the picture better than without. Model units, Y up, front +Z.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import Doubles, SurfacePoints, row_lengths, spread
from ai_engine.mesh.topology import compact, face_bodies

GhostPlane = Literal["floor", "wall", "sheet"]
Mask = NDArray[np.bool_]

NUM_POINTS = 20_000
MAX_THICKNESS = 0.06
"""A sheet is no thicker than this share of the mesh's largest extent."""
MIN_BOX_SHARE = 0.8
"""A sheet along a side of the box spans at least this share of it, both ways."""
MIN_COVER = 0.75
"""Share of a side's bounding rectangle that the sheet's outer face covers."""
RIM_SHARE = 0.1
"""Width of the strip along the sheet's edge where its inner face must lie open: a tray has walls there."""
MIN_OPEN_RIM = 0.6
MIN_BODY_SHARE = 0.5
"""A flat body spans at least this share of the area of the mesh's two largest extents."""
COS_OF_FACING = np.cos(np.radians(20))
ELEVATIONS = np.radians([0.0, 15.0, 30.0])
"""From how far above the picture may have been taken."""
AZIMUTHS = np.radians([-30.0, 0.0, 30.0])
OUTLINE_SIDE = 48
"""Outlines are compared on a square of so many cells."""

Outline = NDArray[np.bool_]
"""What an object covers of a square [OUTLINE_SIDE, OUTLINE_SIDE]: as large as fits, and in the middle."""

_SIDES: tuple[tuple[GhostPlane, int, int], ...] = (
    ("floor", 1, -1), ("wall", 2, -1), ("wall", 2, 1), ("wall", 0, -1), ("wall", 0, 1),
)  # fmt: skip
"""Kind, axis and direction. A table's top lies at the upper side: none there."""


def find_ghost_plane(
    mesh: Mesh, *, outline: Callable[[], Outline] | None = None, half_extent: float | None = None
) -> GhostPlane | None:
    """The kind of ghost plane in `mesh`; None when there is none, or when the picture shows it too.

    The picture's `outline` is asked for where there is a sheet to judge, and without it any such sheet counts; without
    the box's `half_extent` the mesh's own extents stand for it.
    """
    if len(mesh.faces) == 0:
        return None
    mesh = compact(mesh.vertices, mesh.faces)
    labels = face_bodies(mesh.faces, len(mesh.vertices))
    sides = _spanned_sides(mesh, half_extent)
    if labels.max() == 0 and not sides:
        return None
    sample = spread(mesh, NUM_POINTS)
    found = (*_flat_bodies(mesh, labels, sample), *_sheets(mesh, sample, sides))
    shown = outline() if found and outline is not None else None
    for kind, is_sheet in found:
        if shown is None or not _is_shown(shown, sample.points, is_sheet):
            return kind
    return None


def outline_of(points: Doubles) -> Outline:
    """The outline of points [n, 2], x to the right and y up, that cover an object densely."""
    lower, upper = points.min(axis=0), points.max(axis=0)
    size = max(float((upper - lower).max()), 1e-12)
    cells = ((points - (lower + upper) / 2) / size + 0.5) * OUTLINE_SIDE
    columns, rows = np.clip(cells.astype(np.int64), 0, OUTLINE_SIDE - 1).T
    outline = np.zeros((OUTLINE_SIDE, OUTLINE_SIDE), np.bool_)
    outline[OUTLINE_SIDE - 1 - rows, columns] = True
    return binary_closing(outline, iterations=2) | outline


def _flat_bodies(
    mesh: Mesh, labels: NDArray[np.int32], sample: SurfacePoints
) -> list[tuple[GhostPlane, Mask]]:
    """The flat bodies beside which there are others: kind, and which points of the sample lie on them."""
    if labels.max() == 0:
        return []
    _, middle, longest = np.sort(np.subtract(*reversed(mesh.box)))
    found: list[tuple[GhostPlane, Mask]] = []
    for label in range(int(labels.max()) + 1):
        is_of_body = labels == label
        thickness, width, length = _principal_extents(_points_of(mesh, is_of_body))
        if thickness > MAX_THICKNESS * longest or width * length < MIN_BODY_SHARE * middle * longest:
            continue
        if np.ptp(_points_of(mesh, ~is_of_body), axis=0).max() > 2 * MAX_THICKNESS * longest:
            found.append(("sheet", is_of_body[sample.faces]))
    return found


def _points_of(mesh: Mesh, which: Mask) -> Doubles:
    return compact(mesh.vertices, mesh.faces[which]).vertices.astype(np.float64)


def _principal_extents(points: Doubles) -> Doubles:
    """The extents of `points` along their principal axes, ascending."""
    centred = points - points.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1]
    return np.sort(np.ptp(centred @ axes, axis=0))


def _spanned_sides(mesh: Mesh, half_extent: float | None) -> list[tuple[GhostPlane, int, int]]:
    """The sides of the bounding box that are nearly as wide as the model's box, with more than a sheet behind."""
    lower, upper = mesh.box
    extents = upper - lower
    least = MIN_BOX_SHARE * (2 * half_extent if half_extent else extents.max())
    is_deep = extents > 2 * MAX_THICKNESS * extents.max()
    return [
        (kind, axis, direction)
        for kind, axis, direction in _SIDES
        if is_deep[axis] and np.delete(extents, axis).min() >= least
    ]


def _sheets(
    mesh: Mesh, sample: SurfacePoints, sides: list[tuple[GhostPlane, int, int]]
) -> list[tuple[GhostPlane, Mask]]:
    """The sheets along `sides` of the bounding box: kind, and which points of the sample lie in them."""
    surface = _Surface.of(mesh, sample)
    return [
        (kind, surface.is_near(axis, direction))
        for kind, axis, direction in sides
        if surface.has_sheet(axis, direction)
    ]


@dataclass(frozen=True, eq=False)
class _Surface:
    """Points spread evenly over a surface, each with the unit normal of its face."""

    places: Doubles
    """[n, 3], from 0 to 1 along the bounding box."""
    normals: Doubles
    area_of_point: float
    extents: Doubles

    @classmethod
    def of(cls, mesh: Mesh, sample: SurfacePoints) -> _Surface:
        """Of the points of `sample`, which lie on `mesh`."""
        lower, upper = mesh.box
        extents = (upper - lower).astype(np.float64)
        vectors = mesh.area_vectors[sample.faces]
        return cls(
            (sample.points - lower) / np.maximum(extents, 1e-30),
            vectors / np.maximum(row_lengths(vectors), 1e-30)[:, None],
            sample.area / max(len(sample.points), 1),
            extents,
        )

    def is_near(self, axis: int, direction: int) -> Mask:
        """Which points lie as near to a side of the bounding box as a sheet is thick."""
        along = self.places[:, axis] if direction < 0 else 1 - self.places[:, axis]
        return along * self.extents[axis] < MAX_THICKNESS * self.extents.max()

    def has_sheet(self, axis: int, direction: int) -> bool:
        """True when a thin sheet covers the side of the bounding box, its inner face open along the whole rim."""
        is_near, facing = self.is_near(axis, direction), self.normals[:, axis] * direction
        across = [other for other in range(3) if other != axis]
        rectangle = float(np.prod(self.extents[across]))
        is_rim = (np.minimum(self.places[:, across], 1 - self.places[:, across]) < RIM_SHARE).any(axis=1)
        rim = (1 - (1 - 2 * RIM_SHARE) ** 2) * rectangle
        outer = self._area(is_near & (facing > COS_OF_FACING))
        open_rim = self._area(is_near & is_rim & (facing < -COS_OF_FACING))
        return outer > MIN_COVER * rectangle and open_rim > MIN_OPEN_RIM * rim

    def _area(self, which: Mask) -> float:
        return float(np.count_nonzero(which)) * self.area_of_point


def _is_shown(picture: Outline, points: Doubles, is_sheet: Mask) -> bool:
    """True when the picture's outline fits the whole shape at least as well as the shape without its sheet."""
    rest = points[~is_sheet]
    return len(rest) == 0 or _fit(picture, points) >= _fit(picture, rest)


def _fit(picture: Outline, points: Doubles) -> float:
    """Intersection over union of the picture's outline and the shape's, from the view that fits best."""
    return max(_overlap(picture, outline_of(view)) for view in _views(points))


def _overlap(one: Outline, other: Outline) -> float:
    return float(np.count_nonzero(one & other)) / max(int(np.count_nonzero(one | other)), 1)


def _views(points: Doubles) -> Iterator[Doubles]:
    """The points [n, 3] as seen from the front and somewhat beside and above it: [n, 2], x right and y up."""
    x, y, z = points.T
    for azimuth, elevation in product(AZIMUTHS, ELEVATIONS):
        across = x * np.cos(azimuth) - z * np.sin(azimuth)
        towards = x * np.sin(azimuth) + z * np.cos(azimuth)
        yield np.stack([across, y * np.cos(elevation) - towards * np.sin(elevation)], axis=1)
