"""Training data, made once: `python -m training.data`. Seeded; a chunk that exists is not made again.

A chunk holds 1,000 shapes with one picture each: the picture as the conditioner will see it, a coarse grid of
distances (what the encoder and the first conditioner training see) and points with distances (what the decoder
must reproduce). Several processes share the work: `--worker 0 --num-workers 2` and `--worker 1 --num-workers 2`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from PIL import Image

from hy3dgen.families.variants import BORDER_RATIO
from hy3dgen.networks.image_encoder import resize_shorter_side
from hy3dgen.networks.image_prep import prepare_image
from training.renders import random_view, render
from training.shapes import FAMILY_NAMES, THIN_FAMILIES, Shape, grid_points, random_shape, sdf
from training.solids import FloatArray, IntArray, scene_distance

FOLDER = Path(__file__).parent / "data"
SEED = 20_26
NUM_CHUNKS = 48
SHAPES_PER_CHUNK = 1000
IMAGE_PX = 112
RENDER_PX = (104, 168)
GRID_SIDE, GRID_HALF_SIDE, GRID_CLAMP = 16, 0.96, 0.3
POINTS_PER_SHAPE = 1024
# Thin families twice: they are the hardest to see and to decode.
DRAWN_FAMILIES = FAMILY_NAMES + THIN_FAMILIES


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _project(
    kinds: IntArray, operations: IntArray, rows: FloatArray, points: FloatArray, rounds: int
) -> None:
    """Moves points towards the surface along the gradient of the distance, in place."""
    e = 1e-3
    for i in range(points.shape[0]):
        for _ in range(rounds):
            x, y, z = points[i, 0], points[i, 1], points[i, 2]
            a = scene_distance(kinds, operations, rows, x + e, y - e, z - e)
            b = scene_distance(kinds, operations, rows, x - e, y - e, z + e)
            c = scene_distance(kinds, operations, rows, x - e, y + e, z - e)
            d = scene_distance(kinds, operations, rows, x + e, y + e, z + e)
            step = (a + b + c + d) / 4 / (4 * e)
            points[i, 0] -= step * (a - b - c + d)
            points[i, 1] -= step * (-a - b + c + d)
            points[i, 2] -= step * (-a + b - c + d)


def surface_points(rng: np.random.Generator, shape: Shape, count: int) -> FloatArray:
    """Points [count, 3] near the surface: half start around any primitive, so that thin parts get their share."""
    volume = rng.uniform(-1, 1, (count - count // 2, 3)) * (shape.half_extent + 0.05)
    rows = shape.rows[rng.integers(len(shape.rows), size=count // 2)]
    reach = np.minimum(np.abs(rows[:, 12:15]).max(1), shape.half_extent.max())
    local = rng.uniform(-1, 1, (len(rows), 3)) * np.maximum(rows[:, 12:15], reach[:, None] * 0.2)
    turned = np.einsum("nij,nj->ni", rows[:, 3:12].reshape(-1, 3, 3), local) + rows[:, :3]
    points = np.concatenate([volume, np.clip(turned, -shape.half_extent, shape.half_extent)])
    _project(shape.kinds, shape.operations, shape.rows, points, 3)
    return np.clip(points, -1.0, 1.0)


def query_points(rng: np.random.Generator, shape: Shape, count: int) -> NDArray[np.float16]:
    """Points [count, 3] that matter: three quarters near the surface, the rest in the box and in the cube."""
    near = surface_points(rng, shape, count * 3 // 4)
    near += rng.normal(size=near.shape) * rng.choice([0.01, 0.025, 0.06], (len(near), 1))
    box = rng.uniform(-1, 1, (count // 8, 3)) * (shape.half_extent * 1.1)
    cube = rng.uniform(-1.01, 1.01, (count - len(near) - len(box), 3))
    return rng.permutation(np.concatenate([near, box, cube]).clip(-1.01, 1.01)).astype(np.float16)


def conditioner_view(rgba: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """A picture [side, side, 3] as the conditioner sees it: the product's own preparation and resize."""
    pixels = prepare_image(Image.fromarray(rgba), 2 * side_px, BORDER_RATIO)
    small = resize_shorter_side(pixels, side_px)[0].permute(1, 2, 0)
    return ((small + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


def make_item(rng: np.random.Generator, family: str) -> dict[str, Any]:
    """One shape with its picture, coarse grid, query points and their distances."""
    shape = random_shape(rng, family)
    picture = render(shape, random_view(rng), int(rng.integers(*RENDER_PX)))
    points = query_points(rng, shape, POINTS_PER_SHAPE)
    grid = sdf(shape, grid_points(GRID_SIDE, GRID_HALF_SIDE))
    return {
        "image": conditioner_view(picture, IMAGE_PX),
        "grid": grid.clip(-GRID_CLAMP, GRID_CLAMP).astype(np.float16),
        "points": points,
        "distances": sdf(shape, points).clip(-1, 1).astype(np.float16),
        "family": np.int64(FAMILY_NAMES.index(family)),
    }


def make_chunk(index: int, folder: Path = FOLDER) -> None:
    """Writes chunk `index`; it appears whole or not at all."""
    path = folder / f"chunk_{index:03d}.npz"
    if path.exists():
        return
    rng = np.random.default_rng([SEED, index])
    items = [make_item(rng, DRAWN_FAMILIES[i % len(DRAWN_FAMILIES)]) for i in range(SHAPES_PER_CHUNK)]
    partial = path.with_suffix(".partial.npz")
    arrays: dict[str, Any] = {name: np.stack([item[name] for item in items]) for name in items[0]}
    np.savez(partial, **arrays)
    os.replace(partial, path)


@dataclass(frozen=True)
class Data:
    """All chunks as tensors: image uint8 [n, S, S, 3], grid and distances and points float16, family int64."""

    image: torch.Tensor
    grid: torch.Tensor
    points: torch.Tensor
    distances: torch.Tensor
    family: torch.Tensor

    def __len__(self) -> int:
        return len(self.family)


def load(names: tuple[str, ...], num_chunks: int = NUM_CHUNKS, folder: Path = FOLDER) -> Data:
    """The named arrays of the chunks that exist; others stay empty."""
    paths = [path for i in range(num_chunks) if (path := folder / f"chunk_{i:03d}.npz").exists()]
    tensors = {}
    for name in Data.__dataclass_fields__:
        wanted = name in names or name == "family"
        parts = [torch.from_numpy(np.load(path)[name]) for path in paths] if wanted else []
        tensors[name] = torch.cat(parts) if parts else torch.empty(0)
    return Data(**tensors)


def share_out(make: Callable[[int], None], num_chunks: int, description: str | None) -> None:
    """Makes this process's share of the chunks, as its command line says; one core each."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--num-workers", type=int, default=1)
    parser.add_argument("--num-chunks", type=int, default=num_chunks)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for index in range(options.worker, options.num_chunks, options.num_workers):
        make(index)
        print(f"chunk {index} done", flush=True)


if __name__ == "__main__":
    share_out(make_chunk, NUM_CHUNKS, __doc__)
