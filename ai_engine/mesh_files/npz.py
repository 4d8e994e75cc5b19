"""A mesh between two stages: its arrays as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ai_engine.mesh.mesh import Mesh


def save_mesh(mesh: Mesh, path: Path) -> None:
    """Writes `mesh` to an NPZ file."""
    with path.open("wb") as file:
        np.savez(file, vertices=mesh.vertices, faces=mesh.faces)


def load_mesh(path: Path) -> Mesh:
    """The mesh that `save_mesh` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return Mesh(arrays["vertices"], arrays["faces"])
