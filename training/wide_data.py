"""Data for further training: `python -m training.wide_data`. Wider proportions, three renderers, wear and tear.

A chunk holds 500 shapes with three pictures each: one by `renders`, two by `looks` from another camera; most are put
through `wear`. Grids, points and distances are as in `data`. Seeded; a chunk that exists is not made again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.data import (
    FOLDER,
    GRID_CLAMP,
    GRID_HALF_SIDE,
    GRID_SIDE,
    IMAGE_PX,
    POINTS_PER_SHAPE,
    conditioner_view,
    query_points,
    share_out,
)
from training.looks import MAX_AZIMUTH_DEG, USUAL_AZIMUTH_DEG, USUAL_SHARE, inked, painted, random_buffers
from training.proportions import wide_shape
from training.renders import random_view, render
from training.shapes import FAMILY_NAMES, Shape, grid_points, sdf
from training.wear import worn

SEED = 21_26
NUM_CHUNKS, SHAPES_PER_CHUNK, NUM_PICTURES = 60, 500, 3
RENDER_PX = (100, 152)
WORN_SHARE = 0.65
# The families that the model sees worst are drawn this many times as often.
DRAWS = {"table": 3, "chair": 3, "mug": 2, "bowl": 2, "box": 2}
DRAWN_FAMILIES = tuple(name for name in FAMILY_NAMES for _ in range(DRAWS.get(name, 1)))


def wide_pictures(rng: Generator, shape: Shape) -> list[NDArray[np.uint8]]:
    """NUM_PICTURES pictures [side, side, 4] of the shape, one by each of the training renderers."""
    reach = USUAL_AZIMUTH_DEG if rng.random() < USUAL_SHARE else MAX_AZIMUTH_DEG
    own = render(shape, random_view(rng, reach), int(rng.integers(*RENDER_PX)))
    buffers = random_buffers(rng, shape, int(rng.integers(*RENDER_PX)))
    made = [own, painted(rng, buffers), inked(rng, buffers)]
    return [worn(rng, one) if rng.random() < WORN_SHARE else one for one in made]


def make_item(rng: Generator, family: str) -> dict[str, Any]:
    """One shape with its pictures as the conditioner sees them, coarse grid, query points and their distances."""
    shape = wide_shape(rng, family)
    views = [conditioner_view(picture, IMAGE_PX) for picture in wide_pictures(rng, shape)]
    points = query_points(rng, shape, POINTS_PER_SHAPE)
    grid = sdf(shape, grid_points(GRID_SIDE, GRID_HALF_SIDE))
    return {
        "image": np.stack(views),
        "grid": grid.clip(-GRID_CLAMP, GRID_CLAMP).astype(np.float16),
        "points": points,
        "distances": sdf(shape, points).clip(-1, 1).astype(np.float16),
        "family": np.int64(FAMILY_NAMES.index(family)),
    }


def chunk_path(index: int, folder: Path = FOLDER) -> Path:
    """Where a chunk lies."""
    return folder / f"wide_{index:03d}.npz"


def make_chunk(index: int, folder: Path = FOLDER) -> None:
    """Writes chunk `index`; it appears whole or not at all."""
    path = chunk_path(index, folder)
    if path.exists():
        return
    rng = np.random.default_rng([SEED, index])
    families = rng.permutation(np.resize(np.array(DRAWN_FAMILIES), SHAPES_PER_CHUNK)).tolist()
    items = [make_item(rng, family) for family in families]
    partial = path.with_suffix(".partial.npz")
    arrays: dict[str, Any] = {name: np.stack([item[name] for item in items]) for name in items[0]}
    np.savez(partial, **arrays)
    os.replace(partial, path)


if __name__ == "__main__":
    share_out(make_chunk, NUM_CHUNKS, __doc__)
