"""Mesh to file: binary STL, in one pass and in constant memory beyond the mesh itself."""

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
