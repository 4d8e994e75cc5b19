"""What the values at its eight corners say of a cell. Pure functions; know no lattice and no search."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from hy3dgen.field.constants import constant
from hy3dgen.field.marching_cubes_table import CORNERS, code_table

BITS = tuple(1 << corner for corner in range(8))


def codes_of(values: Float[Tensor, "n 8"], iso: float) -> UInt8[Tensor, " n"]:
    """The code of each cell: bit c is set where corner c is above `iso`."""
    bits = constant(BITS, torch.uint8, values.device)
    return ((values > iso) * bits).sum(dim=-1, dtype=torch.uint8)


def crossed_children(values: Float[Tensor, "n 8"], iso: float) -> Bool[Tensor, "n 8"]:
    """Which of a cell's eight children have corners on both sides, if the field is trilinear inside the cell."""
    corners = values.view(-1, 2, 2, 2)
    for axis in (1, 2, 3):
        low, high = corners.unbind(axis)
        corners = torch.stack([low, 0.5 * (low + high), high], dim=axis)
    inside = corners > iso
    windows = [inside[:, z : z + 2, y : y + 2, x : x + 2].flatten(1) for x, y, z in CORNERS]
    return torch.stack([window.any(dim=1) & ~window.all(dim=1) for window in windows], dim=-1)


def mixed_face_table(device: torch.device) -> Bool[Tensor, "256 6"]:
    """Which faces of a cell of each code have corners on both sides."""
    return constant(code_table().mixed_faces, torch.bool, device)
