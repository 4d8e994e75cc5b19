"""Grounds for matting pictures: plain, gradients, noise, patterns, clutter, horizons, floors in perspective.

A ground is float32 [side, side, 3], sRGB in 0..1, painted with a palette: float32 [4, 3]. Sizes inside are shares
of the side, so that a ground looks alike at any side. Knows no objects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Ground = Callable[[Generator, int, Picture], Picture]

_SUBPIXEL_BITS = 4
NUM_COLOURS = 4


def random_colour(rng: Generator) -> Picture:
    """One sRGB colour [3]: any hue, greys and pale tones as often as strong ones."""
    hsv = np.array([[[rng.uniform(0, 360), rng.uniform(0, 1) ** 2, rng.uniform(0.03, 1) ** 0.6]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]


def random_palette(rng: Generator, anchor: Picture | None = None) -> Picture:
    """Four colours [4, 3]: unrelated, or scattered around one colour, which may be given."""
    if anchor is None and rng.random() < 0.5:
        return np.stack([random_colour(rng) for _ in range(NUM_COLOURS)])
    centre = random_colour(rng) if anchor is None else anchor
    scatter = rng.normal(size=(NUM_COLOURS, 3)) * rng.uniform(0.01, 0.08)
    brightness = rng.normal(size=(NUM_COLOURS, 1)) * rng.uniform(0.02, 0.3)
    return np.clip(centre + scatter + brightness, 0, 1).astype(np.float32)


def smooth_noise(rng: Generator, side: int, cells: int, channels: int = 1) -> Picture:
    """Noise [side, side, channels] around 0, about as wide as 1, that changes over 1 / cells of the side."""
    grid = rng.standard_normal((cells + 1, cells + 1, channels), np.float32)
    return cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC).reshape(side, side, channels)


def octaves(rng: Generator, side: int, channels: int = 1) -> Picture:
    """Noise of many scales [side, side, channels], coarse over fine by a random ratio, scaled to about 0..1."""
    total = np.zeros((side, side, channels), np.float32)
    cells, weight, ratio = int(rng.integers(1, 6)), 1.0, rng.uniform(0.35, 0.95)
    while cells < side // 2 and weight > 0.03:
        total += weight * smooth_noise(rng, side, cells, channels)
        cells, weight = cells * 2, weight * ratio
    spread = total.std() * rng.uniform(1.5, 3.5) + 1e-6
    return np.clip((total - total.mean()) / spread + 0.5, 0, 1)


def _axes(side: int) -> tuple[Picture, Picture]:
    """Coordinates [side, side] along x and y, -1..1."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    return np.broadcast_to(axis, (side, side)), np.broadcast_to(axis[:, None], (side, side))


def _along(rng: Generator, side: int) -> Picture:
    """A coordinate [side, side] along a random direction, -1..1."""
    angle = rng.uniform(0, 2 * np.pi)
    x, y = _axes(side)
    return (np.cos(angle) * x + np.sin(angle) * y) / (abs(np.cos(angle)) + abs(np.sin(angle)))


def _painted(share: NDArray[Any], palette: Picture, count: int = 3) -> Picture:
    """The palette's first colours, mixed by a field [side, side] in 0..1."""
    steps = np.linspace(0, count - 1, 256)
    table = np.stack([np.interp(steps, np.arange(count), palette[:count, k]) for k in range(3)], -1)
    level = (np.clip(share, 0, 1) * 255).astype(np.uint8)
    return cv2.LUT(cv2.merge([level] * 3), table[None].astype(np.float32))


def plain(rng: Generator, side: int, palette: Picture) -> Picture:
    """One colour, most often near white, at times with a faint gradient."""
    kind = rng.random()
    level = rng.uniform(0.85, 1.0) if kind < 0.5 else rng.uniform(0.0, 0.15)
    colour = palette[0] if kind >= 0.6 else np.clip(level + rng.normal(size=3) * 0.015, 0, 1)
    ramp = _along(rng, side)[..., None] * rng.uniform(0, 0.06)
    return (colour + ramp).astype(np.float32)


def gradient(rng: Generator, side: int, palette: Picture) -> Picture:
    """Two or three colours, mixed along a direction or outwards from a point; dark ones too."""
    share = _along(rng, side) / 2 + 0.5
    if rng.random() < 0.4:
        x, y = _axes(side)
        centre = rng.uniform(-0.6, 0.6, 2)
        share = np.hypot(x - centre[0], y - centre[1]) / rng.uniform(0.9, 2.0)
    gain = rng.uniform(0.1, 0.5) if rng.random() < 0.2 else 1.0
    return _painted(share ** np.float32(rng.uniform(0.5, 2)), palette, int(rng.integers(2, 4))) * np.float32(
        gain
    )


def clouds(rng: Generator, side: int, palette: Picture) -> Picture:
    """Noise of many scales, painted with the palette."""
    return _painted(octaves(rng, side)[..., 0], palette, int(rng.integers(2, 5)))


def grain(rng: Generator, side: int, palette: Picture) -> Picture:
    """Fine coloured grain on a gradient, as of carpet, gravel or cloth."""
    ground = gradient(rng, side, palette)
    fine = smooth_noise(rng, side, int(side * rng.uniform(0.2, 0.7)), 1 if rng.random() < 0.6 else 3)
    return ground + fine * np.float32(rng.uniform(0.03, 0.2))


def stripes(rng: Generator, side: int, palette: Picture) -> Picture:
    """Stripes, checks or waves, straight or bent."""
    waves = rng.uniform(2, 30)
    bend = smooth_noise(rng, side, 3)[..., 0] * rng.uniform(0, 0.3) * (rng.random() < 0.4)
    first = np.sin((_along(rng, side) + bend) * np.float32(np.pi * waves) + rng.uniform(0, 6))
    kind = rng.random()
    if kind < 0.4:
        x, y = _axes(side)
        first = np.sin(x * np.pi * waves) * np.sin(y * np.pi * waves * rng.uniform(0.6, 1.6))
    hardness = rng.uniform(0.7, 12)
    return _painted(np.clip(first * hardness / 2 + 0.5, 0, 1), palette, 2)


def cells(rng: Generator, side: int, palette: Picture) -> Picture:
    """Irregular cells of the palette's colours, as of stones or a crackle."""
    seeds = np.full((side, side), 255, np.uint8)
    count = int(rng.integers(5, 120))
    seeds[rng.integers(0, side, count), rng.integers(0, side, count)] = 0
    distance, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colours = palette[rng.integers(0, NUM_COLOURS, count + 1)] + rng.normal(size=(count + 1, 3)) * 0.06
    shade = 1 - np.minimum(distance / side * rng.uniform(0, 6), 0.6)
    return colours[labels].astype(np.float32) * shade[..., None]


def tiles(rng: Generator, side: int, palette: Picture) -> Picture:
    """Tiles, bricks or planks: each of its own tone, with joints between."""
    rows, columns = rng.integers(2, 16, 2)
    x, y = (axis / 2 + 0.5 for axis in _axes(side))
    row = np.minimum((y * rows).astype(np.int32), rows - 1)
    shifted = x * columns + (row % 2) * (0.5 if rng.random() < 0.5 else 0.0)
    tone = rng.normal(size=(rows, columns + 1)).astype(np.float32) * rng.uniform(0, 0.15)
    joint = (np.abs(shifted % 1 - 0.5) > 0.47) | (np.abs((y * rows) % 1 - 0.5) > 0.46)
    ground = palette[0] + tone[row, shifted.astype(np.int32)][..., None]
    return np.where(joint[..., None] & bool(rng.random() < 0.7), palette[1], ground).astype(np.float32)


def draw_flat_shape(
    rng: Generator, picture: Picture, colour: NDArray[Any], centre: NDArray[Any], radius: float
) -> None:
    """Draws an ellipse, a polygon or a bar of one colour; lengths are shares of the side."""
    unit = len(picture) << _SUBPIXEL_BITS
    count = int(rng.integers(3, 8))
    angles = (
        np.sort(rng.uniform(0, 2 * np.pi, count))
        if rng.random() < 0.5
        else np.arange(count) * 2 * np.pi / count
    )
    reach = radius * np.array([1.0, rng.uniform(0.15, 1.0)])
    turn = rng.uniform(0, np.pi)
    kind = rng.random()
    if kind < 0.4:
        size = tuple(int(r * unit) for r in reach)
        at = tuple(int(c * unit) for c in centre)
        cv2.ellipse(
            picture, at, size, np.degrees(turn), 0, 360, colour.tolist(), -1, cv2.LINE_AA, _SUBPIXEL_BITS
        )
        return
    if kind < 0.6:
        angles, count = np.array([0.6, 2.54, 3.74, 5.68]), 4
    ragged = rng.uniform(0.4, 1, count) if kind > 0.85 else np.ones(count)
    flat = np.stack([np.cos(angles), np.sin(angles)], 1) * ragged[:, None] * reach
    c, s = np.cos(turn), np.sin(turn)
    points = ((flat @ np.array([[c, s], [-s, c]]) + centre) * unit).astype(np.int32)
    cv2.fillPoly(picture, [points], colour.tolist(), cv2.LINE_AA, _SUBPIXEL_BITS)


def clutter(rng: Generator, side: int, palette: Picture) -> Picture:
    """Flat shapes of many sizes over each other, as in a photograph far out of focus or a busy shelf."""
    picture = np.ascontiguousarray(gradient(rng, side, palette), np.float32)
    largest = rng.uniform(0.08, 0.5)
    is_related = rng.random() < 0.6
    for _ in range(int(rng.integers(6, 60))):
        colour = (
            palette[rng.integers(NUM_COLOURS)] + rng.normal(size=3) * 0.1
            if is_related
            else random_colour(rng)
        )
        radius = largest * rng.uniform(0.08, 1) ** 1.5
        draw_flat_shape(rng, picture, np.clip(colour, 0, 1), rng.uniform(-0.1, 1.1, 2), radius)
    return picture


def photo(rng: Generator, side: int, palette: Picture) -> Picture:
    """Noise of many scales in all channels, over clutter at times: something like a photograph's statistics."""
    base = clutter(rng, side, palette) if rng.random() < 0.6 else gradient(rng, side, palette)
    if rng.random() < 0.5:
        base = defocused(rng, base)
    shared = octaves(rng, side) - 0.5
    own = octaves(rng, side, 3) - 0.5
    return base + shared * np.float32(rng.uniform(0, 0.6)) + own * np.float32(rng.uniform(0, 0.25))


def horizon(rng: Generator, side: int, palette: Picture) -> Picture:
    """One ground above a tilted line, another one below, at times in perspective: a table or a floor."""
    upper = _any_of(rng, _WALLS)(rng, side, palette)
    lower = _any_of(rng, _FLOORS)(rng, side, random_palette(rng) if rng.random() < 0.6 else palette[::-1])
    height = rng.uniform(0.1, 0.85)
    if rng.random() < 0.6:
        lower = _laid_flat(rng, np.ascontiguousarray(lower, np.float32), height)
    x, y = _axes(side)
    edge = side * 0.5 if rng.random() < 0.7 else rng.uniform(3, 30)
    line = y / 2 + 0.5 - height - x * rng.uniform(-0.12, 0.12)
    share = np.clip(line * np.float32(edge) + 0.5, 0, 1)[..., None]
    return upper * (1 - share) + lower * share


def _laid_flat(rng: Generator, texture: Picture, height: float) -> Picture:
    """A texture as a floor seen in perspective below a horizon at the given height."""
    side = len(texture)
    spread = rng.uniform(0.6, 4)
    source = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    top, left, right = height * side, (0.5 - spread / 2) * side, (0.5 + spread / 2) * side
    squeeze = rng.uniform(0.15, 0.7)
    middle = side * rng.uniform(0.3, 0.7)
    far_left, far_right = middle + (left - middle) * squeeze, middle + (right - middle) * squeeze
    target = np.array([[far_left, top], [far_right, top], [right, side], [left, side]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    return cv2.warpPerspective(
        texture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )


def defocused(rng: Generator, picture: Picture) -> Picture:
    """The picture out of focus by a random amount."""
    return cv2.GaussianBlur(np.ascontiguousarray(picture), (0, 0), len(picture) * rng.uniform(0.003, 0.03))


def _any_of(rng: Generator, grounds: tuple[Ground, ...]) -> Ground:
    return grounds[rng.integers(len(grounds))]


_WALLS: tuple[Ground, ...] = (plain, gradient, gradient, clouds, clutter, photo, stripes, tiles)
_FLOORS: tuple[Ground, ...] = (plain, gradient, clouds, grain, stripes, tiles, cells, photo)
PLAIN_GROUNDS: tuple[Ground, ...] = (plain,)
BUSY_GROUNDS: tuple[Ground, ...] = (
    gradient,
    gradient,
    clouds,
    clouds,
    grain,
    stripes,
    tiles,
    horizon,
    horizon,
    photo,
)
HARD_GROUNDS: tuple[Ground, ...] = (*BUSY_GROUNDS, cells, clutter, photo, horizon)


def random_ground(
    rng: Generator, side: int, grounds: tuple[Ground, ...], anchor: Picture | None = None
) -> Picture:
    """One of the grounds [side, side, 3], at times out of focus; with an anchor its palette lies around that colour."""
    ground = _any_of(rng, grounds)(rng, side, random_palette(rng, anchor))
    return defocused(rng, ground) if rng.random() < 0.25 else ground
