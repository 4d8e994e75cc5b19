"""Meshes and boxes in model units. Knows nothing of networks or files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Box:
    """An axis-aligned box: its lower and upper corner, in model units."""

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError(f"a box needs lower < upper on every axis, got {self.lower} and {self.upper}")
        if not all(map(math.isfinite, self.extent)):
            raise ValueError(f"a box needs finite sides, got {self.lower} and {self.upper}")

    @classmethod
    def from_bounds(cls, bounds: float | Sequence[float]) -> Box:
        """The box that `bounds` means: a half extent, or the six numbers x0 y0 z0 x1 y1 z1.

        Raises:
            ValueError: neither one number nor six.
        """
        if isinstance(bounds, int | float):
            half = float(bounds)
            return cls((-half, -half, -half), (half, half, half))
        numbers = [float(number) for number in bounds]
        if len(numbers) != 6:
            raise ValueError(f"bounds takes one number or six, got {len(numbers)}")
        x0, y0, z0, x1, y1, z1 = numbers
        return cls((x0, y0, z0), (x1, y1, z1))

    @property
    def extent(self) -> tuple[float, float, float]:
        """The side lengths along x, y, z."""
        (x0, y0, z0), (x1, y1, z1) = self.lower, self.upper
        return (x1 - x0, y1 - y0, z1 - z0)


@dataclass(frozen=True)
class Frame:
    """Where a model's shapes lie: in a cube of half the side `half_extent`, at the field's value `iso`."""

    half_extent: float
    iso: float

    @property
    def box(self) -> Box:
        """The cube."""
        return Box.from_bounds(self.half_extent)


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh: float32 `vertices` [V, 3] and int32 `faces` [F, 3], wound so that normals point out."""

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]

    def __post_init__(self) -> None:
        for name, array in (("vertices", self.vertices), ("faces", self.faces)):
            if array.ndim != 2 or array.shape[1] != 3:
                raise ValueError(f"{name} must have shape [n, 3], got {list(array.shape)}")

    @property
    def is_empty(self) -> bool:
        """True when there is no face."""
        return len(self.faces) == 0

    @cached_property
    def is_closed(self) -> bool:
        """True when every directed edge has exactly one opposite: no hole, no flipped or doubled face."""
        start = self.faces.astype(np.int64)
        end = np.roll(start, -1, axis=1)
        num_vertices = len(self.vertices)
        forward = np.sort((start * num_vertices + end).ravel())
        backward = np.sort((end * num_vertices + start).ravel())
        is_unique = bool(np.all(forward[1:] != forward[:-1]))
        return not self.is_empty and is_unique and np.array_equal(forward, backward)

    @cached_property
    def volume(self) -> float:
        """The enclosed volume in cubic model units; negative when the faces look inwards."""
        corners = self.vertices.astype(np.float64)[self.faces]
        return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0)

    @cached_property
    def bounds(self) -> NDArray[np.float32]:
        """The lower and upper corner of the mesh, [2, 3].

        Raises:
            ValueError: the mesh has no vertex.
        """
        if len(self.vertices) == 0:
            raise ValueError("an empty mesh has no bounds")
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])
