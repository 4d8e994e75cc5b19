"""GLB: indexed, for browsers. After the glTF 2.0 specification; there a unit is a metre and Y is up."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.text_rows import CHUNK_ROWS

_UNSIGNED_INT, _FLOAT = 5125, 5126
_VERTICES, _INDICES = 34962, 34963
_VERTEX_BYTES = 12

Matrix = NDArray[np.float64]


def write_glb(mesh: Mesh, path: str | os.PathLike[str], *, title: str = "", is_mm: bool = False) -> None:
    """Writes one node; where the mesh `is_mm` and Z up, the node turns it to glTF's metres and Y up.

    Raises:
        ValueError: there is no vertex; the format has no empty mesh.
    """
    if len(mesh.vertices) == 0:
        raise ValueError("GLB can't hold a mesh without vertices")
    document = _document(mesh, title, _units(is_mm))
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    num_bytes = document["buffers"][0]["byteLength"]
    with Path(path).open("wb") as file:
        file.write(b"glTF" + np.asarray([2, 12 + 8 + len(text) + 8 + num_bytes], "<u4").tobytes())
        file.write(np.asarray([len(text)], "<u4").tobytes() + b"JSON" + text)
        file.write(np.asarray([num_bytes], "<u4").tobytes() + b"BIN\0")
        for faces in _pieces(mesh.faces):
            file.write(faces.astype("<u4").tobytes())
        for points in _pieces(mesh.vertices):
            file.write(points.astype("<f4").tobytes())


def _document(mesh: Mesh, title: str, to_world: Matrix) -> dict[str, Any]:
    buffer_views = _buffer_views(mesh)
    return {
        "asset": {"version": "2.0", "generator": "AI Engine"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": title or "mesh", "matrix": to_world.T.ravel().tolist()}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 1}, "indices": 0, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}}],
        "accessors": _accessors(mesh),
        "bufferViews": buffer_views,
        "buffers": [{"byteLength": sum(view["byteLength"] for view in buffer_views)}],
    }


def _accessors(mesh: Mesh) -> list[dict[str, Any]]:
    """What the numbers are: first the corners' vertex numbers, then the vertices' places."""
    numbers = {"bufferView": 0, "componentType": _UNSIGNED_INT, "count": mesh.faces.size, "type": "SCALAR"}
    places = {
        "bufferView": 1,
        "componentType": _FLOAT,
        "count": len(mesh.vertices),
        "type": "VEC3",
        "min": mesh.vertices.min(axis=0).tolist(),
        "max": mesh.vertices.max(axis=0).tolist(),
    }
    return [numbers, places]


def _buffer_views(mesh: Mesh) -> list[dict[str, Any]]:
    """Where the numbers lie."""
    index_bytes = mesh.faces.size * 4
    indices = {"byteOffset": 0, "byteLength": index_bytes, "target": _INDICES}
    vertices = {
        "byteOffset": index_bytes,
        "byteLength": len(mesh.vertices) * _VERTEX_BYTES,
        "byteStride": _VERTEX_BYTES,
        "target": _VERTICES,
    }
    return [{"buffer": 0} | view for view in (indices, vertices)]


def _units(is_mm: bool) -> Matrix:
    if not is_mm:
        return np.eye(4)
    turned = np.asarray([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    return turned @ np.diag([0.001, 0.001, 0.001, 1.0])


def _pieces(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(rows), CHUNK_ROWS):
        yield rows[start : start + CHUNK_ROWS]
