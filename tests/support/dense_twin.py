"""The slow, readable twin: every lattice point is asked, and scikit-image draws the surface.

Same conventions as the sparse way: R cells on each axis, positive inside, vertices scaled by the cells, outward faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import marching_cubes
from torch import Tensor

from hy3dgen.field.geometry import Box, Mesh

Cells = tuple[int, int, int]


@dataclass(frozen=True)
class DenseField:
    """The logits `values` [x, y, z] at all points of a lattice over `box`."""

    values: Tensor
    box: Box

    @property
    def cells(self) -> Cells:
        x, y, z = (count - 1 for count in self.values.shape)
        return (x, y, z)

    def codes(self, level: float) -> Tensor:
        """The code of every cell [x, y, z]: bit c is set where corner c (x changing fastest) is above `level`."""
        above = self.values > level
        codes = torch.zeros(self.cells, dtype=torch.uint8)
        for corner in range(8):
            x, y, z = corner & 1, corner >> 1 & 1, corner >> 2 & 1
            window = above[x : x + self.cells[0], y : y + self.cells[1], z : z + self.cells[2]]
            codes |= window.to(torch.uint8) << corner
        return codes

    def lattice_mesh(self, level: float) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Vertices in cell units and outward faces, as scikit-image finds them."""
        vertices, faces, _, _ = marching_cubes(self.values.numpy(), level)
        return vertices, faces[:, ::-1]

    def mesh(self, level: float) -> Mesh:
        """The surface in model units."""
        vertices, faces = self.lattice_mesh(level)
        lower = np.array(self.box.lower)
        world = lower + vertices.astype(np.float64) * (np.array(self.box.extent) / np.array(self.cells))
        return Mesh(world.astype(np.float32), np.ascontiguousarray(faces, dtype=np.int32))


def axis_points(box: Box, cells: Cells) -> list[Tensor]:
    ranges = zip(box.lower, box.upper, cells, strict=True)
    return [
        torch.from_numpy(np.linspace(low, high, count + 1, dtype=np.float32)) for low, high, count in ranges
    ]


def dense_field(
    query: Callable[[Tensor], Tensor], box: Box, resolution: int | Cells, max_points: int = 2**17
) -> DenseField:
    """Asks every point, some planes of x at a time."""
    cells = (resolution,) * 3 if isinstance(resolution, int) else resolution
    x, y, z = axis_points(box, cells)
    values = torch.empty(len(x), len(y), len(z))
    planes = max(1, max_points // (len(y) * len(z)))
    for start in range(0, len(x), planes):
        points = torch.cartesian_prod(x[start : start + planes], y, z)
        values[start : start + planes] = query(points).view(-1, len(y), len(z))
    return DenseField(values, box)
