"""Grey pictures of meshes by a z-buffer, with the camera of `renders`. Knows no networks."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from training.renders import View, camera_axes
from training.solids import FloatArray, IntArray

BACKGROUND = 255.0
_HALF_SIDE = 1.25


@njit(cache=True)  # type: ignore[untyped-decorator]
def _fill(
    screen: FloatArray,
    depth: FloatArray,
    shade: FloatArray,
    faces: IntArray,
    side: int,
    out: FloatArray,
    buffer: FloatArray,
) -> None:
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1, x2, y2 = (
            screen[a, 0],
            screen[a, 1],
            screen[b, 0],
            screen[b, 1],
            screen[c, 0],
            screen[c, 1],
        )
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-12:
            continue
        left, right = max(int(min(x0, x1, x2)), 0), min(int(max(x0, x1, x2)) + 1, side - 1)
        top, bottom = max(int(min(y0, y1, y2)), 0), min(int(max(y0, y1, y2)) + 1, side - 1)
        for i in range(top, bottom + 1):
            for j in range(left, right + 1):
                px, py = j + 0.5, i + 0.5
                w1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) / area
                w2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) / area
                w0 = 1.0 - w1 - w2
                if w0 < 0.0 or w1 < 0.0 or w2 < 0.0:
                    continue
                z = w0 * depth[a] + w1 * depth[b] + w2 * depth[c]
                if z < buffer[i, j]:
                    buffer[i, j] = z
                    out[i, j] = w0 * shade[a] + w1 * shade[b] + w2 * shade[c]


def vertex_normals(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray[np.float64]:
    """Area-weighted unit normals [V, 3]."""
    corners = vertices.astype(np.float64)[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros((len(vertices), 3))
    for k in range(3):
        np.add.at(normals, faces[:, k], flat)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def picture(
    vertices: NDArray[np.floating], faces: NDArray[np.integer], view: View, side_px: int
) -> NDArray[np.uint8]:
    """The mesh in grey on white [side_px, side_px, 3]; twofold supersampled."""
    position, right, up, forward = camera_axes(view)
    offset = vertices - position
    depth = offset @ forward
    reach = _HALF_SIDE / np.linalg.norm(position)
    side = 2 * side_px
    flat = np.stack([offset @ right, -(offset @ up)], 1) / depth[:, None]
    light = 0.35 * right + 0.6 * up - 0.75 * forward
    normals = vertex_normals(vertices, faces)
    shade = 60 + 150 * np.clip(normals @ (light / math.sqrt(light @ light)), 0, 1)
    out, buffer = np.full((side, side), BACKGROUND), np.full((side, side), np.inf)
    _fill((flat / reach + 1) * side / 2, depth, shade, faces.astype(np.int64), side, out, buffer)
    small = out.reshape(side_px, 2, side_px, 2).mean((1, 3))
    return np.repeat(small.round().astype(np.uint8)[:, :, None], 3, 2)
