"""Pictures with a known mask: a rendered object, its shadow, flat distractors, a ground, and a camera's faults.

Objects are RGBA renders of the families and of random unions of primitives, so that a network learns figure and
ground rather than eighteen things. `python -m training.composites` renders them once. Everything is drawn from a
generator that the caller gives. Knows no network.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.grounds import (
    BUSY_GROUNDS,
    HARD_GROUNDS,
    PLAIN_GROUNDS,
    Ground,
    Picture,
    draw_flat_shape,
    gradient,
    octaves,
    random_colour,
    random_ground,
    random_palette,
    smooth_noise,
    stripes,
)
from training.renders import random_view, render
from training.shapes import FAMILY_NAMES, Shape, random_shape
from training.solids import BOX, CAPSULE, CONE, ELLIPSOID, PRISM, SMOOTH_UNION, TORUS, Primitive, assemble

PATH = Path(__file__).parent / "data" / "foregrounds.npy"
SEED = 31
NUM_FOREGROUNDS, FOREGROUND_PX = 5000, 192
UNION_SHARE = 0.25
"""So many of the objects are random unions of primitives, of no family."""
EMPTY_SHARE = 0.02
"""So many of the training pictures show no object at all."""
MAX_SCALE = 0.95


@dataclass(frozen=True)
class Composite:
    """A picture uint8 [side, side, 3] and the true opacity of its object, float32 [side, side] in 0..1."""

    picture: NDArray[np.uint8]
    alpha: NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """How a kind of composite is drawn; shares are of the pictures, scales of the frame's side."""

    grounds: tuple[Ground, ...]
    distractor_share: float
    camouflage_share: float
    """Pictures whose ground is painted in colours near the object's own."""
    min_scale: float
    faults: float
    """Strength of uneven light, tone curve, blur and noise; 1 is a bad telephone at night."""


PLAIN = Kind(PLAIN_GROUNDS, distractor_share=0.0, camouflage_share=0.0, min_scale=0.25, faults=0.5)
BUSY = Kind(BUSY_GROUNDS, distractor_share=0.45, camouflage_share=0.03, min_scale=0.25, faults=0.5)
HARD = Kind(HARD_GROUNDS, distractor_share=0.5, camouflage_share=0.15, min_scale=0.2, faults=1.0)
KINDS = {"plain": PLAIN, "busy": BUSY, "hard": HARD}
TRAINING_KINDS, TRAINING_SHARES = (PLAIN, BUSY, HARD), (0.2, 0.5, 0.3)


# --- objects --------------------------------------------------------------------------------------------------


def _random_primitive(rng: Generator) -> Primitive:
    kind = int(rng.choice([ELLIPSOID, BOX, CONE, TORUS, CAPSULE, PRISM]))
    sizes = rng.uniform(0.12, 0.7, 3)
    if kind == TORUS:
        sizes = np.array([sizes[0] + 0.2, rng.uniform(0.08, 0.2), 0.0])
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    centre = rng.uniform(-0.6, 0.6, 3)
    return Primitive(
        kind,
        tuple(sizes[: 2 if kind in (TORUS, CAPSULE) else 3]),
        (centre[0], centre[1], centre[2]),
        turn if rng.random() < 0.6 else None,
        rounding=rng.uniform(0, 0.08) if kind in (BOX, CONE, PRISM) else 0.0,
        operation=SMOOTH_UNION if rng.random() < 0.3 else 0,
        blend=0.1,
        colour=int(rng.integers(3)),
    )


def random_union(rng: Generator) -> Shape:
    """Two to six primitives of any kind, size and turn, near each other: a thing of no family."""
    return assemble("union", [_random_primitive(rng) for _ in range(int(rng.integers(2, 7)))])


def random_foreground(rng: Generator, side_px: int, family: str | None = None) -> NDArray[np.uint8]:
    """An RGBA render [side_px, side_px, 4] of a family or, without one, of a random union; from many sides."""
    shape = random_union(rng) if family is None else random_shape(rng, family)
    view = random_view(rng, 180.0 if rng.random() < 0.3 else 35.0)
    if rng.random() < 0.2:
        view = dataclasses.replace(view, elevation_deg=rng.uniform(-10.0, 70.0))
    return render(shape, view, side_px)


def make_foregrounds(count: int, seed: int) -> NDArray[np.uint8]:
    """Objects [count, side, side, 4] for training."""
    rng = np.random.default_rng([seed, 1])
    names = [
        None if rng.random() < UNION_SHARE else FAMILY_NAMES[i % len(FAMILY_NAMES)] for i in range(count)
    ]
    return np.stack([random_foreground(rng, FOREGROUND_PX, name) for name in names])


def load_foregrounds() -> NDArray[np.uint8]:
    """The training objects; rendered and written first if they are not there."""
    if not PATH.exists():
        PATH.parent.mkdir(exist_ok=True)
        np.save(PATH, make_foregrounds(NUM_FOREGROUNDS, SEED))
    return np.load(PATH, mmap_mode="r")


def _recoloured(rng: Generator, rgb: Picture) -> Picture:
    """The object in other colours, at times with a texture or a print on it."""
    kind = rng.random()
    if kind < 0.3:
        rgb = rgb[..., rng.permutation(3)]
    rgb = cv2.pow(np.ascontiguousarray(rgb), rng.uniform(0.5, 1.4)) * rng.uniform(0.75, 1.25, 3).astype(
        np.float32
    )
    side = len(rgb)
    if kind > 0.85:
        rgb = (
            rgb * (0.5 + octaves(rng, side))
            if kind > 0.92
            else rgb * (1 + 0.25 * smooth_noise(rng, side, side // 3))
        )
    elif kind > 0.72:
        print_ = stripes(rng, side, random_palette(rng))
        brightness = rgb.mean(-1, keepdims=True) / max(float(rgb.mean()), 0.05)
        share = np.float32(rng.uniform(0.2, 0.8))
        rgb = rgb * (1 - share) + print_ * brightness * share
    return np.clip(rgb, 0, 1)


def placed(rng: Generator, foreground: NDArray[np.uint8], side: int, min_scale: float) -> Picture:
    """The object, recoloured, turned and moved: premultiplied RGBA float32 [side, side, 4] in 0..1."""
    rgba = foreground.astype(np.float32) / np.float32(255)
    rgba[..., :3] = _recoloured(rng, rgba[..., :3]) * rgba[..., 3:]
    if rng.random() < 0.5:
        rgba = rgba[:, ::-1]
    size = rng.uniform(min_scale, MAX_SCALE) * side
    width, height = (max(8, round(size * s)) for s in (rng.uniform(0.8, 1), rng.uniform(0.8, 1)))
    small = cv2.resize(np.ascontiguousarray(rgba), (width, height), interpolation=cv2.INTER_AREA)
    degrees = rng.normal() * 8 if rng.random() < 0.7 else rng.uniform(-180, 180)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees if rng.random() < 0.4 else 0.0, 1.0)
    freedom = np.maximum(side - np.array([width, height]), 0)
    corner = freedom * (rng.uniform(0, 1, 2) if rng.random() < 0.6 else rng.uniform(0.35, 0.65, 2))
    matrix[:, 2] += corner
    return cv2.warpAffine(small, matrix, (side, side), flags=cv2.INTER_LINEAR)


# --- shadows and distractors ----------------------------------------------------------------------------------


def _box(alpha: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """First and last row, first and last column where there is an object."""
    rows, columns = np.flatnonzero(alpha.max(1) > 0.5), np.flatnonzero(alpha.max(0) > 0.5)
    if len(rows) == 0 or len(columns) == 0:
        return 0, 0, 0, 0
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def _contact_shadow(rng: Generator, alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """A soft dark ellipse under the object."""
    top, bottom, left, right = _box(alpha)
    width = (right - left) * rng.uniform(0.3, 0.65)
    height = max(1.0, (bottom - top) * rng.uniform(0.02, 0.14))
    shade = np.zeros_like(alpha)
    at = (
        round((left + right) / 2 + width * rng.normal() * 0.2),
        round(bottom - height * rng.uniform(-0.3, 0.8)),
    )
    cv2.ellipse(shade, at, (max(1, round(width)), max(1, round(height))), 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(shade, (0, 0), max(0.5, height * rng.uniform(0.2, 1.2)))


def _cast_shadow(rng: Generator, alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """The object's outline, leaned and squashed about its lowest row, or moved aside as on a wall behind."""
    _, bottom, _, _ = _box(alpha)
    side = len(alpha)
    if rng.random() < 0.3:
        matrix = np.array([[1, 0, rng.normal() * 0.05 * side], [0, 1, rng.normal() * 0.04 * side]])
    else:
        lean, squash = rng.uniform(-1.3, 1.3), rng.uniform(0.15, 0.7) * (1 if rng.random() < 0.8 else -1)
        matrix = np.array(
            [[1, -lean * abs(squash), lean * abs(squash) * bottom], [0, squash, bottom * (1 - squash)]]
        )
    shade = cv2.warpAffine(alpha, matrix.astype(np.float32), (side, side))
    return cv2.GaussianBlur(shade, (0, 0), side * rng.uniform(0.003, 0.03))


def _shaded(rng: Generator, ground: Picture, alpha: NDArray[np.float32]) -> Picture:
    """The ground with the object's shadows on it, if it has any."""
    for draw in (_contact_shadow, _cast_shadow):
        if rng.random() < 0.4:
            depth = rng.uniform(0.1, 0.8) * (1 - rng.uniform(0, 0.15, 3))
            ground = ground * (1 - draw(rng, alpha)[..., None] * depth.astype(np.float32))
    return ground


def _with_distractors(rng: Generator, ground: Picture) -> Picture:
    """The ground with one to four flat shapes on it: flat colour, gradient or pattern, at times with a shadow."""
    for _ in range(int(rng.integers(1, 5))):
        side = len(ground)
        cover = np.zeros((side, side), np.float32)
        draw_flat_shape(rng, cover, np.ones(1), rng.uniform(0, 1, 2), rng.uniform(0.03, 0.28))
        if rng.random() < 0.3:
            moved = np.roll(cover, rng.integers(-side // 20, side // 20 + 1, 2), (0, 1))
            blurred = cv2.GaussianBlur(moved, (0, 0), side * rng.uniform(0.003, 0.02))
            ground = ground * (1 - blurred[..., None] * np.float32(rng.uniform(0.1, 0.6)))
        paint: Picture = random_colour(rng)
        if rng.random() < 0.35:
            paint = (gradient if rng.random() < 0.6 else stripes)(rng, side, random_palette(rng))
        share = cover[..., None] * np.float32(1.0 if rng.random() < 0.8 else rng.uniform(0.4, 1))
        ground = ground * (1 - share) + paint * share
    return ground


# --- the camera -----------------------------------------------------------------------------------------------


def _photographed(rng: Generator, picture: Picture, faults: float) -> NDArray[np.uint8]:
    """The picture under uneven light, with a tone curve, blur, noise and compression."""
    side = len(picture)
    if rng.random() < 0.3:
        picture = picture * (
            1
            + smooth_noise(rng, side, int(rng.integers(1, 3))) * np.float32(rng.uniform(0.03, 0.25) * faults)
        )
    if rng.random() < 0.5:
        tint = 1 + faults * (rng.uniform(-0.12, 0.08, 3) + rng.uniform(-0.25, 0.1))
        gamma = 1 + faults * rng.uniform(-0.3, 0.5)
        picture = cv2.pow(np.clip(picture, 0, 1), gamma) * tint.astype(np.float32)
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(
            np.ascontiguousarray(picture, np.float32), (0, 0), side * (0.001 + rng.uniform(0, 0.007) * faults)
        )
    if rng.random() < 0.5:
        picture = picture + rng.standard_normal(picture.shape, np.float32) * np.float32(
            rng.uniform(0.003, 0.06) * faults
        )
    pixels = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    if rng.random() < 0.25:
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))])
        pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return pixels


def make_composite(rng: Generator, foreground: NDArray[np.uint8] | None, side: int, kind: Kind) -> Composite:
    """A picture of the object, or of none, of the given kind."""
    layer = np.zeros((side, side, 4), np.float32)
    if foreground is not None:
        layer = placed(rng, foreground, side, kind.min_scale)
    alpha = np.clip(layer[..., 3], 0, 1)
    anchor = None
    if foreground is not None and rng.random() < kind.camouflage_share:
        anchor = layer[..., :3].sum((0, 1)) / max(float(alpha.sum()), 1.0)
    ground = random_ground(rng, side, kind.grounds, anchor)
    if rng.random() < kind.distractor_share:
        ground = _with_distractors(rng, ground)
    if foreground is not None:
        ground = _shaded(rng, ground, alpha)
    picture = np.clip(ground, 0, 1) * (1 - alpha[..., None]) + layer[..., :3]
    return Composite(_photographed(rng, picture, kind.faults), alpha)


def training_composite(rng: Generator, foregrounds: NDArray[np.uint8], side: int) -> Composite:
    """A random picture for training; a tenth is drawn twice as large first, as fine detail really looks."""
    foreground = None if rng.random() < EMPTY_SHARE else foregrounds[rng.integers(len(foregrounds))]
    kind = TRAINING_KINDS[rng.choice(len(TRAINING_KINDS), p=TRAINING_SHARES)]
    if rng.random() < 0.9:
        return make_composite(rng, foreground, side, kind)
    large = make_composite(rng, foreground, 2 * side, kind)
    picture, alpha = (
        cv2.resize(a, (side, side), interpolation=cv2.INTER_AREA) for a in (large.picture, large.alpha)
    )
    return Composite(picture, alpha)


def main() -> None:
    """Renders the training objects."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(f"{len(load_foregrounds())} objects in {PATH}")


if __name__ == "__main__":
    main()
