from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from support.solid_shapes import cube, joined, sphere

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files import stl
from ai_engine.mesh_files.mesh_file import FileNotes, write_mesh
from ai_engine.mesh_files.stl import read_stl, write_stl
from ai_engine.printing.report import report


def test_the_file_is_84_bytes_and_50_for_each_face(tmp_path: Path) -> None:
    write_stl(cube(), tmp_path / "a.stl")
    assert (tmp_path / "a.stl").stat().st_size == 84 + 50 * 12


def test_another_reader_finds_the_same_closed_solid(tmp_path: Path) -> None:
    mesh = sphere()
    write_stl(mesh, tmp_path / "a.stl")
    read = trimesh.load_mesh(tmp_path / "a.stl")
    assert read.is_watertight
    assert len(read.faces) == len(mesh.faces)
    assert read.volume == pytest.approx(4 / 3 * np.pi, rel=0.02)


def test_normals_point_out_and_have_length_one(tmp_path: Path) -> None:
    write_stl(cube(), tmp_path / "a.stl")
    records = np.frombuffer((tmp_path / "a.stl").read_bytes()[84:], stl._STL_FACE)
    centres = records["corners"].mean(axis=1)
    assert np.allclose(np.linalg.norm(records["normal"], axis=1), 1)
    assert np.all(np.einsum("ij,ij->i", records["normal"], centres) > 0.5)


def test_a_face_without_area_gets_a_zero_normal(tmp_path: Path) -> None:
    flat = Mesh(np.zeros((3, 3), np.float32), np.asarray([[0, 1, 2]], np.int32))
    write_stl(flat, tmp_path / "a.stl")
    assert not np.frombuffer((tmp_path / "a.stl").read_bytes()[84:], stl._STL_FACE)["normal"].any()


def test_chunks_make_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = joined(cube(), sphere(8))
    write_stl(mesh, tmp_path / "whole.stl")
    monkeypatch.setattr(stl, "CHUNK_ROWS", 7)
    write_stl(mesh, tmp_path / "chunks.stl")
    assert (tmp_path / "whole.stl").read_bytes() == (tmp_path / "chunks.stl").read_bytes()


def test_the_header_holds_the_title_and_never_says_solid(tmp_path: Path) -> None:
    write_stl(cube(), tmp_path / "a.stl", title="AI Engine job 7, überlang " * 9)
    header = (tmp_path / "a.stl").read_bytes()[:80]
    assert header.startswith(b"AI Engine job 7, ?berlang")
    with pytest.raises(ValueError, match="solid"):
        write_stl(cube(), tmp_path / "a.stl", title="Solid gold")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_coordinate_that_is_no_number_is_refused_before_anything_is_written(
    tmp_path: Path, value: float
) -> None:
    mesh = cube()
    mesh.vertices[3, 1] = value
    with pytest.raises(ValueError, match="finite"):
        write_stl(mesh, tmp_path / "a.stl")
    assert not (tmp_path / "a.stl").exists()


def test_a_file_read_back_is_the_same_closed_surface(tmp_path: Path) -> None:
    mesh = joined(cube(), sphere(8))
    write_stl(mesh, tmp_path / "a.stl")
    read = read_stl((tmp_path / "a.stl").read_bytes())
    assert np.array_equal(read.corners(), mesh.corners())
    assert (len(read.vertices), report(read).is_watertight) == (len(mesh.vertices), True)


def test_a_file_that_holds_just_the_mesh_it_was_written_of_is_that_mesh(tmp_path: Path) -> None:
    mesh = sphere(8)
    write_stl(mesh, tmp_path / "a.stl")
    data = (tmp_path / "a.stl").read_bytes()
    loose = Mesh(mesh.corners().reshape(-1, 3), np.arange(mesh.faces.size, dtype=np.int32).reshape(-1, 3))
    moved = Mesh(mesh.vertices * np.float32(2), mesh.faces)

    assert read_stl(data, written=mesh) is mesh
    for other in (loose, moved):
        read = read_stl(data, written=other)
        assert np.array_equal(read.corners(), mesh.corners())
        assert len(read.vertices) == len(mesh.vertices)


def test_plus_and_minus_zero_are_one_place() -> None:
    points = np.asarray([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [-0.0, 0, 0], [0, 1, 0], [-1, 0, 0]], np.float32)
    records = np.zeros(2, stl._STL_FACE)
    records["corners"] = points.reshape(2, 3, 3)
    data = b" " * 80 + (2).to_bytes(4, "little") + records.tobytes()
    assert len(read_stl(data).vertices) == 4


@pytest.mark.parametrize("data", [b"", b"solid x", b" " * 84 + b"x", b" " * 80 + b"\1\0\0\0" + b"x" * 49])
def test_a_file_of_another_size_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="bytes, the file has"):
        read_stl(data)


NOTES = FileNotes(title='Väse <1> & "2"', is_mm=True)


def test_the_stl_header_says_units_and_title(tmp_path: Path) -> None:
    write_mesh(cube(), tmp_path / "a.stl", "stl", notes=NOTES)
    assert (tmp_path / "a.stl").read_bytes()[:80].decode() == (
        'AI Engine; mm, Z up; V?se <1> & "2"'.ljust(80)
    )
