"""A mesh file of anybody's to a mesh: STL of both kinds, 3MF, GLB, OBJ, PLY. What is not binary STL is read by trimesh.

What a file unpacks to is bounded before it is unpacked: a zip by the sizes in its directory, a GLB by the counts of its
accessors and by how often its nodes use a mesh.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ai_engine.errors import MeshBomb, MeshUnreadable, TooManyFaces
from ai_engine.facts import MeshFormat
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.topology import weld
from ai_engine.mesh_files.sniff import STL_BYTES_PER_FACE, is_binary_stl, sniffed_format
from ai_engine.mesh_files.stl import read_stl

MAX_FACES = 10_000_000
MAX_UNPACKED_BYTES = 2_000_000_000
MAX_JSON_BYTES = 16 * 1024 * 1024
"""Of the description in a GLB; the numbers lie outside it."""
UpAxis = Literal["y", "z"]


@dataclass(frozen=True, eq=False)
class ReadMesh:
    """A mesh as its file has it."""

    mesh: Mesh
    """Corners at exactly the same place welded."""
    format: MeshFormat
    up: UpAxis
    """y in GLB, and in files that say so; else z, as slicers and CAD take it."""
    mm_per_unit: float
    """1 where the format knows no unit, as slicers take it."""


def read_mesh(data: bytes, *, max_faces: int = MAX_FACES) -> ReadMesh:
    """The mesh in `data`, in the file's own units and axes.

    Raises:
        MeshUnreadable: the bytes are no mesh, or a damaged one.
        TooManyFaces: it has more than `max_faces`.
        MeshBomb: it unpacks to more than is taken.
    """
    file_format = sniffed_format(data)
    up: UpAxis = "y" if file_format == "glb" or b"Y up" in data[:512] else "z"
    if is_binary_stl(data, len(data)):
        _refuse_more_than(max_faces, (len(data) - 84) // STL_BYTES_PER_FACE)
        mesh, mm_per_unit = read_stl(data), 1.0
    else:
        _check_unpacked_size(data, file_format, max_faces)
        mesh, mm_per_unit = _by_trimesh(data, file_format)
    _refuse_more_than(max_faces, len(mesh.faces))
    if not is_placed(mesh).any():
        raise MeshUnreadable("The file holds no face whose corners are finite numbers.")
    return ReadMesh(mesh, file_format, up, mm_per_unit)


def is_placed(mesh: Mesh) -> NDArray[np.bool_]:
    """True for each face whose corners are finite numbers."""
    return np.asarray(np.isfinite(mesh.vertices)[mesh.faces].all(axis=(1, 2)))


def _refuse_more_than(max_faces: int, num_faces: int) -> None:
    if num_faces > max_faces:
        raise TooManyFaces(f"The mesh has {num_faces:,} faces; at most {max_faces:,} are taken.")


def _by_trimesh(data: bytes, file_format: MeshFormat) -> tuple[Mesh, float]:
    import trimesh  # Half a second; binary STL does without.

    try:
        scene = trimesh.load_scene(io.BytesIO(data), file_type=file_format, process=False)
        unit = trimesh.units.unit_conversion(scene.units, "millimeters") if scene.units else 1.0
        whole = scene.to_mesh()
        vertices, faces = np.asarray(whole.vertices, np.float32), np.asarray(whole.faces)
        if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
            raise IndexError("a face has a corner that is not there")
    except MemoryError as error:
        raise MeshBomb(f"The {file_format.upper()} file takes more memory than there is.") from error
    except Exception as error:  # of any kind: the library does not say what a damaged file raises
        raise MeshUnreadable(f"The {file_format.upper()} file is damaged, or has nothing in it.") from error
    return weld(Mesh(vertices, faces.astype(np.int32))), unit


def _check_unpacked_size(data: bytes, file_format: MeshFormat, max_faces: int) -> None:
    if file_format == "3mf":
        _check_zip(data)
    elif file_format == "glb":
        _check_glb(data, max_faces)


def _check_zip(data: bytes) -> None:
    try:
        sizes = [entry.file_size for entry in zipfile.ZipFile(io.BytesIO(data)).infolist()]
    except zipfile.BadZipFile as error:
        raise MeshUnreadable("The 3MF file is damaged: it is no whole zip archive.") from error
    if sum(sizes) > MAX_UNPACKED_BYTES or len(sizes) > 1000:
        raise MeshBomb("The 3MF file unpacks to more than is taken.")


def _check_glb(data: bytes, max_faces: int) -> None:
    size = int.from_bytes(data[12:16], "little")
    if size > min(MAX_JSON_BYTES, len(data)):
        raise MeshBomb("The description in the GLB file is larger than is taken.")
    try:
        document = json.loads(data[20 : 20 + size])
        counts = _instances(document)
        accessors = document.get("accessors", [])
        largest = max((int(one["count"]) for one in accessors), default=0)
        num_faces = sum(
            counts.get(i, 0) * _faces_of(mesh, accessors) for i, mesh in enumerate(document.get("meshes", []))
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise MeshUnreadable("The description in the GLB file is damaged.") from error
    _refuse_more_than(max_faces, num_faces)
    _refuse_more_than(max_faces, largest // 3)


def _instances(document: Mapping[str, Any]) -> dict[int, int]:
    """How often the nodes use each mesh. A node has one parent at most, or it is no tree and refused."""
    nodes = document.get("nodes", [])
    children = [child for node in nodes for child in node.get("children", [])]
    if len(children) != len(set(children)):
        raise ValueError("a node with two parents")
    counts: dict[int, int] = {}
    for node in nodes:
        if "mesh" in node:
            counts[node["mesh"]] = counts.get(node["mesh"], 0) + 1
    return counts


def _faces_of(mesh: Mapping[str, Any], accessors: list[Mapping[str, Any]]) -> int:
    return sum(
        int(accessors[part["indices"]]["count"]) // 3 for part in mesh["primitives"] if "indices" in part
    )
