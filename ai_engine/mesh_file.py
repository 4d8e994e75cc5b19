"""Mesh to file and back: binary STL, written in one pass and in constant memory beyond the mesh itself."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ai_engine.mesh import Mesh

STL_HEADER_BYTES = 80
STL_BYTES_PER_FACE = 50
CHUNK_FACES = 65536

_STL_FACE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_stl(
    mesh: Mesh, path: str | os.PathLike[str], *, title: str = "AI Engine, model units, Y up"
) -> None:
    """Writes a binary STL of `84 + 50 F` bytes; the header holds `title`.

    Raises:
        ValueError: a coordinate is not a finite number, or the title would make readers take it for text.
    """
    if not np.isfinite(mesh.vertices).all():
        raise ValueError("a vertex has a coordinate that is not a finite number")
    header = _header(title)
    with Path(path).open("wb") as file:
        file.write(header)
        file.write(np.uint32(len(mesh.faces)).astype("<u4").tobytes())
        for start in range(0, len(mesh.faces), CHUNK_FACES):
            file.write(_records(mesh.corners(start, start + CHUNK_FACES)).tobytes())


def read_stl(data: bytes) -> Mesh:
    """The mesh in a binary STL file, corners at exactly the same place welded: what a slicer sees.

    Raises:
        ValueError: the size does not fit the number of faces that the file announces.
    """
    num_faces = int.from_bytes(data[STL_HEADER_BYTES : STL_HEADER_BYTES + 4], "little")
    expected = STL_HEADER_BYTES + 4 + num_faces * STL_BYTES_PER_FACE
    if len(data) != expected:
        raise ValueError(f"{num_faces} faces make {expected} bytes, the file has {len(data)}")
    records = np.frombuffer(data, _STL_FACE, num_faces, STL_HEADER_BYTES + 4)
    return _welded(records["corners"].reshape(-1, 3) + np.float32(0))  # -0.0 and 0.0 are one place


def _welded(corners: NDArray[np.float32]) -> Mesh:
    """The mesh of triangles whose corners [3 F, 3] stand one after the other, equal points made one vertex."""
    order = np.lexsort(corners.T)
    in_order = corners[order]
    is_new = np.ones(len(corners), np.bool_)
    is_new[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    numbers = np.empty(len(corners), np.int32)
    numbers[order] = np.cumsum(is_new) - 1
    return Mesh(in_order[is_new], numbers.reshape(-1, 3))


def _header(title: str) -> bytes:
    # Readers decide between the two forms of STL by the first word: "solid" means text.
    if title.lstrip().lower().startswith("solid"):
        raise ValueError("an STL title may not begin with 'solid'")
    return title.encode("ascii", "replace")[:STL_HEADER_BYTES].ljust(STL_HEADER_BYTES)


def _records(corners: NDArray[np.float32]) -> NDArray[np.void]:
    """One record of 50 bytes for each face of `corners` [n, 3, 3]."""
    records = np.zeros(len(corners), _STL_FACE)
    records["corners"] = corners
    records["normal"] = _unit_normals(corners)
    return records


def _unit_normals(corners: NDArray[np.float32]) -> NDArray[np.float64]:
    """Outward unit normals [n, 3]; zero for a face without area, as the format wants it."""
    points = corners.astype(np.float64)
    normals = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
