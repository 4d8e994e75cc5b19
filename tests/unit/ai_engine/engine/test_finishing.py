from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
import trimesh
from support import broken_meshes
from support.slicing import program
from support.solid_shapes import cube, sphere

from ai_engine.engine.finishing import check_file, finish_file
from ai_engine.errors import EmptyMesh, MeshUnreadable, SliceFailed
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import FileNotes, write_mesh
from ai_engine.mesh_files.read import read_mesh
from ai_engine.slicing.slicer import Slicer
from ai_engine.wishes.additions import Base
from ai_engine.wishes.print_options import PrintOptions
from ai_engine.wishes.slicing import Slice


def stl(mesh: Mesh, folder: Path, *, is_mm: bool) -> bytes:
    write_mesh(mesh, folder / "mesh.stl", "stl", notes=FileNotes(is_mm=is_mm))
    return (folder / "mesh.stl").read_bytes()


def test_a_mesh_of_ours_in_model_units_stays_in_them(tmp_path: Path) -> None:
    data = stl(sphere(16), tmp_path, is_mm=False)
    finished = finish_file(data, PrintOptions(), title="ball")
    assert finished.report.units == "model"
    assert np.array_equal(
        np.sort(finished.mesh.vertices, axis=0), np.sort(read_mesh(data).mesh.vertices, axis=0)
    )


def test_a_mesh_in_millimetres_keeps_its_height_and_its_top(tmp_path: Path) -> None:
    cone = trimesh.creation.cone(10, 30)
    finished = finish_file(cone.export(file_type="stl"), PrintOptions(), title="cone")
    top = finished.mesh.vertices[finished.mesh.vertices[:, 2].argmax()]
    assert top == pytest.approx([0, 0, 30], abs=1e-4)
    assert finished.report.units == "mm"


def test_a_glb_is_in_metres_with_y_up() -> None:
    box = trimesh.creation.box((0.01, 0.02, 0.03))
    facts = check_file(box.export(file_type="glb")).facts()
    assert facts.bbox_mm == pytest.approx((10, 30, 20), rel=1e-4)
    assert finish_file(box.export(file_type="glb"), PrintOptions(), title="").report.bbox == pytest.approx(
        (10, 30, 20), rel=1e-4
    )


def test_a_check_mends_nothing(tmp_path: Path) -> None:
    data = stl(broken_meshes.open_ball(), tmp_path, is_mm=True)
    assert not check_file(data).facts().printable
    assert finish_file(data, PrintOptions(), title="").report.facts().printable


def test_nothing_that_encloses_something_is_an_error(tmp_path: Path) -> None:
    sheet = Mesh(cube(1.0).vertices, cube(1.0).faces[:2])
    with pytest.raises(EmptyMesh):
        finish_file(stl(sheet, tmp_path, is_mm=True), PrintOptions(), title="")
    with pytest.raises(MeshUnreadable):
        check_file(b"no mesh")


def test_the_picture_of_a_3mf_and_its_facts_are_there(tmp_path: Path) -> None:
    finished = finish_file(stl(cube(20.0), tmp_path, is_mm=True), PrintOptions(height_mm=40), title="cube")
    assert b"Metadata/thumbnail.png" in finished.bytes_as("3mf")
    facts = finished.facts("3mf")
    assert (facts.format, facts.units, facts.bbox) == ("3mf", "mm", (40.0, 40.0, 40.0))


def test_a_mesh_without_a_picture_has_no_part_that_a_picture_does_not_show(tmp_path: Path) -> None:
    ball, plate = trimesh.creation.icosphere(3, radius=10), trimesh.creation.box((60, 60, 0.9))
    plate.apply_translation((0, 0, -14))
    both = trimesh.util.concatenate([ball, plate])

    facts = finish_file(both.export(file_type="stl"), PrintOptions(), title="").report.facts()

    assert facts.ghost_plane is None
    assert facts.bodies == 2
    assert facts.printable


def test_a_pedestal_comes_as_a_file_or_in_the_wish(tmp_path: Path) -> None:
    data = stl(cube(20.0), tmp_path, is_mm=True)
    slab = trimesh.creation.box((30, 30, 6)).export(file_type="stl")
    inline = Base(mesh_url="data:model/stl;base64," + base64.b64encode(slab).decode())

    by_wish = finish_file(data, PrintOptions(base=inline), title="cube")
    by_file = finish_file(data, PrintOptions(base=Base(mesh_url="slab.stl")), title="cube", pedestal=slab)

    assert by_wish.bytes_as("stl") == by_file.bytes_as("stl")
    assert by_wish.report.bbox[:2] == pytest.approx((30, 30))


def test_a_mesh_without_a_unit_is_not_sliced(tmp_path: Path) -> None:
    data = stl(sphere(16), tmp_path, is_mm=False)
    slicer = Slicer(program(tmp_path / "slicer.sh", "exit 0"))
    with pytest.raises(SliceFailed, match="give height_mm"):
        finish_file(data, PrintOptions(slice=Slice()), title="ball", slicer=slicer)
