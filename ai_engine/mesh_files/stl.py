"""Binary STL: the numbers as they are, 50 bytes a face."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import area_vectors_between, row_lengths
from ai_engine.mesh.topology import compact, weld, weld_corners
from ai_engine.mesh_files.sniff import STL_BYTES_PER_FACE, STL_HEADER_BYTES
from ai_engine.mesh_files.text_rows import CHUNK_ROWS

FilePath = str | os.PathLike[str]

_STL_FACE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def write_stl(mesh: Mesh, path: FilePath, *, title: str = "AI Engine; model units, Y up") -> None:
    """Writes a binary STL of `84 + 50 F` bytes; the header holds `title`.

    Raises:
        ValueError: a coordinate is not a finite number, or the title would make readers take it for text.
    """
    refuse_non_finite(mesh)
    header = _stl_header(title)
    with Path(path).open("wb") as file:
        file.write(header)
        file.write(len(mesh.faces).to_bytes(4, "little"))
        for start in range(0, len(mesh.faces), CHUNK_ROWS):
            stop = start + CHUNK_ROWS
            file.write(_stl_records(mesh.corners(start, stop), area_vectors_between(mesh, start, stop)))


def read_stl(data: bytes, *, written: Mesh | None = None) -> Mesh:
    """The mesh in a binary STL file, corners at exactly the same place welded: what a slicer sees.

    `written` is the mesh that the file was made of: it is given back, its vertices in its own order, where the file has
    exactly its corners and no two of its vertices share a place.

    Raises:
        ValueError: the size does not fit the number of faces that the file announces.
    """
    num_faces = int.from_bytes(data[STL_HEADER_BYTES : STL_HEADER_BYTES + 4], "little")
    expected = STL_HEADER_BYTES + 4 + num_faces * STL_BYTES_PER_FACE
    if len(data) != expected:
        raise ValueError(f"{num_faces} faces make {expected} bytes, the file has {len(data)}")
    records = np.frombuffer(data, _STL_FACE, num_faces, STL_HEADER_BYTES + 4)
    corners = np.ascontiguousarray(records["corners"])
    if written is not None and _is_welded(written) and np.array_equal(corners, written.corners()):
        return written
    return weld_corners(corners)


def _is_welded(mesh: Mesh) -> bool:
    """True when no two vertices share a place and faces use them all."""
    return weld(mesh) is mesh and len(compact(mesh.vertices, mesh.faces).vertices) == len(mesh.vertices)


def refuse_non_finite(mesh: Mesh) -> None:
    """Raises ValueError if a vertex has a coordinate that is NaN or infinite."""
    if not np.isfinite(mesh.vertices).all():
        raise ValueError("a vertex has a coordinate that is not a finite number")


def _stl_header(title: str) -> bytes:
    # Readers decide between the two forms of STL by the first word: "solid" means text.
    if title.lstrip().lower().startswith("solid"):
        raise ValueError("an STL title may not begin with 'solid'")
    return title.encode("ascii", "replace")[:STL_HEADER_BYTES].ljust(STL_HEADER_BYTES)


def _stl_records(corners: NDArray[np.float32], normals: NDArray[np.float64]) -> bytes:
    """50 bytes for each face of `corners` [n, 3, 3]; a face without area gets a zero normal, as the format wants."""
    records = np.zeros(len(corners), _STL_FACE)
    lengths = row_lengths(normals)[:, None]
    records["corners"] = corners
    records["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    return records.tobytes()
