"""A mesh file of anybody's as the finish takes it, and the report on it as it came."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.topology import compact
from ai_engine.mesh_files.read import ReadMesh, is_placed
from ai_engine.printing.orientation import y_up, z_up
from ai_engine.printing.report import PrintReport, report


@dataclass(frozen=True, eq=False)
class PosedMesh:
    """A mesh with Y up, as the finish takes it."""

    mesh: Mesh
    mm_per_unit: float | None
    """None for one of ours in model units: neither its format nor its file knows a unit."""


def pose_mesh(found: ReadMesh) -> PosedMesh:
    """The mesh with Y up. One of ours in model units stays so; any other is in millimetres, Z up."""
    return PosedMesh(_upright(found), None if _is_model_space(found) else found.mm_per_unit)


def report_as_it_came(found: ReadMesh) -> PrintReport:
    """What a slicer will find in the file; nothing is mended. Faces without a place are left out, and mentioned."""
    placed = is_placed(found.mesh)
    if not placed.all():
        mesh = compact(found.mesh.vertices, found.mesh.faces[placed])
        about = report_as_it_came(replace(found, mesh=mesh))
        blocker = f"{np.count_nonzero(~placed)} faces have corners that are not finite numbers."
        return replace(about, blockers=(blocker, *about.blockers), warnings=(blocker, *about.warnings))
    if _is_model_space(found):
        return report(found.mesh)
    upright = z_up(_upright(found))
    scaled = (upright.vertices.astype(np.float64) * found.mm_per_unit).astype(np.float32)
    return report(Mesh(scaled, upright.faces), units="mm")


def in_mm(found: ReadMesh) -> Mesh:
    """The mesh in millimetres with Z up, where the file has it: it is not moved."""
    scaled = (found.mesh.vertices.astype(np.float64) * found.mm_per_unit).astype(np.float32)
    return Mesh(scaled, found.mesh.faces)


def _is_model_space(found: ReadMesh) -> bool:
    """True where neither the format nor the file knows a unit: what the shape model gave."""
    return found.up == "y" and found.format != "glb"


def _upright(found: ReadMesh) -> Mesh:
    return found.mesh if found.up == "y" else y_up(found.mesh)
