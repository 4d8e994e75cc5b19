"""Mesh to file and back. Written piece by piece: whatever the format, little memory beyond the mesh itself.

STL, PLY and OBJ hold the numbers as they are; so do 3MF and GLB, which besides know what a unit is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ai_engine.facts import MeshFormat
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.glb import write_glb
from ai_engine.mesh_files.stl import FilePath, read_stl, refuse_non_finite, write_stl
from ai_engine.mesh_files.text_rows import CHUNK_ROWS, rows_as_text
from ai_engine.mesh_files.threemf import write_3mf

MAX_BYTES_PER_FACE: dict[MeshFormat, int] = {"stl": 50, "3mf": 18, "glb": 19, "obj": 52, "ply": 20}
"""With half a vertex to each face, as closed surfaces have. 3MF is packed: a third more than was seen."""
MAX_BYTES_AROUND = 1500
"""What a file has besides, a thumbnail apart."""
_PLY_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


@dataclass(frozen=True)
class FileNotes:
    """What a file says about itself."""

    title: str = ""
    is_mm: bool = False
    """Millimetres and Z up; else model units and Y up."""

    @property
    def line(self) -> str:
        """All in one line of ASCII."""
        units = "mm, Z up" if self.is_mm else "model units, Y up"
        line = "; ".join(part for part in (f"AI Engine; {units}", self.title) if part)
        return (
            "".join(sign if sign.isprintable() else " " for sign in line).encode("ascii", "replace").decode()
        )


def write_mesh(
    mesh: Mesh,
    path: FilePath,
    file_format: MeshFormat,
    *,
    notes: FileNotes | None = None,
    thumbnail: bytes | None = None,
) -> None:
    """Writes `mesh` to `path`. A `thumbnail` (PNG) goes along where the format has a place for it: in 3MF.

    Raises:
        ValueError: a coordinate is not a finite number.
    """
    notes = notes or FileNotes()
    refuse_non_finite(mesh)
    match file_format:
        case "stl":
            write_stl(mesh, path, title=notes.line)
        case "3mf":
            write_3mf(mesh, path, title=notes.title, thumbnail=thumbnail)
        case "glb":
            write_glb(mesh, path, title=notes.title, is_mm=notes.is_mm)
        case "obj":
            _write_obj(mesh, path, notes.line)
        case "ply":
            _write_ply(mesh, path, notes.line)


def most_faces_in(max_bytes: int, file_format: MeshFormat, *, thumbnail_bytes: int = 0) -> int:
    """So many faces of a closed surface fit `max_bytes` for sure; 0 when none do."""
    return max(0, (max_bytes - MAX_BYTES_AROUND - thumbnail_bytes) // MAX_BYTES_PER_FACE[file_format])


def through_stl(mesh: Mesh, path: FilePath, notes: FileNotes | None = None) -> Mesh:
    """The mesh as a slicer reads it: written to an STL file at `path`, read from it, welded.

    `mesh` itself where the file holds just that.
    """
    write_mesh(mesh, path, "stl", notes=notes)
    return read_stl(Path(path).read_bytes(), written=mesh)


def _write_ply(mesh: Mesh, path: FilePath, comment: str) -> None:
    lines = (
        "ply",
        "format binary_little_endian 1.0",
        # Simple readers look for the header's end in comments too.
        f"comment {comment.replace('end_header', 'end-header')}",
        f"element vertex {len(mesh.vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        f"element face {len(mesh.faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    )
    with Path(path).open("wb") as file:
        file.write(("\n".join(lines) + "\n").encode("ascii"))
        for points in _pieces(mesh.vertices):
            file.write(points.astype("<f4").tobytes())
        for faces in _pieces(mesh.faces):
            records = np.empty(len(faces), _PLY_FACE)
            records["count"], records["corners"] = 3, faces
            file.write(records.tobytes())


def _write_obj(mesh: Mesh, path: FilePath, comment: str) -> None:
    with Path(path).open("wb") as file:
        file.write(f"# {comment}\n".encode("ascii"))
        _write_text(file, rows_as_text(mesh.vertices, "v %.9g %.9g %.9g\n"))
        _write_text(file, rows_as_text(mesh.faces, "f %d %d %d\n", add=1))


def _write_text(file: IO[bytes], pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        file.write(piece)


def _pieces(rows: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    for start in range(0, len(rows), CHUNK_ROWS):
        yield rows[start : start + CHUNK_ROWS]
