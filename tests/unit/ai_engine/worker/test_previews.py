"""Pictures of finished meshes, drawn without a job engine: real files, a real store."""

from __future__ import annotations

from pathlib import Path

from support.solid_shapes import sphere

from ai_engine.job import Artifact
from ai_engine.job_queue.on_demand import PreviewTask
from ai_engine.mesh_files.stl import write_stl
from ai_engine.storage.store import LocalStore
from ai_engine.worker.previews import make_preview

ID = "0" * 32


def test_the_picture_lies_beside_the_mesh(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    mesh = store.put(ID, "mesh.stl", lambda path: write_stl(sphere(16), path))

    picture = make_preview(PreviewTask(ID, mesh, is_z_up=False), store).picture

    assert picture is not None
    assert picture.uri == f"{ID}/preview.png"
    assert store.path(picture).read_bytes().startswith(b"\x89PNG")


def test_a_mesh_that_is_gone_has_no_picture(tmp_path: Path) -> None:
    gone = Artifact(f"{ID}/mesh.stl", "0" * 64, 5)

    assert make_preview(PreviewTask(ID, gone, is_z_up=False), LocalStore(tmp_path)).picture is None
