"""Every format is read back by another program's reader, or by the letter of its specification."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import trimesh
from support.mesh_files import NOTES, in_mm, read_3mf
from support.solid_shapes import cube, joined, sphere

from ai_engine.facts import MEDIA_TYPES, MeshFormat
from ai_engine.mesh_files.mesh_file import FileNotes, most_faces_in, write_mesh
from ai_engine.printing.prepare import finish
from ai_engine.wishes.print_options import PrintOptions

FORMATS: list[MeshFormat] = ["stl", "3mf", "glb", "obj", "ply"]


@pytest.mark.parametrize("file_format", ["stl", "obj", "ply"])
def test_another_reader_finds_the_very_same_triangles(tmp_path: Path, file_format: MeshFormat) -> None:
    mesh = in_mm()
    write_mesh(mesh, tmp_path / f"a.{file_format}", file_format, notes=NOTES)
    read = trimesh.load_mesh(tmp_path / f"a.{file_format}", process=False)
    assert np.array_equal(read.triangles.astype(np.float32), mesh.corners())


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_same_mesh_makes_the_same_bytes(tmp_path: Path, file_format: MeshFormat) -> None:
    for name in "ab":
        write_mesh(in_mm(), tmp_path / name, file_format, notes=NOTES, thumbnail=b"png")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("file_format", FORMATS)
def test_pieces_make_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: MeshFormat
) -> None:
    mesh = joined(cube(), sphere(8))
    write_mesh(mesh, tmp_path / "whole", file_format)
    for module in ("mesh_file", "stl", "glb", "text_rows"):
        monkeypatch.setattr(f"ai_engine.mesh_files.{module}.CHUNK_ROWS", 7)
    write_mesh(mesh, tmp_path / "pieces", file_format)
    if file_format == "3mf":  # packed in other pieces, the same inside
        assert np.array_equal(
            read_3mf(tmp_path / "whole")[0].corners(), read_3mf(tmp_path / "pieces")[0].corners()
        )
    else:
        assert (tmp_path / "whole").read_bytes() == (tmp_path / "pieces").read_bytes()


@pytest.mark.parametrize("file_format", FORMATS)
def test_writing_takes_little_memory_beyond_the_mesh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: MeshFormat
) -> None:
    for module in ("mesh_file", "stl", "glb", "text_rows"):
        monkeypatch.setattr(f"ai_engine.mesh_files.{module}.CHUNK_ROWS", 256)
    peaks = []
    for mesh in (sphere(30), sphere(60)):
        tracemalloc.start()
        write_mesh(mesh, tmp_path / "a", file_format)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 100_000


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("max_bytes", [20_000, 150_000])
def test_so_many_faces_fit_for_sure(tmp_path: Path, file_format: MeshFormat, max_bytes: int) -> None:
    faces = most_faces_in(max_bytes, file_format)
    mesh, _ = finish(sphere(64), PrintOptions(target_faces=faces, height_mm=123.4))
    write_mesh(mesh, tmp_path / "a", file_format, notes=NOTES)
    assert (tmp_path / "a").stat().st_size <= max_bytes


def test_nothing_fits_a_file_smaller_than_its_own_frame() -> None:
    assert all(most_faces_in(100, file_format) == 0 for file_format in FORMATS)


@pytest.mark.parametrize("file_format", FORMATS)
def test_what_is_no_number_is_refused_before_anything_is_written(
    tmp_path: Path, file_format: MeshFormat
) -> None:
    mesh = cube()
    mesh.vertices[3, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        write_mesh(mesh, tmp_path / "a", file_format)
    assert not (tmp_path / "a").exists()


def test_a_title_can_not_break_out_of_its_comment(tmp_path: Path) -> None:
    notes = FileNotes(title="x\nv 9 9 9\nend_header\n")
    for file_format in ("obj", "ply"):
        write_mesh(cube(), tmp_path / f"a.{file_format}", file_format, notes=notes)
        assert len(trimesh.load_mesh(tmp_path / f"a.{file_format}", process=False).vertices) == 8


def test_every_format_has_a_media_type() -> None:
    assert sorted(MEDIA_TYPES) == sorted(FORMATS)
