from __future__ import annotations

import io
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image
from support.mesh_files import CORE, NOTES, in_mm, read_3mf
from support.solid_shapes import cube, sphere

from ai_engine.mesh_files.mesh_file import write_mesh
from ai_engine.printing.preview import preview_png


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
    assert told == {"Application": "AI Engine", "Title": NOTES.title}
    with ZipFile(tmp_path / "a.3mf") as archive:
        assert archive.testzip() is None
        assert b"/Metadata/thumbnail.png" in archive.read("_rels/.rels")
        assert Image.open(io.BytesIO(archive.read("Metadata/thumbnail.png"))).size == (64, 32)
