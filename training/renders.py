"""Pictures of shapes: numba sphere tracing with soft edges, random light, colours and textures.

Frame: Y up; azimuth 0 looks along -Z at the front, positive azimuth moves the camera towards +X. The frame is
zoomed on the shape, which changes resolution only: perspective follows from the distance and field of view.
Knows nothing of networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from training.solids import FloatArray, IntArray, Shape, scene_colour, scene_distance

MAX_AZIMUTH_DEG, ELEVATION_DEG, FIELD_OF_VIEW_DEG = 25.0, (2.0, 30.0), (22.0, 40.0)
_MARGIN = 1.03
_NUM_COLOURS = 3

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class View:
    """Camera, light and surface of one picture.

    `fit` is the radius that the field of view would just show at the camera's distance; colours are sRGB rows in
    0..1; `pattern` is (strength, waves per unit x, y, z) of a sine texture on brightness.
    """

    azimuth_deg: float
    elevation_deg: float
    fov_deg: float
    fit: float
    colours: FloatArray
    light: FloatArray
    ambient: float
    fill: float
    specular: float
    shininess: float
    pattern: FloatArray


def random_colours(rng: np.random.Generator) -> FloatArray:
    """Three sRGB rows; often all alike, sometimes near grey, rarely near white or black."""
    saturation = rng.uniform(0.0, 1.0) ** (0.6 if rng.random() < 0.7 else 3.0)
    value = rng.uniform(0.15, 1.0) ** 0.7
    hue = rng.uniform(0.0, 1.0, 3)
    ramp = np.abs((hue[:, None] + np.array([0.0, 2 / 3, 1 / 3])) % 1.0 * 6 - 3) - 1
    colours = value * (1 - saturation * (1 - np.clip(ramp, 0, 1)))
    colours *= rng.uniform(0.5, 1.0, (3, 1)) ** rng.integers(0, 2)
    if rng.random() < 0.45:
        colours[:] = colours[0]
    return np.clip(colours, 0.02, 1.0)


def random_view(rng: np.random.Generator, max_azimuth_deg: float = MAX_AZIMUTH_DEG) -> View:
    """A view from the front with random camera, light, colours and texture."""
    light = np.array([rng.uniform(-1.2, 1.2), rng.uniform(0.1, 1.5), rng.uniform(0.2, 1.3)])
    strength = rng.uniform(0.03, 0.25) if rng.random() < 0.3 else 0.0
    return View(
        azimuth_deg=rng.uniform(-max_azimuth_deg, max_azimuth_deg),
        elevation_deg=rng.uniform(*ELEVATION_DEG),
        fov_deg=rng.uniform(*FIELD_OF_VIEW_DEG),
        fit=rng.uniform(1.15, 1.8),
        colours=random_colours(rng),
        light=light / np.linalg.norm(light),
        ambient=rng.uniform(0.15, 0.6),
        fill=rng.uniform(0.0, 0.3),
        specular=rng.uniform(0.0, 0.5) if rng.random() < 0.5 else 0.0,
        shininess=rng.uniform(8.0, 50.0),
        pattern=np.array([strength, *rng.normal(0.0, 9.0, 3)]),
    )


def camera_axes(view: View) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Position, right, up and forward unit vectors of the camera."""
    azimuth, elevation = math.radians(view.azimuth_deg), math.radians(view.elevation_deg)
    backward = np.array(
        [
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
            math.cos(azimuth) * math.cos(elevation),
        ]
    )
    right = np.array([math.cos(azimuth), 0.0, -math.sin(azimuth)])
    distance = view.fit / math.tan(math.radians(view.fov_deg) / 2)
    return backward * distance, right, np.cross(backward, right), -backward


def _frame(shape: Shape, view: View) -> tuple[FloatArray, FloatArray, float]:
    """Camera [4, 3] (position, right, up, forward), centre and half side of the picture at unit distance."""
    position, right, up, forward = camera_axes(view)
    signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), -1).reshape(-1, 3)
    offset = signs * shape.half_extent - position
    flat = np.stack([offset @ right, offset @ up], 1) / (offset @ forward)[:, None]
    lower, upper = flat.min(0), flat.max(0)
    return (
        np.stack([position, right, up, forward]),
        (lower + upper) / 2,
        float((upper - lower).max() / 2 * _MARGIN),
    )


@njit(cache=True, fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _box_span(origin: FloatArray, ray: FloatArray, half: FloatArray) -> tuple[float, float]:
    near, far = 0.0, 1e9
    for k in range(3):
        step = ray[k] if abs(ray[k]) > 1e-9 else 1e-9
        a, b = (-half[k] - origin[k]) / step, (half[k] - origin[k]) / step
        near, far = max(near, min(a, b)), min(far, max(a, b))
    return near, far


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _march(
    kinds: IntArray,
    operations: IntArray,
    rows: FloatArray,
    origin: FloatArray,
    ray: FloatArray,
    half: FloatArray,
    pixel: float,
) -> tuple[float, float]:
    """Distance along the ray of its hit (or closest pass) and the share of the pixel that is covered."""
    near, far = _box_span(origin, ray, half)
    best, best_t = 1e9, -1.0
    t = near
    for _ in range(96):
        if t > far:
            break
        d = scene_distance(
            kinds, operations, rows, origin[0] + t * ray[0], origin[1] + t * ray[1], origin[2] + t * ray[2]
        )
        if d < best:
            best, best_t = d, t
        if d < 0.1 * pixel * t:
            return t, 1.0
        t += max(d * 0.97, 0.1 * pixel * t)
    cover = 0.5 - best / (pixel * best_t) if best_t > 0 else 0.0
    return best_t, min(max(cover, 0.0), 1.0)


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _normal(
    kinds: IntArray, operations: IntArray, rows: FloatArray, x: float, y: float, z: float
) -> tuple[float, float, float]:
    e = 1.5e-3
    a = scene_distance(kinds, operations, rows, x + e, y - e, z - e)
    b = scene_distance(kinds, operations, rows, x - e, y - e, z + e)
    c = scene_distance(kinds, operations, rows, x - e, y + e, z - e)
    d = scene_distance(kinds, operations, rows, x + e, y + e, z + e)
    nx, ny, nz = a - b - c + d, -a - b + c + d, -a + b - c + d
    length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
    return nx / length, ny / length, nz / length


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _shade(
    point: Triple,
    normal: Triple,
    ray: FloatArray,
    light: FloatArray,
    colour: FloatArray,
    look: tuple[float, float, float, float],
    pattern: FloatArray,
    out: FloatArray,
) -> None:
    """Lambert with ambient, a fill light from the opposite side, a highlight and a sine texture."""
    ambient, fill, specular, shininess = look
    facing = normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]
    opposite = -normal[0] * light[0] + normal[1] * light[1] * 0.3 + normal[2] * light[2]
    brightness = ambient + (1.0 - ambient) * max(facing, 0.0) + fill * max(opposite, 0.0)
    wave = (
        math.sin(pattern[1] * point[0])
        * math.sin(pattern[2] * point[1] + 1.0)
        * math.sin(pattern[3] * point[2] + 2.0)
    )
    brightness *= 1.0 + pattern[0] * wave
    hx, hy, hz = light[0] - ray[0], light[1] - ray[1], light[2] - ray[2]
    half = (normal[0] * hx + normal[1] * hy + normal[2] * hz) / math.sqrt(hx * hx + hy * hy + hz * hz)
    shine = specular * max(half, 0.0) ** shininess
    for k in range(3):
        out[k] = min(max(colour[k] * brightness + shine, 0.0), 1.0)


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _trace(
    kinds: IntArray,
    operations: IntArray,
    colours: IntArray,
    rows: FloatArray,
    half: FloatArray,
    camera: FloatArray,
    centre: FloatArray,
    half_side: float,
    palette: FloatArray,
    light: FloatArray,
    look: tuple[float, float, float, float],
    pattern: FloatArray,
    out: NDArray[np.uint8],
) -> None:
    side = out.shape[0]
    pixel = 2.0 * half_side / side
    ray, rgb, origin = np.empty(3), np.empty(3), camera[0]
    for i in range(side):
        v = centre[1] + half_side - (i + 0.5) * pixel
        for j in range(side):
            u = centre[0] - half_side + (j + 0.5) * pixel
            ray[:] = camera[3] + u * camera[1] + v * camera[2]
            ray /= math.sqrt(1.0 + u * u + v * v)
            t, cover = _march(kinds, operations, rows, origin, ray, half, pixel)
            if cover <= 0.0:
                continue
            point = (origin[0] + t * ray[0], origin[1] + t * ray[1], origin[2] + t * ray[2])
            normal = _normal(kinds, operations, rows, point[0], point[1], point[2])
            colour = scene_colour(kinds, operations, colours, rows, point[0], point[1], point[2])
            _shade(point, normal, ray, light, palette[colour], look, pattern, rgb)
            for k in range(3):
                out[i, j, k] = int(rgb[k] * 255.0 + 0.5)
            out[i, j, 3] = int(cover * 255.0 + 0.5)


def render(shape: Shape, view: View, side_px: int) -> NDArray[np.uint8]:
    """A square RGBA picture [side_px, side_px, 4], straight alpha, transparent around the shape."""
    camera, centre, half_side = _frame(shape, view)
    out = np.zeros((side_px, side_px, 4), np.uint8)
    look = (view.ambient, view.fill, view.specular, view.shininess)
    half = shape.half_extent + 0.03
    _trace(
        shape.kinds, shape.operations, shape.colours, shape.rows, half, camera, centre, half_side,
        view.colours, view.light, look, view.pattern, out,
    )  # fmt: skip
    return out
