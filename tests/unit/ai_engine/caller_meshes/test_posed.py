from __future__ import annotations

import numpy as np
import pytest
from support.solid_shapes import cube, sphere

from ai_engine.caller_meshes.posed import in_mm, pose_mesh, report_as_it_came
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.read import ReadMesh

BOX = Mesh(cube(1.0).vertices * np.asarray([1, 2, 3], np.float32), cube(1.0).faces)


def extent(mesh: Mesh) -> tuple[float, ...]:
    return tuple(np.ptp(mesh.vertices, axis=0).round(4).tolist())


def test_the_mesh_stands_along_y_whatever_its_file_has() -> None:
    x, y, z = extent(BOX)
    assert extent(pose_mesh(ReadMesh(BOX, "stl", "z", 1.0)).mesh) == (x, z, y)
    assert extent(pose_mesh(ReadMesh(BOX, "glb", "y", 1000.0)).mesh) == (x, y, z)


def test_one_of_ours_in_model_units_has_no_millimetres() -> None:
    assert pose_mesh(ReadMesh(BOX, "stl", "y", 1.0)).mm_per_unit is None
    assert pose_mesh(ReadMesh(BOX, "stl", "z", 1.0)).mm_per_unit == 1.0
    assert pose_mesh(ReadMesh(BOX, "glb", "y", 1000.0)).mm_per_unit == 1000.0


def test_the_report_is_on_the_mesh_as_it_came() -> None:
    ball = sphere(16)
    scaled = Mesh(ball.vertices * np.float32(20), ball.faces[1:])
    found = report_as_it_came(ReadMesh(scaled, "stl", "z", 1.0))
    assert (found.is_closed, found.num_faces, found.units) == (False, len(ball.faces) - 1, "mm")
    inches = report_as_it_came(ReadMesh(BOX, "3mf", "z", 25.4))
    assert inches.bbox == pytest.approx([25.4 * side for side in extent(BOX)], rel=1e-5)


def test_faces_without_a_place_are_mentioned_and_left_out() -> None:
    vertices = (sphere(16).vertices * np.float32(20)).copy()
    vertices[7] = np.nan
    found = report_as_it_came(ReadMesh(Mesh(vertices, sphere(16).faces), "stl", "z", 1.0))
    assert "not finite numbers" in found.warnings[0]
    assert found.num_faces < len(sphere(16).faces)
    assert np.isfinite(found.area)


def test_millimetres_are_the_files_own_times_its_unit() -> None:
    assert extent(in_mm(ReadMesh(BOX, "3mf", "z", 10.0))) == pytest.approx([10 * one for one in extent(BOX)])
