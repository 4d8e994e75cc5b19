from __future__ import annotations

import io
from pathlib import Path
from zipfile import ZipFile

import lib3mf
import numpy as np
import pytest
from PIL import Image
from support.mesh_files import CORE, NOTES, in_mm, objects_of, read_3mf, strictly_read
from support.solid_shapes import cube, sphere

from ai_engine.mesh_files.mesh_file import FileNotes, write_mesh
from ai_engine.printing.prepare import finish
from ai_engine.printing.preview import preview_png
from ai_engine.wishes.additions import Attach, Base, Hollow
from ai_engine.wishes.print_options import PrintOptions

FINISHED = {
    "plain": PrintOptions(height_mm=40),
    "model units": PrintOptions(),
    "few faces": PrintOptions(height_mm=40, target_faces=300),
    "base with a text": PrintOptions(height_mm=40, base=Base("hex", height_mm=9, text="Ada <&> Zoë")),
    "hollow": PrintOptions(height_mm=30, hollow=Hollow(2.5, "none")),
    "hollow, base and ring": PrintOptions(
        height_mm=40, hollow=Hollow(), base=Base(), attach=Attach("keyring")
    ),
}
"""What is asked of a ball."""


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


@pytest.mark.parametrize("options", FINISHED.values(), ids=list(FINISHED))
def test_the_consortium_s_strict_reader_takes_every_3mf_without_a_warning(
    tmp_path: Path, options: PrintOptions
) -> None:
    mesh, _ = finish(sphere(16), options)
    thumbnail = preview_png(mesh, side_px=32)
    write_mesh(mesh, tmp_path / "a.3mf", "3mf", notes=NOTES, thumbnail=thumbnail)
    model, warnings = strictly_read(tmp_path / "a.3mf")
    assert warnings == []
    assert model.GetUnit() == lib3mf.ModelUnit.MilliMeter
    assert model.HasPackageThumbnailAttachment()
    (found,) = objects_of(model)
    assert found.IsValid()
    assert found.IsManifoldAndOriented()
    assert (found.GetVertexCount(), found.GetTriangleCount()) == (len(mesh.vertices), len(mesh.faces))
    corners = [tuple(vertex.Coordinates) for vertex in found.GetVertices()]
    assert np.array_equal(np.asarray(corners, np.float32), mesh.vertices)


def test_the_strict_reader_does_refuse_what_the_specification_forbids(tmp_path: Path) -> None:
    write_mesh(cube(), tmp_path / "a.3mf", "3mf", notes=FileNotes())
    spoilt = tmp_path / "b.3mf"
    with ZipFile(tmp_path / "a.3mf") as whole, ZipFile(spoilt, "w") as archive:
        for name in whole.namelist():
            # A corner that there is not.
            archive.writestr(name, whole.read(name).replace(b'v1="0"', b'v1="99"'))
    with pytest.raises(lib3mf.ELib3MFException):
        strictly_read(spoilt)
