"""The only door to pymeshlab: the thorough, slow repair for what the fast way leaves open.

pymeshlab is GPL-3. It is not needed: where it is not installed, nothing is repaired here.
"""

from __future__ import annotations

import logging
from importlib import import_module

import numpy as np

from ai_engine.mesh.mesh import Mesh

MAX_HOLE_EDGES = 2000

logger = logging.getLogger(__name__)


def repair(mesh: Mesh) -> Mesh | None:
    """The mesh with its surface mended and its holes closed as far as MeshLab can; None where it can't be asked."""
    try:
        pymeshlab = import_module("pymeshlab")
        meshes = pymeshlab.MeshSet(verbose=False)
        meshes.add_mesh(pymeshlab.Mesh(mesh.vertices.astype(np.float64), mesh.faces))
        meshes.meshing_repair_non_manifold_edges()
        meshes.meshing_repair_non_manifold_vertices()
        meshes.meshing_close_holes(maxholesize=MAX_HOLE_EDGES, selfintersection=False)
        meshes.meshing_re_orient_faces_coherently()
        mended = meshes.current_mesh()
    except ImportError:
        return None
    except Exception as error:
        # Its filters refuse a mesh by exceptions of many kinds; the mesh then stays as it was.
        logger.info("pymeshlab could not repair the mesh: %s", error)
        return None
    return Mesh(mended.vertex_matrix().astype(np.float32), mended.face_matrix().astype(np.int32))
