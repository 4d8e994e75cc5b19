"""Draws the sample pictures: shapes of the families that the embedded model knows, standing in a room.

    python -m examples.draw_pictures

The room is not plain on purpose: a wall that darkens to one side, a floor, a shadow, a little grain. Needs what
training needs (requirements-dev.txt); the pictures are in git, so serving does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from training.renders import random_view, render
from training.shapes import random_shape

FOLDER = Path(__file__).parent / "pictures"
STUDIO_FOLDER = Path(__file__).parents[1] / "studio" / "src" / "examples"
SIDE_PX = 512
OBJECT_PX = 336
HORIZON = 0.66
"""Where the wall meets the floor, as a share of the height."""

Pixels = NDArray[np.float64]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Sample:
    """One picture: which shape, from where, in which colours (sRGB 0..1), before which wall."""

    family: str
    seed: int
    azimuth_deg: float
    colours: tuple[Colour, Colour, Colour]
    wall: Colour


SAMPLES = (
    Sample("rocket", 3, 12.0, ((0.85, 0.25, 0.2), (0.92, 0.9, 0.85), (0.2, 0.3, 0.5)), (0.30, 0.42, 0.50)),
    Sample("vase", 5, 10.0, ((0.88, 0.62, 0.2), (0.88, 0.62, 0.2), (0.88, 0.62, 0.2)), (0.26, 0.34, 0.42)),
    Sample("mug", 2, 20.0, ((0.85, 0.3, 0.25), (0.85, 0.3, 0.25), (0.85, 0.3, 0.25)), (0.45, 0.52, 0.46)),
)


def draw(sample: Sample) -> Image.Image:
    """The picture, RGB."""
    rng = np.random.default_rng(sample.seed)
    cut = _object(sample, rng)
    return _standing_in(_room(np.asarray(sample.wall), rng), cut)


def true_opacity(sample: Sample) -> Pixels:
    """The object's opacity in the picture, 0..1, [side, side]."""
    return _placed(_object(sample, np.random.default_rng(sample.seed)))[0][..., 3]


def _object(sample: Sample, rng: np.random.Generator) -> Pixels:
    shape = random_shape(rng, sample.family)
    light = np.array([-0.55, 0.75, 0.6])
    view = replace(
        random_view(rng),
        azimuth_deg=sample.azimuth_deg,
        elevation_deg=14.0,
        fov_deg=30.0,
        fit=1.5,
        colours=np.array(sample.colours),
        light=light / np.linalg.norm(light),
        ambient=0.35,
        fill=0.15,
        specular=0.25,
        shininess=25.0,
        pattern=np.zeros(4),
    )
    return render(shape, view, OBJECT_PX).astype(np.float64) / 255


def _room(wall: Pixels, rng: np.random.Generator) -> Pixels:
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX
    lamp = np.exp(-((x - 0.3) ** 2 + (y - 0.25) ** 2) / 0.35)
    wall_light = (0.45 + 0.75 * lamp)[..., None] * wall
    floor_light = (0.75 + 0.55 * np.exp(-((x - 0.42) ** 2 + (y - 0.85) ** 2) / 0.2))[..., None] * (
        0.62 * wall + 0.16
    )
    blend = np.clip((y - HORIZON) / 0.04 + 0.5, 0, 1)[..., None]
    grain = ndimage.gaussian_filter(rng.normal(0, 1, (SIDE_PX, SIDE_PX)), 1.2)[..., None] * 0.012
    return np.clip(wall_light + (floor_light - wall_light) * blend + grain, 0, 1)


def _placed(cut: Pixels) -> tuple[Pixels, int]:
    """The object [side, side, 4] at its place in the picture, and the row of its foot."""
    foot = int(np.flatnonzero(cut[..., 3].max(axis=1) > 0)[-1])
    top, left = round(0.84 * SIDE_PX) - foot, (SIDE_PX - OBJECT_PX) // 2
    layer = np.zeros((SIDE_PX, SIDE_PX, 4))
    layer[top : top + OBJECT_PX, left : left + OBJECT_PX] = cut
    return layer, top + foot


def _standing_in(room: Pixels, cut: Pixels) -> Image.Image:
    layer, foot_row = _placed(cut)
    ground = room * (1 - _shadow(layer[..., 3], foot_row))
    picture = ground + (layer[..., :3] - ground) * layer[..., 3:]
    return Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))


def _shadow(alpha: Pixels, foot_row: int) -> Pixels:
    """Darkness on the floor round the object's foot, 0..1, [side, side, 1]."""
    columns = np.flatnonzero(alpha[foot_row - 26 : foot_row].max(axis=0) > 0.5)
    centre, half = columns.mean() + 15, max(np.ptp(columns) / 2, 20) * 1.25
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    distance = ((x - centre) / half) ** 2 + ((y - foot_row + 8) / (0.26 * half)) ** 2
    return ndimage.gaussian_filter(0.55 * (distance < 1), 7)[..., None]


def main() -> None:
    """Writes every sample as a PNG, and as a WebP of some kilobytes for the studio."""
    FOLDER.mkdir(exist_ok=True)
    for sample in SAMPLES:
        picture = draw(sample)
        picture.save(FOLDER / f"{sample.family}.png", optimize=True)
        picture.save(STUDIO_FOLDER / f"{sample.family}.webp", quality=90, method=6)


if __name__ == "__main__":
    main()
