"""Shapes and pictures that training never draws: their own seeds, the same families."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data import GRID_CLAMP, GRID_HALF_SIDE, GRID_SIDE, IMAGE_PX, conditioner_view
from training.renders import View, random_view, render
from training.shapes import FAMILY_NAMES, Shape, grid_points, random_shape, sdf

# Training draws from [SEED, chunk]; three numbers make a stream of their own.
WATCH_SEED, REPORT_SEED = (7, 7, 1), (7, 7, 2)
FIELD_SIDE, FIELD_HALF_SIDE = 32, 1.0


@dataclass(frozen=True)
class Example:
    """A held-out shape and how its picture is taken."""

    shape: Shape
    view: View

    def picture(self, side_px: int) -> NDArray[np.uint8]:
        """The RGBA picture."""
        return render(self.shape, self.view, side_px)


def examples(per_family: int, seed: tuple[int, int, int]) -> list[Example]:
    """`per_family` examples of every family; the first ones do not depend on how many are asked for."""
    streams = [
        np.random.default_rng([*seed, family, i])
        for family in range(len(FAMILY_NAMES))
        for i in range(per_family)
    ]
    names = [name for name in FAMILY_NAMES for _ in range(per_family)]
    return [
        Example(random_shape(rng, name), random_view(rng)) for rng, name in zip(streams, names, strict=True)
    ]


@dataclass(frozen=True)
class WatchSet:
    """Held-out tensors to watch training with: pixels in -1..1, coarse grids, and inside-ness on a finer grid."""

    family: Tensor
    pixels: Tensor
    grids: Tensor
    points: Tensor
    inside: Tensor

    @classmethod
    def make(cls, per_family: int = 4) -> WatchSet:
        """The watch set, made anew: a second or two."""
        chosen = examples(per_family, WATCH_SEED)
        pixels = np.stack([conditioner_view(e.picture(384), IMAGE_PX) for e in chosen])
        coarse, fine = grid_points(GRID_SIDE, GRID_HALF_SIDE), grid_points(FIELD_SIDE, FIELD_HALF_SIDE)
        grids = np.stack([sdf(e.shape, coarse).clip(-GRID_CLAMP, GRID_CLAMP) for e in chosen])
        return cls(
            family=torch.arange(len(FAMILY_NAMES)).repeat_interleave(per_family),
            pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1,
            grids=torch.from_numpy(grids).float(),
            points=torch.from_numpy(fine),
            inside=torch.from_numpy(np.stack([sdf(e.shape, fine) < 0 for e in chosen])),
        )


def intersection_over_union(found: Tensor, truth: Tensor) -> Tensor:
    """IoU [n] of boolean fields [n, cells]."""
    both, either = (found & truth).sum(-1).float(), (found | truth).sum(-1).float()
    return both / either.clamp(min=1)


def by_family(values: Tensor, family: Tensor) -> str:
    """The mean of each family in one line, weakest first."""
    means = [(float(values[family == i].mean()), name) for i, name in enumerate(FAMILY_NAMES)]
    return " ".join(f"{name} {mean:.2f}" for mean, name in sorted(means))
