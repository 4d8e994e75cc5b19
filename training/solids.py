"""Solids with signed distances, put together from primitives.

A shape is a list of at most twelve primitives joined by union, smooth union and subtraction. Frame: Y up,
front = +Z, centred on its bounding box, largest half extent 0.9. Distances are negative inside. They are exact
for single primitives other than the ellipsoid (first-order distance) and a lower bound after a subtraction.
Knows no families, pictures or networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

LARGEST_HALF_EXTENT = 0.9
MIN_HALF_THICKNESS = 0.06
MAX_PRIMITIVES = 12

ELLIPSOID, BOX, CONE, TORUS, CAPSULE, PRISM = range(6)
UNION, SMOOTH_UNION, SUBTRACT = range(3)

# Columns of a primitive's row: centre 0-2, rotation (row-major, local to world) 3-11, sizes 12-14,
# rounding radius 15, blend radius of the smooth union 16.
_SIZE, _ROUNDING, _BLEND, _NUM_COLUMNS = 12, 15, 16, 17

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Primitive:
    """One solid in its own frame (axis = local Y) and how it joins those before it.

    Sizes: ellipsoid radii; box half extents; cone (half height, bottom radius, top radius); torus (ring radius,
    tube radius); capsule (half length, radius); prism (half width, half height, half depth; triangle in XY).
    """

    kind: int
    sizes: tuple[float, ...]
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: FloatArray | None = None
    rounding: float = 0.0
    operation: int = UNION
    blend: float = 0.0
    colour: int = 0


@dataclass(frozen=True)
class Shape:
    """A scaled, centred list of primitives; rows as described at `_SIZE`."""

    family: str
    kinds: IntArray
    operations: IntArray
    colours: IntArray
    rows: FloatArray
    half_extent: FloatArray


# --- distances ------------------------------------------------------------------------------------------------


@njit(cache=True, fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _box_distance(x: float, y: float, z: float, hx: float, hy: float, hz: float) -> float:
    qx, qy, qz = abs(x) - hx, abs(y) - hy, abs(z) - hz
    ox, oy, oz = max(qx, 0.0), max(qy, 0.0), max(qz, 0.0)
    return math.sqrt(ox * ox + oy * oy + oz * oz) + min(max(qx, max(qy, qz)), 0.0)


@njit(cache=True, fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _ellipsoid_distance(x: float, y: float, z: float, rx: float, ry: float, rz: float) -> float:
    ax, ay, az = x / rx, y / ry, z / rz
    bx, by, bz = ax / rx, ay / ry, az / rz
    k0 = math.sqrt(ax * ax + ay * ay + az * az)
    k1 = math.sqrt(bx * bx + by * by + bz * bz)
    if k1 < 1e-9:
        return -min(rx, min(ry, rz))
    return k0 * (k0 - 1.0) / k1


@njit(cache=True, fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _cone_distance(radial: float, y: float, h: float, bottom: float, top: float) -> float:
    """Exact distance to a capped cone: the nearer of its caps and its slanted side."""
    cap_radius = bottom if y < 0.0 else top
    cax, cay = radial - min(radial, cap_radius), abs(y) - h
    kx, ky = top - bottom, 2.0 * h
    along = ((top - radial) * kx + (h - y) * ky) / (kx * kx + ky * ky)
    along = min(max(along, 0.0), 1.0)
    cbx, cby = radial - top + kx * along, y - h + ky * along
    sign = -1.0 if (cbx < 0.0 and cay < 0.0) else 1.0
    return sign * math.sqrt(min(cax * cax + cay * cay, cbx * cbx + cby * cby))


@njit(cache=True, fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _prism_distance(x: float, y: float, z: float, w: float, h: float, d: float) -> float:
    """Exact distance to an isosceles triangle (base 2w at y=-h, apex at y=h) extruded to |z| <= d."""
    x = abs(x)
    bx = x - min(x, w)
    base = bx * bx + (y + h) * (y + h)
    along = min(max((x * w + (h - y) * 2.0 * h) / (w * w + 4.0 * h * h), 0.0), 1.0)
    sx, sy = x - w * along, y - h + 2.0 * h * along
    is_inside = (y > -h) and (x * 2.0 * h + (y - h) * w < 0.0)
    flat = math.sqrt(min(base, sx * sx + sy * sy))
    flat = -flat if is_inside else flat
    depth = abs(z) - d
    ox, oz = max(flat, 0.0), max(depth, 0.0)
    return math.sqrt(ox * ox + oz * oz) + min(max(flat, depth), 0.0)


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _primitive_distance(kind: int, row: FloatArray, px: float, py: float, pz: float) -> float:
    dx, dy, dz = px - row[0], py - row[1], pz - row[2]
    x = row[3] * dx + row[6] * dy + row[9] * dz
    y = row[4] * dx + row[7] * dy + row[10] * dz
    z = row[5] * dx + row[8] * dy + row[11] * dz
    a, b, c, r = row[12], row[13], row[14], row[15]
    if kind == 1:
        return _box_distance(x, y, z, a - r, b - r, c - r) - r
    if kind == 2:
        return _cone_distance(math.sqrt(x * x + z * z), y, a - r, max(b - r, 0.0), max(c - r, 0.0)) - r
    if kind == 0:
        return _ellipsoid_distance(x, y, z, a, b, c)
    if kind == 3:
        ring = math.sqrt(x * x + z * z) - a
        return math.sqrt(ring * ring + y * y) - b
    if kind == 4:
        y -= min(max(y, -a), a)
        return math.sqrt(x * x + y * y + z * z) - b
    return _prism_distance(x, y, z, a - r, b - r, c - r) - r


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def scene_distance(
    kinds: IntArray, operations: IntArray, rows: FloatArray, x: float, y: float, z: float
) -> float:
    """Signed distance of one point to the whole list of primitives."""
    total = 1e9
    for i in range(kinds.shape[0]):
        d = _primitive_distance(kinds[i], rows[i], x, y, z)
        if operations[i] == 2:
            total = max(total, -d)
        elif operations[i] == 1:
            k = rows[i, 16]
            h = max(k - abs(total - d), 0.0) / k
            total = min(total, d) - h * h * k * 0.25
        else:
            total = min(total, d)
    return total


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def scene_colour(
    kinds: IntArray,
    operations: IntArray,
    colours: IntArray,
    rows: FloatArray,
    x: float,
    y: float,
    z: float,
) -> int:
    """Colour index of the primitive whose surface is nearest to a surface point."""
    best, colour = 1e9, 0
    for i in range(kinds.shape[0]):
        d = _primitive_distance(kinds[i], rows[i], x, y, z)
        d = abs(d) if operations[i] == 2 else max(d, 0.0)
        if d < best:
            best, colour = d, colours[i]
    return colour


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _distances(kinds: IntArray, operations: IntArray, rows: FloatArray, points: FloatArray) -> FloatArray:
    out = np.empty(points.shape[0])
    for i in range(points.shape[0]):
        out[i] = scene_distance(kinds, operations, rows, points[i, 0], points[i, 1], points[i, 2])
    return out


def sdf(shape: Shape, points: NDArray[Any]) -> FloatArray:
    """Signed distances [P] at points [P, 3] in the shape's frame; negative inside."""
    return _distances(shape.kinds, shape.operations, shape.rows, np.ascontiguousarray(points, np.float64))


def grid_points(side: int, half_side: float) -> NDArray[np.float32]:
    """Cell centres [side^3, 3] of a cube of the given half side, x slowest."""
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 * half_side - half_side
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)


# --- putting a shape together ---------------------------------------------------------------------------------


def rotation(axis: str, degrees: float) -> FloatArray:
    """Right-handed rotation matrix [3, 3] about a named axis."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


ALONG_X = rotation("z", 90.0)
ALONG_Z = rotation("x", 90.0)


def _reach(part: Primitive) -> tuple[FloatArray, FloatArray]:
    """Upper and lower reach of a primitive along the world axes, measured from its centre."""
    turn = np.eye(3) if part.rotation is None else part.rotation
    axial, across = np.abs(turn[:, 1]), np.sqrt(np.maximum(1 - turn[:, 1] ** 2, 0))
    sizes = np.array(part.sizes)
    if part.kind == CONE:
        h, bottom, top = part.sizes
        ends = np.stack([-h * turn[:, 1] + bottom * across, h * turn[:, 1] + top * across])
        back = np.stack([-h * turn[:, 1] - bottom * across, h * turn[:, 1] - top * across])
        return ends.max(0), back.min(0)
    if part.kind == ELLIPSOID:
        reach = np.sqrt((turn**2) @ sizes**2)
    elif part.kind == TORUS:
        reach = sizes[0] * across + sizes[1]
    elif part.kind == CAPSULE:
        reach = sizes[0] * axial + sizes[1]
    else:
        reach = np.abs(turn) @ sizes
    return reach, -reach


def assemble(family: str, parts: list[Primitive], top: float | None = None) -> Shape:
    """A shape centred on the bounding box of its solid parts and scaled to LARGEST_HALF_EXTENT.

    `top` gives the upper bound along Y where a subtraction cuts the solid parts (a bowl's rim).
    """
    assert len(parts) <= MAX_PRIMITIVES
    reaches = [(_reach(p), np.array(p.centre)) for p in parts if p.operation != SUBTRACT]
    upper = np.max([r[0] + c for r, c in reaches], 0)
    lower = np.min([r[1] + c for r, c in reaches], 0)
    upper[1] = upper[1] if top is None else top
    centre, half = (upper + lower) / 2, (upper - lower) / 2
    scale = LARGEST_HALF_EXTENT / half.max()
    rows = np.zeros((len(parts), _NUM_COLUMNS))
    for row, part in zip(rows, parts, strict=True):
        row[:3] = (np.array(part.centre) - centre) * scale
        row[3:12] = (np.eye(3) if part.rotation is None else part.rotation).reshape(-1)
        row[_SIZE : _SIZE + len(part.sizes)] = np.array(part.sizes) * scale
        row[_ROUNDING], row[_BLEND] = part.rounding * scale, part.blend * scale
    columns = [np.array([getattr(p, n) for p in parts], np.int64) for n in ("kind", "operation", "colour")]
    return Shape(family, columns[0], columns[1], columns[2], rows, half * scale)
