from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from support.solid_shapes import cube, sphere

from ai_engine.errors import MeshUnreadable
from ai_engine.facts import MeshFormat
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import FileNotes, write_mesh
from ai_engine.mesh_files.read import read_mesh

FORMATS: tuple[MeshFormat, ...] = ("stl", "3mf", "glb", "obj", "ply")


def written(mesh: Mesh, folder: Path, file_format: MeshFormat, *, is_mm: bool = True) -> bytes:
    path = folder / f"mesh.{file_format}"
    write_mesh(mesh, path, file_format, notes=FileNotes("a ball", is_mm=is_mm))
    return path.read_bytes()


def volume(mesh: Mesh) -> float:
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces].astype(np.float64), 1, 0)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("file_format", FORMATS)
def test_our_own_files_are_read_back(tmp_path: Path, file_format: MeshFormat) -> None:
    ball = sphere(16)
    found = read_mesh(written(ball, tmp_path, file_format))

    assert (found.format, len(found.mesh.faces)) == (file_format, len(ball.faces))
    assert found.up == ("y" if file_format == "glb" else "z")
    in_mm = volume(found.mesh) * found.mm_per_unit**3
    assert in_mm == pytest.approx(volume(ball), rel=1e-5)


@pytest.mark.parametrize("file_format", ["stl", "obj", "ply"])
def test_a_file_in_model_units_says_that_y_is_up(tmp_path: Path, file_format: MeshFormat) -> None:
    assert read_mesh(written(sphere(16), tmp_path, file_format, is_mm=False)).up == "y"


@pytest.mark.parametrize("file_format", ["stl", "stl_ascii", "3mf", "glb", "obj", "ply"])
def test_files_of_another_program_are_read(file_format: str) -> None:
    box = trimesh.creation.box((1, 2, 3))
    data = box.export(file_type=file_format)

    found = read_mesh(data.encode() if isinstance(data, str) else data)

    assert volume(found.mesh) == pytest.approx(6, rel=1e-5)
    assert len(found.mesh.vertices) == 8


def test_a_3mf_in_inches_is_known_to_be_so() -> None:
    box = trimesh.creation.box((1, 1, 1))
    data = io.BytesIO(box.export(file_type="3mf"))
    with zipfile.ZipFile(data) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part.replace(b'unit="millimeter"', b'unit="inch"'))

    assert read_mesh(packed.getvalue()).mm_per_unit == pytest.approx(25.4)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"PK\x03\x04 no zip",
        b"glTF\2\0\0\0",
        b"solid a\nendsolid a\n",
        b"ply\nformat ascii 1.0\n",
        b"\x00" * 84,
        b"v 1 2\nf 1 2 3\n",
        b"v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    ],
    ids=["empty", "text", "zip", "glb", "stl", "ply", "no faces", "short obj", "nan"],
)
def test_bytes_that_are_no_mesh_are_refused(data: bytes) -> None:
    with pytest.raises(MeshUnreadable):
        read_mesh(data)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_that_was_cut_short_is_refused_or_has_no_more_than_it_says(
    tmp_path: Path, file_format: MeshFormat
) -> None:
    data = written(sphere(16), tmp_path, file_format)
    try:
        found = read_mesh(data[: len(data) * 2 // 3])
    except MeshUnreadable:
        return
    assert file_format in ("obj", "ply")
    assert len(found.mesh.faces) < len(sphere(16).faces)


@pytest.mark.parametrize("file_format", FORMATS)
def test_more_faces_than_are_taken_are_refused(tmp_path: Path, file_format: MeshFormat) -> None:
    with pytest.raises(MeshUnreadable, match="at most 11 "):
        read_mesh(written(cube(1.0), tmp_path, file_format), max_faces=11)


def glb(document: object) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text


@pytest.mark.parametrize(
    "document",
    [
        {"accessors": [{"count": 4_000_000_000, "componentType": 5126, "type": "VEC3"}], "meshes": []},
        {
            "accessors": [{"count": 3_000_000}],
            "meshes": [{"primitives": [{"indices": 0, "attributes": {}}]}],
            "nodes": [{"mesh": 0}] * 1000,
        },
        {"nodes": [{"children": [1, 1]}, {"mesh": 0}], "meshes": []},
        {"meshes": 7},
    ],
    ids=["count", "instances", "no tree", "no list"],
)
def test_a_glb_that_would_unpack_to_more_than_is_taken_is_refused_by_its_description(
    document: object,
) -> None:
    with pytest.raises(MeshUnreadable):
        read_mesh(glb(document))


def test_a_zip_bomb_is_refused_by_its_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_engine.mesh_files.read.MAX_UNPACKED_BYTES", 1_000_000)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("3D/3dmodel.model", bytes(2_000_000))

    with pytest.raises(MeshUnreadable, match="unpacks to more"):
        read_mesh(packed.getvalue())
