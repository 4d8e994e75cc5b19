"""Every format is read back by another program's reader, or by the letter of its specification."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zipfile import ZipFile

import numpy as np
import pytest
import trimesh
from PIL import Image
from support.solid_shapes import cube, joined, sphere

from ai_engine.facts import MeshFormat
from ai_engine.job import MEDIA_TYPES, PrintOptions
from ai_engine.mesh.mesh import Mesh
from ai_engine.printing import text_rows as mesh_text
from ai_engine.printing.glb import write_glb
from ai_engine.printing.mesh_file import FileNotes, most_faces_in, write_mesh
from ai_engine.printing.prepare import finish
from ai_engine.printing.preview import preview_png

FORMATS: list[MeshFormat] = ["stl", "3mf", "glb", "obj", "ply"]
CORE = "{http://schemas.microsoft.com/3dmanufacturing/core/2015/02}"
NOTES = FileNotes(title='Väse <1> & "2"', made_at="2026-11-23T16:40:00Z", is_mm=True)


def in_mm() -> Mesh:
    return finish(sphere(20), PrintOptions(height_mm=50))[0]


def read_3mf(path: Path) -> tuple[Mesh, ElementTree.Element]:
    with ZipFile(path) as archive:
        model = ElementTree.fromstring(archive.read("3D/3dmodel.model"))
    vertices = [[float(vertex.attrib[axis]) for axis in "xyz"] for vertex in model.iter(f"{CORE}vertex")]
    faces = [[int(face.attrib[f"v{n}"]) for n in (1, 2, 3)] for face in model.iter(f"{CORE}triangle")]
    return Mesh(np.asarray(vertices, np.float32), np.asarray(faces, np.int32)), model


def glb_document(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    assert int.from_bytes(data[8:12], "little") == len(data)
    document: dict[str, Any] = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    return document


@pytest.mark.parametrize("file_format", ["stl", "obj", "ply"])
def test_another_reader_finds_the_very_same_triangles(tmp_path: Path, file_format: MeshFormat) -> None:
    mesh = in_mm()
    write_mesh(mesh, tmp_path / f"a.{file_format}", file_format, notes=NOTES)
    read = trimesh.load_mesh(tmp_path / f"a.{file_format}", process=False)
    assert np.array_equal(read.triangles.astype(np.float32), mesh.corners())


def test_3mf_holds_the_same_numbers_in_millimetres(tmp_path: Path) -> None:
    mesh = in_mm()
    write_mesh(mesh, tmp_path / "a.3mf", "3mf", notes=NOTES)
    read, model = read_3mf(tmp_path / "a.3mf")
    assert model.attrib["unit"] == "millimeter"
    assert np.array_equal(read.vertices, mesh.vertices)
    assert np.array_equal(read.faces, mesh.faces)


def test_3mf_brings_its_title_and_its_thumbnail(tmp_path: Path) -> None:
    thumbnail = preview_png(sphere(6), side_px=32)
    write_mesh(cube(), tmp_path / "a.3mf", "3mf", notes=NOTES, thumbnail=thumbnail)
    _, model = read_3mf(tmp_path / "a.3mf")
    told = {entry.attrib["name"]: entry.text for entry in model.iter(f"{CORE}metadata")}
    assert told == {"Application": "AI Engine", "Title": NOTES.title, "CreationDate": NOTES.made_at}
    with ZipFile(tmp_path / "a.3mf") as archive:
        assert archive.testzip() is None
        assert b"/Metadata/thumbnail.png" in archive.read("_rels/.rels")
        assert Image.open(io.BytesIO(archive.read("Metadata/thumbnail.png"))).size == (64, 32)


def test_glb_is_in_metres_with_y_up_whatever_the_mesh_was(tmp_path: Path) -> None:
    mesh = in_mm()
    write_mesh(mesh, tmp_path / "mm.glb", "glb", notes=NOTES)
    read = trimesh.load(tmp_path / "mm.glb", force="mesh")
    assert read.is_watertight
    assert read.volume > 0
    assert read.extents == pytest.approx(np.ptp(mesh.vertices, axis=0)[[0, 2, 1]] / 1000)
    write_mesh(sphere(8), tmp_path / "model.glb", "glb")
    assert trimesh.load(tmp_path / "model.glb", force="mesh").extents == pytest.approx((2, 2, 2), abs=0.05)


def test_a_quantised_glb_is_smaller_and_as_near_as_it_says(tmp_path: Path) -> None:
    mesh = in_mm()
    write_glb(mesh, tmp_path / "full.glb", is_mm=True)
    write_glb(mesh, tmp_path / "small.glb", is_mm=True, quantised=True)
    full, small = (tmp_path / f"{name}.glb" for name in ("full", "small"))
    assert full.stat().st_size - small.stat().st_size > 3 * len(mesh.vertices)
    document = glb_document(small)
    assert document["extensionsRequired"] == ["KHR_mesh_quantization"]
    view = document["bufferViews"][1]
    begin = 28 + int.from_bytes(small.read_bytes()[12:16], "little") + view["byteOffset"]
    stored = np.frombuffer(small.read_bytes()[begin:], "<u2").reshape(-1, 4)[:, :3]
    matrix = np.asarray(document["nodes"][0]["matrix"]).reshape(4, 4).T
    metres = stored @ matrix[:3, :3].T + matrix[:3, 3]
    expected = mesh.vertices[:, [0, 2, 1]] * (0.001, 0.001, -0.001)
    assert np.abs(metres - expected).max() < 0.05 / 65535
    accessor = document["accessors"][1]
    assert accessor["min"] == stored.min(axis=0).tolist()
    assert accessor["max"] == stored.max(axis=0).tolist()


def test_glb_names_its_bounds_exactly(tmp_path: Path) -> None:
    mesh = in_mm()
    write_glb(mesh, tmp_path / "a.glb")
    accessor = glb_document(tmp_path / "a.glb")["accessors"][1]
    assert np.array_equal(np.asarray(accessor["max"], np.float32), mesh.vertices.max(axis=0))


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
        monkeypatch.setattr(f"ai_engine.printing.{module}.CHUNK_ROWS", 7)
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
        monkeypatch.setattr(f"ai_engine.printing.{module}.CHUNK_ROWS", 256)
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


def test_the_stl_header_says_what_and_when(tmp_path: Path) -> None:
    write_mesh(cube(), tmp_path / "a.stl", "stl", notes=NOTES)
    assert (tmp_path / "a.stl").read_bytes()[:80].decode() == (
        'AI Engine; mm, Z up; 2026-11-23T16:40:00Z; V?se <1> & "2"'.ljust(80)
    )


def test_a_title_can_not_break_out_of_its_comment(tmp_path: Path) -> None:
    notes = FileNotes(title="x\nv 9 9 9\nend_header\n")
    for file_format in ("obj", "ply"):
        write_mesh(cube(), tmp_path / f"a.{file_format}", file_format, notes=notes)
        assert len(trimesh.load_mesh(tmp_path / f"a.{file_format}", process=False).vertices) == 8


def test_every_format_has_a_media_type() -> None:
    assert sorted(MEDIA_TYPES) == sorted(FORMATS)


def test_numbers_keep_every_bit_as_text() -> None:
    values = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    lines = b"".join(mesh_text.rows_as_text(values, "%.9g %.9g %.9g\n")).split()
    assert np.array_equal(np.asarray(lines, np.float32).reshape(-1, 3), values)
