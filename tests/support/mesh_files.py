"""A mesh in millimetres and its notes, as files have them; and 3MF read by the letter of its specification."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zipfile import ZipFile

import lib3mf
import numpy as np

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import FileNotes
from ai_engine.printing.prepare import finish
from ai_engine.wishes.print_options import PrintOptions
from support.solid_shapes import sphere

CORE = "{http://schemas.microsoft.com/3dmanufacturing/core/2015/02}"
NOTES = FileNotes(title='Väse <1> & "2"', is_mm=True)


def in_mm() -> Mesh:
    """A ball of 50 mm that stands on the plate."""
    return finish(sphere(20), PrintOptions(height_mm=50))[0]


def read_3mf(path: Path) -> tuple[Mesh, ElementTree.Element]:
    """The mesh of a 3MF file, and its whole model."""
    with ZipFile(path) as archive:
        model = ElementTree.fromstring(archive.read("3D/3dmodel.model"))
    vertices = [[float(vertex.attrib[axis]) for axis in "xyz"] for vertex in model.iter(f"{CORE}vertex")]
    faces = [[int(face.attrib[f"v{n}"]) for n in (1, 2, 3)] for face in model.iter(f"{CORE}triangle")]
    return Mesh(np.asarray(vertices, np.float32), np.asarray(faces, np.int32)), model


def strictly_read(path: Path) -> tuple[Any, list[str]]:
    """The model in the file, and what the reader has to say of it."""
    model = lib3mf.get_wrapper().CreateModel()
    reader = model.QueryReader("3mf")
    reader.SetStrictModeActive(True)
    reader.ReadFromFile(str(path))
    return model, [reader.GetWarning(number)[0] for number in range(reader.GetWarningCount())]


def objects_of(model: Any) -> list[Any]:
    """The mesh objects of a model."""
    found, meshes = [], model.GetMeshObjects()
    while meshes.MoveNext():
        found.append(meshes.GetCurrentMeshObject())
    return found
