from __future__ import annotations

from pathlib import Path

import numpy as np
from support.solid_shapes import sphere

from ai_engine.mesh_files.npz import load_mesh, save_mesh


def test_arrays_are_read_back_as_they_were(tmp_path: Path) -> None:
    save_mesh(sphere(16), tmp_path / "mesh")

    found = load_mesh(tmp_path / "mesh")

    assert np.array_equal(found.vertices, sphere(16).vertices)
    assert np.array_equal(found.faces, sphere(16).faces)
    assert (str(found.vertices.dtype), str(found.faces.dtype)) == ("float32", "int32")
