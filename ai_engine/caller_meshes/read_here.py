"""Reads a caller's mesh file, poses it for the finish and reports on it as it came, in the process that calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ai_engine.caller_meshes.posed import in_mm, pose_mesh, report_as_it_came
from ai_engine.facts import MeshFormat, PrintFacts
from ai_engine.mesh_files.npz import save_mesh
from ai_engine.mesh_files.read import read_mesh


@dataclass(frozen=True)
class ReadFacts:
    """What is known of a mesh file once it was read."""

    format: MeshFormat
    mm_per_unit: float | None
    """Of the mesh that was written; None in model units."""
    report: PrintFacts
    """As it came."""


def read_here(source: Path, target: Path, *, max_faces: int, is_in_mm: bool = False) -> ReadFacts:
    """Reads the mesh file at `source` and writes its mesh, Y up, as NPZ to `target`. `is_in_mm`: in millimetres with Z
    up instead.

    Raises:
        MeshUnreadable: the bytes are no mesh, or a damaged one.
        TooManyFaces: it has more than `max_faces`.
        MeshBomb: it unpacks to too much.
    """
    found = read_mesh(source.read_bytes(), max_faces=max_faces)
    pose = pose_mesh(found)
    save_mesh(in_mm(found) if is_in_mm else pose.mesh, target)
    return ReadFacts(found.format, pose.mm_per_unit, report_as_it_came(found).facts())
