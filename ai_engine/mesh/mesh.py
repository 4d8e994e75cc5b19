"""A triangle mesh: vertices and faces as arrays. Knows no files and no networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Mesh:
    """Float32 `vertices` [V, 3] and int32 `faces` [F, 3], wound so that normals point out.

    Model units and Y up, as the shape model gives it.

    Raises:
        ValueError: a shape other than [n, 3], or a face that names a vertex which is not there.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]

    def __post_init__(self) -> None:
        for name, array in (("vertices", self.vertices), ("faces", self.faces)):
            if array.ndim != 2 or array.shape[1] != 3:
                raise ValueError(f"{name} must have shape [n, 3], got {list(array.shape)}")
        if len(self.faces) and not (self.faces.min() >= 0 and self.faces.max() < len(self.vertices)):
            raise ValueError(f"faces name vertices 0..{self.faces.max()}, there are {len(self.vertices)}")

    def corners(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """The corner points of faces `start` to `stop`, [n, 3 corners, 3 axes]."""
        # Four times as fast as an index in brackets.
        return np.take(self.vertices, self.faces[start:stop], axis=0)

    @cached_property
    def area_vectors(self) -> NDArray[np.float64]:
        """For each face its outward normal, as long as the face's area: [F, 3]; read-only, computed once."""
        one, other = self._edges(1), self._edges(2)
        vectors = np.empty(self.faces.shape, np.float64)
        for axis in range(3):
            second, third = (axis + 1) % 3, (axis + 2) % 3
            vectors[:, axis] = 0.5 * (one[second] * other[third] - one[third] * other[second])
        vectors.flags.writeable = False
        return vectors

    @cached_property
    def vertex_normals(self) -> NDArray[np.float32]:
        """The mean normal of the faces round each vertex, larger faces counting more: [V, 3]; computed once."""
        normals = np.empty(self.vertices.shape, np.float64)
        for axis, areas in enumerate(self.area_vectors.T):
            around = (np.bincount(corner, areas, len(normals)) for corner in self.faces.T)
            normals[:, axis] = sum(around)
        lengths = np.sqrt(np.einsum("na,na->n", normals, normals))
        return (normals / np.maximum(lengths, 1e-20)[:, None]).astype(np.float32)

    def _edges(self, corner: int) -> list[NDArray[np.float64]]:
        """From corner 0 of each face to `corner`, an array per axis: no rows of three, which numpy is slow at."""
        start, end = (np.ascontiguousarray(self.faces[:, place]) for place in (0, corner))
        axes = (axis.astype(np.float64) for axis in self.vertices.T)
        return [np.take(places, end) - np.take(places, start) for places in axes]

    @cached_property
    def box(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The lower and the upper corner of the box round all vertices; without vertices, both in the origin."""
        if len(self.vertices) == 0:
            return np.zeros(3, np.float32), np.zeros(3, np.float32)
        lower, upper = ([pick(axis) for axis in self.vertices.T] for pick in (np.min, np.max))
        return np.asarray(lower, np.float32), np.asarray(upper, np.float32)
