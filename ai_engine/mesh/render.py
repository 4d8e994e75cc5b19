"""A mesh to a shaded picture, in numpy alone: no display, no GPU. Knows no files and no jobs.

Orthographic, twice the size and scaled down for smooth edges. Triangles are filled all at once: each is cut
into rows, each row into pixels, and the pixels are written far to near, so that the nearest stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from ai_engine.mesh.mesh import Mesh

OVERSAMPLING = 2
FRAME_SHARE = 0.86
"""How much of the picture's side the mesh's largest extent fills."""

Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """From where the mesh is seen. Angles in degrees; azimuth 0 looks at the front (+Z), 90 at the side (+X)."""

    azimuth_deg: float = 30.0
    elevation_deg: float = 20.0


@dataclass(frozen=True)
class _Light:
    """One lamp in camera space: where it stands (x right, y up, z to the viewer) and its linear colour."""

    direction: tuple[float, float, float]
    colour: tuple[float, float, float]


_KEY = _Light((-0.5, 0.75, 0.65), (1.15, 1.08, 0.98))
_FILL = _Light((0.85, 0.1, 0.45), (0.20, 0.25, 0.33))
_RIM = _Light((0.35, 0.5, -0.85), (0.42, 0.45, 0.5))
_SKY = np.asarray((0.36, 0.39, 0.44), np.float32)
_GROUND = np.asarray((0.17, 0.15, 0.13), np.float32)
SHARP = 0.82
"""Cosine of the angle between a face and the mean of its neighbours (35 degrees) from which on an edge shows."""
_CLAY = np.asarray((0.62, 0.58, 0.53), np.float32)
_SHINE = 0.10
_SHINE_EXPONENT = 28
_BACKDROP_TOP = np.asarray((0.86, 0.88, 0.90), np.float32)
_BACKDROP_BOTTOM = np.asarray((0.62, 0.645, 0.67), np.float32)


def draw(mesh: Mesh, view: View, side_px: int) -> Image.Image:
    """A square RGB picture of the mesh (Y up) on a light backdrop."""
    side = side_px * OVERSAMPLING
    linear = _backdrop(side)
    if len(mesh.faces):
        _paint(linear, mesh, view)
    return _finish(linear)


def _paint(linear: Floats, mesh: Mesh, view: View) -> None:
    side = len(linear)
    points = _on_screen(_turn(mesh.vertices, view), side)
    nearest, depth = _nearest_faces(points, mesh.faces, side)
    pixels = np.flatnonzero(nearest >= 0)
    rows, columns = np.divmod(pixels, side)
    faces = nearest.ravel()[pixels]
    weights = _corner_weights(points[mesh.faces[faces]], columns, rows)
    normals = _turn(np.einsum("nc,nca->na", weights, _corner_normals(mesh, faces)), view)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    linear.reshape(-1, 3)[pixels] = _shade(normals) * _openness(depth).ravel()[pixels, None]


def _corner_normals(mesh: Mesh, faces: NDArray[np.int32]) -> Floats:
    """The normals at the corners of some faces, [n, 3 corners, 3 axes]: at a sharp edge the face's own."""
    around = np.take(mesh.vertex_normals, mesh.faces[faces], axis=0)
    own = mesh.area_vectors[faces].astype(np.float32)
    own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-20)
    is_sharp = np.einsum("nca,na->nc", around, own) < SHARP
    return np.where(is_sharp[..., None], own[:, None], around)


def _turn(vectors: Floats, view: View) -> Floats:
    """Points or directions in camera space: x right, y up, z towards the viewer."""
    azimuth, elevation = np.radians(view.azimuth_deg), np.radians(view.elevation_deg)
    about_y = [[np.cos(azimuth), 0, -np.sin(azimuth)], [0, 1, 0], [np.sin(azimuth), 0, np.cos(azimuth)]]
    about_x = [
        [1, 0, 0],
        [0, np.cos(elevation), -np.sin(elevation)],
        [0, np.sin(elevation), np.cos(elevation)],
    ]
    turn = (np.asarray(about_x) @ np.asarray(about_y)).astype(np.float32)
    return vectors @ turn.T


def _on_screen(turned: Floats, side: int) -> Floats:
    """Camera space to pixels: x right, y down, z towards the viewer, the mesh centred and filling the frame."""
    lower, upper = (np.asarray([pick(axis) for axis in turned.T]) for pick in (np.min, np.max))
    scale = FRAME_SHARE * side / max(float((upper - lower)[:2].max()), 1e-9)
    centred = (turned - (lower + upper) / 2) * scale
    return (centred * (1, -1, 1) + (side / 2, side / 2, 0)).astype(np.float32)


def _nearest_faces(points: Floats, faces: NDArray[np.int32], side: int) -> tuple[NDArray[np.int32], Floats]:
    """For each pixel the face nearest to the viewer (-1: none), and its depth, both [side, side]."""
    numbers = _visible(points, faces)
    corners = np.take(points, faces[numbers], axis=0)
    edges, planes = _edges(corners), _planes(corners)
    which, rows = _rows(corners, side)
    first, last = _row_ends(edges[which], rows, side)
    which, rows = np.repeat(which, last - first), np.repeat(rows, last - first)
    columns = np.repeat(first, last - first) + _count_up(last - first)
    height = planes[which, 0] * columns + planes[which, 1] * rows + planes[which, 2]
    far_to_near = np.argsort(height, kind="stable")
    pixels = (rows * side + columns)[far_to_near]
    nearest = np.full(side * side, -1, np.int32)
    depth = np.full(side * side, -np.inf, np.float32)
    nearest[pixels] = numbers[which[far_to_near]]
    depth[pixels] = height[far_to_near]
    return nearest.reshape(side, side), depth.reshape(side, side)


def _visible(points: Floats, faces: NDArray[np.int32]) -> Numbers:
    """The numbers of the faces that are turned to the viewer."""
    x, y = (np.ascontiguousarray(points[:, axis]) for axis in range(2))
    (ax, bx, cx), (ay, by, cy) = ([np.take(axis, corner) for corner in faces.T] for axis in (x, y))
    return np.flatnonzero((bx - ax) * (cy - ay) - (by - ay) * (cx - ax) < 0)


def _edges(corners: Floats) -> Floats:
    """Three lines for each face [n, 3, (a, b, c)]: inside it, a x + b y + c is not negative."""
    start, end = corners[:, :, :2], np.roll(corners[:, :, :2], -1, axis=1)
    a = end[..., 1] - start[..., 1]
    b = start[..., 0] - end[..., 0]
    return np.stack([a, b, -(a * start[..., 0] + b * start[..., 1])], axis=-1)


def _planes(corners: Floats) -> Floats:
    """Depth over the screen for each face, as (a, b, c) of a x + b y + c: [n, 3]."""
    origin, first, second = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(first.astype(np.float64), second.astype(np.float64))
    slope = -normal[:, :2] / normal[:, 2:]
    depth = origin[:, 2] - (slope * origin[:, :2]).sum(axis=1)
    return np.column_stack([slope, depth]).astype(np.float32)


def _rows(corners: Floats, side: int) -> tuple[Numbers, Numbers]:
    """Each face with each row of pixel centres that it reaches."""
    low, middle, high = corners[..., 1].T
    top, bottom = np.minimum(np.minimum(low, middle), high), np.maximum(np.maximum(low, middle), high)
    first = np.clip(np.ceil(top), 0, side).astype(np.int64)
    last = np.clip(np.floor(bottom) + 1, 0, side).astype(np.int64)
    num_rows = np.maximum(last - first, 0)
    which = np.repeat(np.arange(len(corners)), num_rows)
    return which, np.repeat(first, num_rows) + _count_up(num_rows)


def _row_ends(edges: Floats, rows: Numbers, side: int) -> tuple[Numbers, Numbers]:
    """The pixels from `first` up to but not including `last` of each row that lie inside its face."""
    heights = rows.astype(np.float32)
    first, last = np.full(len(rows), -np.inf, np.float32), np.full(len(rows), np.inf, np.float32)
    for edge in range(3):
        a, b, c = (np.ascontiguousarray(part) for part in edges[:, edge].T)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = -(b * heights + c) / a
        np.maximum(first, crossing, out=first, where=a > 0)
        np.minimum(last, crossing, out=last, where=a < 0)
    first_pixel = np.clip(np.ceil(first), 0, side).astype(np.int64)
    last_pixel = np.clip(np.floor(last) + 1, 0, side).astype(np.int64)
    return first_pixel, np.maximum(last_pixel, first_pixel)


def _count_up(lengths: Numbers) -> Numbers:
    """0, 1, ... anew for each of `lengths`, in one array."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _corner_weights(corners: Floats, columns: Numbers, rows: Numbers) -> Floats:
    """How much each corner counts at a pixel, [n, 3]."""
    edges = _edges(corners)
    x, y = columns.astype(np.float32)[:, None], rows.astype(np.float32)[:, None]
    values = edges[..., 0] * x + edges[..., 1] * y + edges[..., 2]
    opposite = np.maximum(np.roll(values, -1, axis=1), 0)
    return opposite / np.maximum(opposite.sum(axis=1, keepdims=True), 1e-12)


def _shade(normals: Floats) -> Floats:
    """Linear colour for unit normals in camera space, [n, 3]."""
    upwards = (normals[:, 1:2] + 1) / 2
    light = _GROUND + (_SKY - _GROUND) * upwards
    for lamp in (_KEY, _FILL, _RIM):
        # Softer than a point of light: a little reaches past the edge of the lit half.
        wrapped = np.clip((normals @ _unit(lamp.direction) + 0.15) / 1.15, 0, None)
        light = light + wrapped[:, None] * np.asarray(lamp.colour, np.float32)
    return _CLAY * light + _SHINE * _shine(normals)


def _shine(normals: Floats) -> Floats:
    x, y, z = _unit(_KEY.direction)
    halfway = _unit((x, y, z + 1))
    return np.clip(normals @ halfway, 0, None)[:, None] ** _SHINE_EXPONENT


def _unit(direction: tuple[float, ...]) -> Floats:
    vector = np.asarray(direction, np.float32)
    return vector / np.linalg.norm(vector)


def _openness(depth: Floats) -> Floats:
    """1 where a surface lies free, less in its hollows: nearer surroundings take light away."""
    is_mesh = np.isfinite(depth)
    floor = depth[is_mesh].min() if is_mesh.any() else 0.0
    filled = np.where(is_mesh, depth, floor)
    openness = np.ones_like(filled)
    for radius_share, strength in ((0.012, 0.2), (0.05, 0.35)):
        radius = radius_share * len(depth)
        mean = ndimage.uniform_filter(ndimage.uniform_filter(filled, int(2 * radius) | 1), int(radius) | 1)
        openness -= strength * np.clip((mean - filled) / (2 * radius), 0, 1)
    return openness


def _backdrop(side: int) -> Floats:
    """Light above, darker below, and a pool of light in the middle: linear colour [side, side, 3]."""
    place = np.arange(side, dtype=np.float32) / side
    glow = np.outer(np.exp(-((place - 0.42) ** 2) / 0.18), np.exp(-((place - 0.5) ** 2) / 0.18))
    ramp = (_BACKDROP_TOP + (_BACKDROP_BOTTOM - _BACKDROP_TOP) * place[:, None]) ** 2.2
    return np.clip(0.92 * ramp[:, None] + 0.10 * glow[..., None], 0, 1)


def _finish(linear: Floats) -> Image.Image:
    """Averaged down in linear light, then coded for the screen."""
    places = range(OVERSAMPLING)
    parts = [linear[row::OVERSAMPLING, column::OVERSAMPLING] for row in places for column in places]
    mean = np.add.reduce(parts) / len(parts)
    toned = np.clip(mean, 0, 1) ** (1 / 2.2)
    return Image.fromarray((toned * 255 + 0.5).astype(np.uint8), "RGB")
