"""`preview.png` of a job: drawn with its mesh, or from the mesh's file when it is first asked for.

A mesh that is drawn later lies in the store: as the caller's STL, or as an NPZ beside the caller's file.
"""

from __future__ import annotations

from pathlib import Path

from ai_engine.job import Artifact, Job
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.npz import load_mesh, save_mesh
from ai_engine.mesh_files.stl import read_stl
from ai_engine.printing.preview import preview_png
from ai_engine.storage.store import ArtifactStore

PREVIEW_FILE = "preview.png"


def keep_drawable(mesh: Mesh, file: Artifact, job: Job, store: ArtifactStore) -> Artifact:
    """The file that the picture of `mesh` is drawn from later; `file` is the caller's STL, where there is one."""
    if "stl" in job.formats:
        return file
    return store.put(job.job_id, "finished.npz", lambda path: save_mesh(mesh, path))


def draw_preview(job_id: str, drawable: Artifact, store: ArtifactStore, *, is_z_up: bool) -> Artifact:
    """The picture of a mesh that `keep_drawable` kept.

    Raises:
        FileNotFoundError: it is no longer kept.
        StoreUnavailable: it can't be had now.
    """
    picture = preview_png(_read(store.path(drawable)), is_z_up=is_z_up)
    return store.put_bytes(job_id, PREVIEW_FILE, picture)


def _read(path: Path) -> Mesh:
    return read_stl(path.read_bytes()) if path.suffix == ".stl" else load_mesh(path)
