from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from support.mesh_files import NOTES, in_mm
from support.solid_shapes import sphere

from ai_engine.mesh_files.glb import write_glb
from ai_engine.mesh_files.mesh_file import write_mesh


def glb_document(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    assert int.from_bytes(data[8:12], "little") == len(data)
    document: dict[str, Any] = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    return document


def test_glb_is_in_metres_with_y_up_whatever_the_mesh_was(tmp_path: Path) -> None:
    mesh = in_mm()
    write_mesh(mesh, tmp_path / "mm.glb", "glb", notes=NOTES)
    read = trimesh.load(tmp_path / "mm.glb", force="mesh")
    assert read.is_watertight
    assert read.volume > 0
    assert read.extents == pytest.approx(np.ptp(mesh.vertices, axis=0)[[0, 2, 1]] / 1000)
    write_mesh(sphere(8), tmp_path / "model.glb", "glb")
    assert trimesh.load(tmp_path / "model.glb", force="mesh").extents == pytest.approx((2, 2, 2), abs=0.05)


def test_glb_names_its_bounds_exactly(tmp_path: Path) -> None:
    mesh = in_mm()
    write_glb(mesh, tmp_path / "a.glb")
    accessor = glb_document(tmp_path / "a.glb")["accessors"][1]
    assert np.array_equal(np.asarray(accessor["max"], np.float32), mesh.vertices.max(axis=0))
