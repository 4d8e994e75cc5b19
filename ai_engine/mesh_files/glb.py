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

QUANTISATION_STEPS = 65535
_UNSIGNED_SHORT, _UNSIGNED_INT, _FLOAT = 5123, 5125, 5126
_VERTICES, _INDICES = 34962, 34963

Matrix = NDArray[np.float64]


def write_glb(
    mesh: Mesh,
    path: str | os.PathLike[str],
    *,
    title: str = "",
    is_mm: bool = False,
    quantised: bool = False,
) -> None:
    """Writes one node; where the mesh `is_mm` and Z up, the node turns it to glTF's metres and Y up.

    `quantised` stores each coordinate in 16 bits (KHR_mesh_quantization): 8 bytes a vertex instead of 12, and a
    65535th of the longest side at most from where it was.

    Raises:
        ValueError: there is no vertex; the format has no empty mesh.
    """
    if len(mesh.vertices) == 0:
        raise ValueError("GLB can't hold a mesh without vertices")
    lower, step = _grid(mesh) if quantised else (np.zeros(3), 1.0)
    to_world = _units(is_mm) @ _placement(lower, step)
    ends = np.stack([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)])
    bounds = (_quantise(ends, lower, step) if quantised else ends).tolist()
    document = _document(mesh, title, to_world, (bounds[0], bounds[1]), quantised)
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
            file.write(_pad(_quantise(points, lower, step)) if quantised else points.astype("<f4").tobytes())


def _document(
    mesh: Mesh, title: str, to_world: Matrix, bounds: tuple[list[float], list[float]], quantised: bool
) -> dict[str, Any]:
    buffer_views = _buffer_views(mesh, quantised)
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "AI Engine"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": title or "mesh", "matrix": to_world.T.ravel().tolist()}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 1}, "indices": 0, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}}],
        "accessors": _accessors(mesh, bounds, quantised),
        "bufferViews": buffer_views,
        "buffers": [{"byteLength": sum(view["byteLength"] for view in buffer_views)}],
    }
    if quantised:
        document |= {key: ["KHR_mesh_quantization"] for key in ("extensionsUsed", "extensionsRequired")}
    return document


def _accessors(mesh: Mesh, bounds: tuple[list[float], list[float]], quantised: bool) -> list[dict[str, Any]]:
    """What the numbers are: first the corners' vertex numbers, then the vertices' places."""
    numbers = {"bufferView": 0, "componentType": _UNSIGNED_INT, "count": mesh.faces.size, "type": "SCALAR"}
    places = {
        "bufferView": 1,
        "componentType": _UNSIGNED_SHORT if quantised else _FLOAT,
        "count": len(mesh.vertices),
        "type": "VEC3",
        "min": bounds[0],
        "max": bounds[1],
    }
    return [numbers, places]


def _buffer_views(mesh: Mesh, quantised: bool) -> list[dict[str, Any]]:
    """Where the numbers lie."""
    stride, index_bytes = 8 if quantised else 12, mesh.faces.size * 4
    indices = {"byteOffset": 0, "byteLength": index_bytes, "target": _INDICES}
    vertices = {
        "byteOffset": index_bytes,
        "byteLength": len(mesh.vertices) * stride,
        "byteStride": stride,
        "target": _VERTICES,
    }
    return [{"buffer": 0} | view for view in (indices, vertices)]


def _units(is_mm: bool) -> Matrix:
    if not is_mm:
        return np.eye(4)
    turned = np.asarray([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    return turned @ np.diag([0.001, 0.001, 0.001, 1.0])


def _placement(lower: NDArray[np.float64], step: float) -> Matrix:
    placed = np.diag([step, step, step, 1.0])
    placed[:3, 3] = lower
    return placed


def _grid(mesh: Mesh) -> tuple[NDArray[np.float64], float]:
    """Where the grid of quantised coordinates begins, and its step."""
    points = mesh.vertices.astype(np.float64)
    lower = points.min(axis=0)
    return lower, float((points.max(axis=0) - lower).max()) / QUANTISATION_STEPS or 1.0


def _quantise(points: NDArray[np.float32], lower: NDArray[np.float64], step: float) -> NDArray[np.uint16]:
    return np.rint((points - lower) / step).astype("<u2")


def _pad(points: NDArray[np.uint16]) -> bytes:
    """Each vertex on a boundary of four bytes, as the format wants it."""
    return np.pad(points, ((0, 0), (0, 1))).tobytes()


def _pieces(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(rows), CHUNK_ROWS):
        yield rows[start : start + CHUNK_ROWS]
