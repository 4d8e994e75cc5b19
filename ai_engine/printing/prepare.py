"""Mesh to printable mesh, and a report of what a slicer will find. Knows no files and no jobs.

    clean -> ghost plane? -> fewer faces -> flat base -> millimetres, on the plate -> hollow, base, ring or magnet
    -> as a slicer sees it -> report

With nothing asked, a mesh in good order goes through untouched: model units, Y up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ai_engine.additions.base import NOT_JOINED
from ai_engine.additions.sequence import add_all
from ai_engine.errors import AdditionUnfit, EmptyMesh, NotPrintable
from ai_engine.facts import AdditionFacts, MeshFormat
from ai_engine.mesh.clean import Repairs, clean
from ai_engine.mesh.ghost_plane import GhostPlane, Outline, find_ghost_plane
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.proximity import hausdorff
from ai_engine.mesh.simplify import simplify
from ai_engine.mesh.topology import edge_facts, weld
from ai_engine.mesh_files.mesh_file import most_faces_in
from ai_engine.printing.costs import weigh
from ai_engine.printing.orientation import cut_flat_base, scale_to, stand, y_up, z_up
from ai_engine.printing.pymeshlab_repair import repair
from ai_engine.printing.report import PrintReport, report
from ai_engine.stage import Stage
from ai_engine.wishes.print_options import PrintOptions

GHOST_PLANE: dict[GhostPlane, str] = {
    "floor": "The object stands on a flat floor that the picture does not show.",
    "wall": "The object leans at a flat wall that the picture does not show.",
    "sheet": "Beside the object is a flat sheet that the picture does not show.",
}
MIN_BASE_SHARE = 0.15
"""The least share of its ground plan that a shape with a flat base stands on."""


@dataclass(frozen=True, eq=False)
class _Work:
    """The mesh on its way, and what is to be said about what happened to it."""

    mesh: Mesh
    repairs: Repairs = field(default_factory=Repairs)
    simplification_error: float | None = None
    """The farthest that the surface moved when faces were taken away, in the mesh's units."""
    ghost_plane: GhostPlane | None = None
    additions: tuple[AdditionFacts, ...] = ()
    remarks: tuple[str, ...] = ()

    def with_remark(self, remark: str) -> _Work:
        return replace(self, remarks=(*self.remarks, remark))


def limit_faces(options: PrintOptions, formats: Iterable[MeshFormat]) -> PrintOptions:
    """The options with their limit to the file's bytes as a limit to its faces, so that a file of each format fits."""
    limits = [] if options.target_faces is None else [options.target_faces]
    if options.max_bytes is not None:
        limits += [most_faces_in(options.max_bytes, one) for one in formats]
    return replace(options, target_faces=min(limits)) if limits else options


def finish(
    mesh: Mesh,
    options: PrintOptions | None = None,
    *,
    see: Callable[[Mesh], Mesh] = weld,
    half_extent: float | None = None,
    outline: Callable[[], Outline] | None = None,
    is_from_picture: bool = True,
    mm_per_unit: float | None = None,
    pedestal: Mesh | None = None,
) -> tuple[Mesh, PrintReport]:
    """The mesh as it will be delivered, and the report on it, made from `see(mesh)`: the mesh as a slicer reads it.

    `half_extent` of the searched box and the `outline` of the object in its picture distinguish
    a ghost plane from a plate that belongs to the object. A mesh that is not from a picture has none.
    `mm_per_unit`: of a mesh that knows its unit; without `height_mm` it is made in millimetres and keeps its size.
    `pedestal`: what `base.mesh_url` names, in millimetres.

    Raises:
        EmptyMesh: nothing is left that encloses anything.
        AdditionUnfit: what was to be added does not fit.
        NotPrintable: the report is bad, and `require_printable` was asked.
    """
    options = options or PrintOptions()
    work = _clean(mesh)
    if is_from_picture:
        found_plane = find_ghost_plane(work.mesh, outline=outline, half_extent=half_extent)
        work = replace(work, ghost_plane=found_plane)
    if options.target_faces is not None:
        work = _simplify(work, options.target_faces)
    if options.flat_base:
        work = _flatten_base(work)
    if options.height_mm is None and mm_per_unit is not None:
        options = replace(options, height_mm=mm_per_unit * float(np.ptp(work.mesh.vertices[:, 1])))
    if options.height_mm is not None:
        work = _stand(work, options.height_mm)
    if options.has_additions:
        work = _add(work, options, pedestal)
    found = _with_history(report(see(work.mesh), units="mm" if options.is_mm else "model"), work)
    if options.require_printable and found.blockers:
        raise NotPrintable(" ".join(found.blockers))
    return work.mesh, found


def _clean(mesh: Mesh) -> _Work:
    cleaned, repairs = clean(mesh)
    if repairs.bad_edges_left and len(cleaned.faces):
        mended = repair(cleaned)
        if mended is not None:
            cleaned, still = clean(mended)
            repairs = replace(repairs, bad_edges_left=still.bad_edges_left, mended_by_meshlab=1)
    if len(cleaned.faces) == 0:
        raise EmptyMesh("The mesh encloses nothing: no part of it is a solid.", stage=Stage.FINISH)
    return _Work(cleaned, repairs)


def _simplify(work: _Work, target_faces: int) -> _Work:
    fewer = simplify(work.mesh, target_faces) if _is_solid(work.mesh) else None
    if fewer is None:
        return work.with_remark(f"It could not be brought to {target_faces} faces and stay closed.")
    if fewer is work.mesh:
        return work
    return replace(work, mesh=fewer, simplification_error=hausdorff(work.mesh, fewer))


def _flatten_base(work: _Work) -> _Work:
    based = cut_flat_base(z_up(work.mesh), MIN_BASE_SHARE)
    if based is None:
        return work.with_remark("No flat base could be cut.")
    return replace(work, mesh=clean(y_up(based))[0])


def _stand(work: _Work, height_mm: float) -> _Work:
    upright = z_up(work.mesh)
    error = work.simplification_error
    scale = scale_to(upright, height_mm)
    # In millimetres, float32 is coarser near the origin than it was: corners may have met.
    mesh = clean(stand(upright, height_mm))[0]
    return replace(work, mesh=mesh, simplification_error=None if error is None else error * scale)


def _add(work: _Work, options: PrintOptions, pedestal: Mesh | None) -> _Work:
    """With what is added to it, again of no more faces than are wanted."""
    if not options.is_mm:
        raise AdditionUnfit("The mesh is in model units: what is added has millimetres, so give height_mm.")
    added = add_all(work.mesh, options, pedestal)
    # Millimetres of a solid become float32: corners may have met.
    whole = clean(added.mesh, min_part_share=0.0)[0]
    facts = tuple(weigh(one) for one in added.facts)
    after = replace(work, mesh=whole, additions=facts, remarks=(*work.remarks, *added.remarks))
    if options.target_faces is None or len(whole.faces) <= options.target_faces:
        return after
    fewer = _simplify(after, options.target_faces)
    errors = [one for one in (work.simplification_error, fewer.simplification_error) if one is not None]
    return replace(fewer, simplification_error=sum(errors) if errors else None)


def _with_history(found: PrintReport, work: _Work) -> PrintReport:
    """The report with what happened to the mesh on its way; a ghost plane keeps it from being printed."""
    sentences = () if work.ghost_plane is None else (GHOST_PLANE[work.ghost_plane],)
    # A part that cuts through itself falls in pieces by an exact boolean; cleaned, they are one again.
    remarks = (one for one in work.remarks if one != NOT_JOINED or found.num_bodies > 1)
    return replace(
        found,
        ghost_plane=work.ghost_plane,
        additions=work.additions,
        simplification_error=work.simplification_error,
        repairs=work.repairs.counts(),
        blockers=(*sentences, *found.blockers),
        warnings=(*sentences, *found.warnings, *remarks),
    )


def _is_solid(mesh: Mesh) -> bool:
    return edge_facts(mesh.faces, len(mesh.vertices)).is_solid
