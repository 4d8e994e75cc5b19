"""How even a generated sphere is: `python -m training.evaluate_ripple [--model A --model B]`.

Pictures of spheres by training's own renderer and by those of `unseen_renders`, each from its own side, in its own
light and colours. Two numbers a mesh, in percent of its mean radius: how far the radii are from those of a ball, and
what is left of it besides the proportions: the ripple.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hy3dgen.field.geometry import Mesh
from training.evaluate import MODEL, PICTURE_PX, Judge
from training.evaluate_unseen import MAX_AZIMUTH_DEG, picture_of
from training.held_out import REPORT_SEED, Example
from training.renders import random_view
from training.shapes import ball
from training.unseen_renders import STYLES

OCTREE_RESOLUTION, GUIDANCE = 128, 2.0
_BALL_STREAM = 8


@dataclass(frozen=True)
class Unevenness:
    """Root mean squares in percent of the mean radius."""

    off_ball: float
    """Of the radii about their mean."""
    ripple: float
    """Of the radii about the best spherical harmonics up to degree 2, which are a slightly stretched, moved ball."""


def unevenness(vertices: NDArray[np.floating]) -> Unevenness:
    """Of the vertices [n, 3] of a mesh that is nearly a ball; each counts alike."""
    points = vertices.astype(np.float64)
    # |p|^2 = 2 c.p + (r^2 - |c|^2) is linear in the centre c of the least-squares sphere.
    system = np.column_stack([points, np.ones(len(points))])
    centre = np.linalg.lstsq(system, (points**2).sum(1), rcond=None)[0][:3] / 2
    offset = points - centre
    radius = np.linalg.norm(offset, axis=1)
    x, y, z = (offset / radius[:, None]).T
    harmonics = np.column_stack([np.ones_like(x), x, y, z, x * y, y * z, z * x, x * x - y * y, 3 * z * z - 1])
    smooth = harmonics @ np.linalg.lstsq(harmonics, radius, rcond=None)[0]
    off_ball, ripple = radius.std(), np.sqrt(np.mean((radius - smooth) ** 2))
    return Unevenness(*(float(100 * value / radius.mean()) for value in (off_ball, ripple)))


def pictures(style: str, count: int) -> Iterator[Image.Image]:
    """Pictures of one ball."""
    for number in range(count):
        example = Example(ball(), random_view(np.random.default_rng([*REPORT_SEED, _BALL_STREAM, number])))
        if style == "own":
            yield Image.fromarray(example.picture(PICTURE_PX))
        else:
            yield picture_of(example, style, number, MAX_AZIMUTH_DEG)


@torch.no_grad()
def mesh_of(judge: Judge, picture: Image.Image, number: int) -> Mesh:
    """The mesh of a picture; its noise follows from the number."""
    tokens = judge.tokens(picture, number, GUIDANCE)
    return judge.vae.latents2mesh(tokens, octree_resolution=OCTREE_RESOLUTION)[0]


def main() -> None:
    """Prints a row a model and renderer: medians, and the worst ripple."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, action="append")
    parser.add_argument("--count", type=int, default=8)
    options = parser.parse_args()
    print(f"{'model':16s}{'renderer':10s}{'off a ball, %':>16s}{'ripple, %':>12s}{'worst':>8s}")
    for path in options.model or [MODEL]:
        judge = Judge(path, has_tiles=False)
        for style in ("own", *STYLES):
            meshes = [mesh_of(judge, one, i) for i, one in enumerate(pictures(style, options.count))]
            found = [unevenness(mesh.vertices) for mesh in meshes]
            off_ball = np.median([one.off_ball for one in found])
            ripples = [one.ripple for one in found]
            row = f"{off_ball:16.2f}{np.median(ripples):12.2f}{max(ripples):8.2f}"
            print(f"{path.stem:16s}{style:10s}{row}", flush=True)


if __name__ == "__main__":
    main()
