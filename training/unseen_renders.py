"""Pictures by two renderers that training never saw: `shaded` and `drawn`. Shares no code with `renders`.

Both splat points of a triangle mesh through a parallel projection with a depth buffer, where `renders` traces
rays through a perspective camera. `shaded` has one colour, half-Lambert light and hard edges; `drawn` is one flat
colour with dark lines where depth or direction break. Frame: Y up, azimuth 0 looks along -Z. Knows no networks and no
families.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

STYLES = ("shaded", "drawn")
NUM_SPLATS = 800_000
OUTLINE_DEPTH = 0.15
MIN_FACING, CREASE = 0.05, 0.5
_FRAME_HALF_SIDE = 1.6

Floats = NDArray[np.float64]


def _splats(triangles: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Points [n, 3] spread evenly by area over triangles [f, 3, 3], and their unit normals [n, 3]."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    chosen = rng.choice(len(areas), NUM_SPLATS, p=areas / areas.sum())
    u, v = np.sqrt(rng.random((NUM_SPLATS, 1))), rng.random((NUM_SPLATS, 1))
    a, b, c = triangles[chosen].swapaxes(0, 1)
    return (1 - u) * a + u * (1 - v) * b + u * v * c, normals[chosen] / areas[chosen, None]


def _camera(azimuth_deg: float, elevation_deg: float) -> Floats:
    """Rows right, up and towards the camera [3, 3]."""
    a, e = math.radians(azimuth_deg), math.radians(elevation_deg)
    right = [math.cos(a), 0.0, -math.sin(a)]
    up = [-math.sin(a) * math.sin(e), math.cos(e), -math.cos(a) * math.sin(e)]
    towards = [math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)]
    return np.array([right, up, towards])


def _nearest_splats(seen: Floats, side_px: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Index of the splat that each pixel [side, side] shows, gaps filled, and which pixels are covered."""
    columns = ((seen[:, 0] / _FRAME_HALF_SIDE + 1) / 2 * side_px).astype(np.int64)
    rows = ((1 - seen[:, 1] / _FRAME_HALF_SIDE) / 2 * side_px).astype(np.int64)
    order = np.argsort(seen[:, 2])
    index = np.full((side_px, side_px), -1)
    index[rows[order], columns[order]] = order  # the last one written is the nearest
    covered = ndimage.binary_closing(index >= 0, iterations=1)
    fill = ndimage.distance_transform_edt(index < 0, return_distances=False, return_indices=True)
    return index[tuple(fill)], covered


def _depth_at_centres(seen: Floats, normals: Floats) -> Floats:
    """Depth [side, side] of each pixel's splat, moved along the splat's plane to the middle of the pixel.

    A splat lies anywhere in its pixel, which on a steep face makes as much of a difference as a break in depth.
    """
    side_px = len(seen)
    middles = ((np.arange(side_px) + 0.5) / side_px * 2 - 1) * _FRAME_HALF_SIDE
    right, up = seen[..., 0] - middles, seen[..., 1] + middles[:, None]
    slope = normals[..., :2] / np.maximum(normals[..., 2:], MIN_FACING)
    return seen[..., 2] + slope[..., 0] * right + slope[..., 1] * up


def _breaks(depth: Floats) -> NDArray[np.bool_]:
    """Pixels [side, side] where the depth does not run on evenly: on a plane second differences are zero."""
    along = [np.abs(ndimage.convolve1d(depth, [1.0, -2.0, 1.0], axis=axis)) for axis in (0, 1)]
    return np.maximum(*along) > OUTLINE_DEPTH


def _creases(normals: Floats) -> NDArray[np.bool_]:
    """Pixels [side, side] on either side of which the surface faces different ways."""
    turns = [ndimage.convolve1d(normals, [1.0, 0.0, -1.0], axis=axis) for axis in (0, 1)]
    return np.maximum(*(np.linalg.norm(turn, axis=-1) for turn in turns)) > CREASE


def unseen_picture(
    triangles: Floats, style: str, rng: np.random.Generator, max_azimuth_deg: float, side_px: int
) -> NDArray[np.uint8]:
    """An RGBA picture [side_px, side_px, 4] of triangles [f, 3, 3] that lie in the cube of half side 0.9.

    Raises ValueError if the style is unknown.
    """
    if style not in STYLES:
        raise ValueError(f"style {style!r} is none of {STYLES}")
    camera = _camera(rng.uniform(-max_azimuth_deg, max_azimuth_deg), rng.uniform(2.0, 30.0))
    points, normals = _splats(triangles, rng)
    # Without back faces, so that the far side can't show through gaps between splats.
    is_facing = normals @ camera[2] > 0
    points, normals = points[is_facing], normals[is_facing]
    seen = points @ camera.T
    index, covered = _nearest_splats(seen, side_px)
    colour = rng.uniform(60, 240, 3)
    if style == "shaded":
        light = np.array([-0.5, 0.7, 0.5]) @ camera / np.linalg.norm([-0.5, 0.7, 0.5])
        brightness = 0.25 + 0.75 * (normals[index] @ light * 0.5 + 0.5)
    else:
        facing = normals[index] @ camera.T
        depth = np.where(covered, _depth_at_centres(seen[index], facing), -3.0)
        is_line = _breaks(depth) | (_creases(facing) & covered)
        brightness = np.where(is_line, 0.15, 1.0)
    rgb = (colour * brightness[..., None]).clip(0, 255).astype(np.uint8)
    return np.concatenate([rgb, covered[..., None].astype(np.uint8) * 255], -1)
