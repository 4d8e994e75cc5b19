from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from ai_engine.caller_meshes.read_here import read_here
from ai_engine.errors import MeshUnreadable, TooManyFaces
from ai_engine.mesh_files.npz import load_mesh


def box(folder: Path, file_format: str = "stl") -> Path:
    source = folder / "part"
    source.write_bytes(trimesh.creation.box((1, 2, 3)).export(file_type=file_format))
    return source


def test_the_mesh_lies_at_the_target_with_y_up(tmp_path: Path) -> None:
    facts = read_here(box(tmp_path), tmp_path / "mesh.npz", max_faces=12)

    assert (facts.format, facts.mm_per_unit, facts.report.triangles) == ("stl", 1.0, 12)
    assert facts.report.bbox_mm == (1, 2, 3)
    assert np.ptp(load_mesh(tmp_path / "mesh.npz").vertices, axis=0).tolist() == [1, 3, 2]


def test_a_pedestal_lies_there_in_millimetres_with_z_up(tmp_path: Path) -> None:
    read_here(box(tmp_path, "3mf"), tmp_path / "mesh.npz", max_faces=12, is_in_mm=True)

    assert np.ptp(load_mesh(tmp_path / "mesh.npz").vertices, axis=0).tolist() == [1, 2, 3]


def test_what_can_not_be_read_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(TooManyFaces):
        read_here(box(tmp_path), tmp_path / "mesh.npz", max_faces=11)
    (tmp_path / "part").write_bytes(b"nothing")
    with pytest.raises(MeshUnreadable):
        read_here(tmp_path / "part", tmp_path / "mesh.npz", max_faces=12)
    assert not (tmp_path / "mesh.npz").exists()
