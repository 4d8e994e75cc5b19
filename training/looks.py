"""A second and a third renderer for training: `painted` and `inked` pictures from one traced buffer.

`trace` finds, per pixel, which way the surface faces, how far away it is and which part it is, through a parallel or a
perspective camera with a little roll. `painted` lights that with several lamps, sky and gloss; `inked` fills flat
colours or tone steps and draws lines where depth, direction or part change. Knows no networks and no files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from training.grounds import random_colour, smooth_noise
from training.solids import FloatArray, IntArray, Shape, scene_colour, scene_distance

MAX_AZIMUTH_DEG, USUAL_AZIMUTH_DEG, USUAL_SHARE = 60.0, 30.0, 0.75
ELEVATION_DEG, MAX_ROLL_DEG = (-2.0, 40.0), 3.0
PARALLEL_SHARE = 0.4
_MAX_STEPS, _HIT_DISTANCE, _BALL_RADIUS = 80, 1.5e-3, 1.6

Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Buffers:
    """What a camera sees: unit normals [S, S, 3] (right, up, towards it), depth [S, S], part [S, S], -1 for none."""

    normals: Picture
    depth: Picture
    part: NDArray[np.int64]

    @property
    def covered(self) -> NDArray[np.bool_]:
        """The pixels [S, S] that show the shape."""
        return self.part >= 0


def random_azimuth_deg(rng: Generator) -> float:
    """Mostly near the front, a quarter from there to the side by up to MAX_AZIMUTH_DEG."""
    if rng.random() < USUAL_SHARE:
        return float(rng.uniform(-USUAL_AZIMUTH_DEG, USUAL_AZIMUTH_DEG))
    return float(rng.choice([-1.0, 1.0]) * rng.uniform(USUAL_AZIMUTH_DEG, MAX_AZIMUTH_DEG))


def random_axes(rng: Generator) -> FloatArray:
    """Rows right, up and towards the camera [3, 3]: a yaw, a pitch and a slight roll."""
    yaw, pitch, roll = (
        math.radians(angle)
        for angle in (
            random_azimuth_deg(rng),
            rng.uniform(*ELEVATION_DEG),
            rng.uniform(-MAX_ROLL_DEG, MAX_ROLL_DEG) * (rng.random() < 0.4),
        )
    )
    c, s = math.cos(yaw), math.sin(yaw)
    turn = np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
    c, s = math.cos(pitch), math.sin(pitch)
    nod = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    c, s = math.cos(roll), math.sin(roll)
    return np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) @ nod @ turn


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _hit(
    kinds: IntArray, operations: IntArray, rows: FloatArray, origin: FloatArray, ray: FloatArray
) -> float:
    """Distance along the unit ray to the shape, which lies within a ball about the world's origin; -1 for none."""
    middle = -(origin[0] * ray[0] + origin[1] * ray[1] + origin[2] * ray[2])
    t, far, d = max(middle - _BALL_RADIUS, 0.0), middle + _BALL_RADIUS, 1e9
    for _ in range(_MAX_STEPS):
        x, y, z = origin[0] + t * ray[0], origin[1] + t * ray[1], origin[2] + t * ray[2]
        d = scene_distance(kinds, operations, rows, x, y, z)
        if d < _HIT_DISTANCE or t > far:
            break
        t += d * 0.97
    return -1.0 if d >= _HIT_DISTANCE * 2 or t > far else t


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _set_normal(
    kinds: IntArray, operations: IntArray, rows: FloatArray, place: FloatArray, out: FloatArray
) -> None:
    """Writes the unit normal at a place near the surface, from four distances around it."""
    e, x, y, z = 1.5e-3, place[0], place[1], place[2]
    a = scene_distance(kinds, operations, rows, x + e, y - e, z - e)
    b = scene_distance(kinds, operations, rows, x - e, y - e, z + e)
    c = scene_distance(kinds, operations, rows, x - e, y + e, z - e)
    d = scene_distance(kinds, operations, rows, x + e, y + e, z + e)
    out[0], out[1], out[2] = a - b - c + d, -a - b + c + d, -a + b - c + d
    out /= math.sqrt(out[0] ** 2 + out[1] ** 2 + out[2] ** 2) + 1e-12


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _set_ray(
    axes: FloatArray, u: float, v: float, distance: float, origin: FloatArray, ray: FloatArray
) -> None:
    """Writes where the ray of a place (u, v) of the picture plane begins, and its unit direction."""
    for k in range(3):
        plane = u * axes[0, k] + v * axes[1, k]
        if distance > 0.0:
            origin[k] = axes[2, k] * distance
            ray[k] = plane - origin[k]
        else:
            origin[k] = plane + axes[2, k] * 2.0
            ray[k] = -axes[2, k]
    ray /= math.sqrt(ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2)


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _trace(
    kinds: IntArray,
    operations: IntArray,
    colours: IntArray,
    rows: FloatArray,
    axes: FloatArray,
    frame: FloatArray,
    distance: float,
    normals: Picture,
    depth: Picture,
    part: IntArray,
) -> None:
    """Fills the buffers; a distance of 0 means a parallel camera. Frame: centre u, v and half side at the origin."""
    side = part.shape[0]
    origin, ray, n, place = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for i in range(side):
        v = frame[1] + frame[2] * (1.0 - (2 * i + 1.0) / side)
        for j in range(side):
            u = frame[0] + frame[2] * ((2 * j + 1.0) / side - 1.0)
            _set_ray(axes, u, v, distance, origin, ray)
            t = _hit(kinds, operations, rows, origin, ray)
            if t < 0.0:
                continue
            place[:] = origin + t * ray
            _set_normal(kinds, operations, rows, place, n)
            normals[i, j] = axes @ n
            depth[i, j] = -(place[0] * axes[2, 0] + place[1] * axes[2, 1] + place[2] * axes[2, 2])
            part[i, j] = scene_colour(kinds, operations, colours, rows, place[0], place[1], place[2])


def trace(shape: Shape, axes: FloatArray, distance: float, side_px: int) -> Buffers:
    """The shape's buffers by a camera at a distance from the origin, 0 for a parallel one; the frame fits the shape."""
    corners = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), -1).reshape(-1, 3) * shape.half_extent
    seen = corners @ axes.T
    flat = seen[:, :2] / (1 - seen[:, 2:] / distance) if distance > 0 else seen[:, :2]
    lower, upper = flat.min(0), flat.max(0)
    frame = np.array([*(lower + upper) / 2, float((upper - lower).max()) * 0.52])
    normals = np.zeros((side_px, side_px, 3), np.float32)
    depth, part = np.zeros((side_px, side_px), np.float32), np.full((side_px, side_px), -1)
    _trace(
        shape.kinds, shape.operations, shape.colours, shape.rows, axes, frame, distance, normals, depth, part
    )  # fmt: skip
    return Buffers(normals, depth, part)


def random_buffers(rng: Generator, shape: Shape, side_px: int) -> Buffers:
    """The shape by a random camera."""
    distance = 0.0 if rng.random() < PARALLEL_SHARE else rng.uniform(2.2, 8.0)
    return trace(shape, random_axes(rng), distance, side_px)


def _palette(rng: Generator) -> Picture:
    """Three colours [3, 3], alike in half of the cases."""
    colours = np.stack([random_colour(rng) for _ in range(3)])
    if rng.random() < 0.5:
        colours[1:] = colours[0]
    return np.clip(colours, 0.03, 1.0)


def _unit(vector: NDArray[np.floating]) -> Picture:
    unit: Picture = (vector / (np.linalg.norm(vector) + 1e-9)).astype(np.float32)
    return unit


def _facets(rng: Generator, normals: Picture) -> Picture:
    """Normals snapped to a few directions in a fifth of the cases, as a coarse mesh with flat faces shows them."""
    if rng.random() > 0.2:
        return normals
    steps = rng.uniform(1.5, 5.0)
    snapped = np.round(normals * steps) / steps
    return (snapped / (np.linalg.norm(snapped, axis=-1, keepdims=True) + 1e-6)).astype(np.float32)


def _lamp(rng: Generator, normals: Picture) -> tuple[Picture, Picture]:
    """Brightness and gloss [S, S] of one lamp: Lambert, or wrapped around the shape by a random share."""
    towards = _unit(np.array([rng.normal(), rng.normal() * 0.7 + 0.5, rng.uniform(0.1, 1.2)]))
    wrap = rng.choice([0.0, rng.uniform(0.0, 1.0), 1.0])
    facing = normals @ towards
    bright = np.clip((facing + wrap) / (1 + wrap), 0, 1) ** np.float32(rng.uniform(0.7, 1.6))
    half = _unit(towards + np.array([0, 0, 1]))
    gloss = np.clip(normals @ half, 0, 1) ** np.float32(rng.uniform(5, 80)) * (rng.random() < 0.4)
    return bright, gloss * np.float32(rng.uniform(0.1, 0.6))


def painted(rng: Generator, buffers: Buffers) -> NDArray[np.uint8]:
    """An RGBA picture [S, S, 4] under one to three lamps, a sky and a ground."""
    normals, covered = _facets(rng, buffers.normals), buffers.covered
    sky, earth = 0.6 + 0.4 * random_colour(rng), 0.3 + 0.5 * random_colour(rng)
    share = normals[..., 1:2] * 0.5 + 0.5
    light = (sky * share + earth * (1 - share)) * np.float32(rng.uniform(0.1, 0.75))
    shine = np.zeros(covered.shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        bright, gloss = _lamp(rng, normals)
        tint = 1 - rng.uniform(0, 0.25, 3).astype(np.float32)
        light, shine = light + bright[..., None] * tint * np.float32(rng.uniform(0.2, 0.8)), shine + gloss
    if rng.random() < 0.25:
        shine = shine + np.float32(rng.uniform(0.1, 0.5)) * (1 - np.clip(normals[..., 2], 0, 1)) ** 3
    if rng.random() < 0.4:
        light = light * _crevices(rng, buffers)[..., None]
    rgb = _palette(rng)[np.maximum(buffers.part, 0)] * light + shine[..., None]
    if rng.random() < 0.35:
        rgb = rgb * (1 + _grain(rng, len(rgb)))
    return _rgba(rgb, covered)


def _crevices(rng: Generator, buffers: Buffers) -> Picture:
    """Darkening [S, S] where the surroundings lie nearer to the camera: ambient occlusion on the screen."""
    depth = np.where(buffers.covered, buffers.depth, 1.5).astype(np.float32)
    around = cv2.GaussianBlur(depth, (0, 0), rng.uniform(2.0, 8.0))
    return np.clip(1 - np.float32(rng.uniform(0.5, 2.5)) * np.clip(depth - around, 0, 0.4), 0.2, 1)


def _grain(rng: Generator, side: int) -> Picture:
    """A texture [S, S, 1] around 0: blotches or stripes."""
    strength = np.float32(rng.uniform(0.03, 0.25))
    if rng.random() < 0.6:
        return smooth_noise(rng, side, int(rng.integers(3, 60))) * strength
    axis = np.arange(side, dtype=np.float32) * np.float32(rng.uniform(0.1, 1.2))
    angle = rng.uniform(0, math.pi)
    wave = np.sin(axis * np.float32(math.cos(angle)) + axis[:, None] * np.float32(math.sin(angle)))
    return wave[..., None] * strength


def _lines(rng: Generator, buffers: Buffers) -> NDArray[np.bool_]:
    """Pixels [S, S] of lines where depth jumps, at times also where direction or part change."""
    kernel = np.ones((3, 3), np.uint8)
    depth = np.where(buffers.covered, buffers.depth, 3.0).astype(np.float32)
    found = cv2.dilate(depth, kernel) - cv2.erode(depth, kernel) > rng.uniform(0.08, 0.3)
    # A steep face is no edge: its depth runs on evenly, so the second difference is small.
    found &= np.abs(cv2.Laplacian(depth, cv2.CV_32F, ksize=1)) > 0.03
    if rng.random() < 0.7:
        bend = cv2.dilate(buffers.normals, kernel) - cv2.erode(buffers.normals, kernel)
        found |= (bend.max(-1) > rng.uniform(0.4, 1.0)) & buffers.covered
    if rng.random() < 0.7:
        part = buffers.part.astype(np.float32)
        found |= cv2.dilate(part, kernel) != cv2.erode(part, kernel)
    if rng.random() < 0.4:
        found = cv2.dilate(found.astype(np.uint8), kernel) > 0
    return found


def inked(rng: Generator, buffers: Buffers) -> NDArray[np.uint8]:
    """An RGBA picture [S, S, 4] of flat colours or tone steps, mostly with lines, at times of lines alone."""
    tone: NDArray[np.floating] = np.ones(buffers.covered.shape)
    if rng.random() < 0.6:
        bright, _ = _lamp(rng, _facets(rng, buffers.normals))
        steps = int(rng.integers(1, 5))
        tone = rng.uniform(0.3, 0.8) + (1 - rng.uniform(0.3, 0.8)) * np.round(bright * steps) / steps
    colours = _palette(rng)
    if rng.random() < 0.2:
        colours = 1 - 0.15 * colours
    rgb = colours[np.maximum(buffers.part, 0)] * tone.astype(np.float32)[..., None]
    has_lines = rng.random() < 0.8
    lines = _lines(rng, buffers) & has_lines
    ink = np.clip(random_colour(rng) * rng.uniform(0, 0.5), 0, 1)
    return _rgba(np.where(lines[..., None], ink, rgb), buffers.covered | (lines & bool(rng.random() < 0.7)))


def _rgba(rgb: NDArray[np.floating], covered: NDArray[np.bool_]) -> NDArray[np.uint8]:
    pixels = (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.concatenate([pixels, covered[..., None].astype(np.uint8) * 255], -1)
