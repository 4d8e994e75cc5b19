"""Finishes a mesh that is there already, and reports on one: no model, no device."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ai_engine.caller_meshes.embedded import decode_mesh_url
from ai_engine.caller_meshes.limits import MeshLimits
from ai_engine.caller_meshes.pedestal import make_pedestal
from ai_engine.caller_meshes.posed import in_mm, pose_mesh, report_as_it_came
from ai_engine.errors import ResultTooLarge, SliceFailed
from ai_engine.facts import MeshFacts, MeshFormat, SlicingFacts
from ai_engine.images.data_url import is_data_url
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import FileNotes, through_stl, write_mesh
from ai_engine.mesh_files.read import read_mesh
from ai_engine.printing.prepare import finish, limit_faces
from ai_engine.printing.preview import preview_png
from ai_engine.printing.report import PrintReport
from ai_engine.slicing.slicer import Slicer
from ai_engine.wishes.print_options import PrintOptions


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished mesh and the report on it."""

    mesh: Mesh
    notes: FileNotes
    report: PrintReport
    max_bytes: int | None = None
    slicing: SlicingFacts | None = None
    """What the slicer says of the print, where that was asked."""
    gcode: bytes | None = field(default=None, repr=False)

    def bytes_as(self, file_format: MeshFormat) -> bytes:
        """The mesh file in any format.

        Raises:
            ResultTooLarge: it has more than `max_bytes`.
        """
        has_picture = file_format == "3mf" and self.max_bytes is None
        thumbnail = preview_png(self.mesh, is_z_up=self.notes.is_mm) if has_picture else None
        with tempfile.TemporaryDirectory(prefix="mesh-") as folder:
            path = Path(folder) / f"mesh.{file_format}"
            write_mesh(self.mesh, path, file_format, notes=self.notes, thumbnail=thumbnail)
            data = path.read_bytes()
        if self.max_bytes is not None and len(data) > self.max_bytes:
            raise ResultTooLarge(f"The file has {len(data)} bytes, {self.max_bytes} were allowed.")
        return data

    def facts(self, file_format: MeshFormat) -> MeshFacts:
        """What is known of the mesh, as a job's event has it."""
        return MeshFacts(
            format=file_format,
            faces=self.report.num_faces,
            units=self.report.units,
            bbox=self.report.bbox,
            print=replace(self.report.facts(), slicing=self.slicing),
        )


def finish_file(
    data: bytes,
    options: PrintOptions,
    *,
    title: str,
    formats: Sequence[MeshFormat] = ("stl",),
    pedestal: bytes | None = None,
    slicer: Slicer | None = None,
) -> Finished:
    """The mesh in `data` finished as a job's would be, to be written in `formats`.

    A mesh with Y up and no unit stays so unless `height_mm` is given, as in a job. Any other is in millimetres, Z up,
    and keeps its size. `pedestal` is the file that `base.mesh_url` names, unless that is a data URL.

    Raises:
        MeshUnreadable: the bytes are no mesh.
        EmptyMesh: it encloses nothing.
        AdditionUnfit: what was to be added does not fit.
        NotPrintable: the report is bad, and `require_printable` was asked.
        SliceFailed: it was to be sliced, and there is no slicer, or it gives no G-code.
    """
    slicer = slicer or Slicer()
    slicer.check(options.slice)
    pose, options = pose_mesh(read_mesh(data)), limit_faces(options, formats)
    notes = FileNotes(title, is_mm=options.is_mm or pose.mm_per_unit is not None)
    with tempfile.TemporaryDirectory(prefix="mesh-") as folder:
        path = Path(folder) / "mesh.stl"
        mesh, facts = finish(
            pose.mesh,
            options,
            see=lambda mesh: through_stl(mesh, path, notes),
            is_from_picture=False,
            mm_per_unit=pose.mm_per_unit,
            pedestal=_read_pedestal(pedestal, options),
        )
        if options.slice is None:
            return Finished(mesh, notes, facts, options.max_bytes)
        if not notes.is_mm:
            raise SliceFailed("The mesh is in model units: a slicer works in millimetres, so give height_mm.")
        made = path.with_suffix(".gcode")
        slicing = slicer.slice(path, made, options.slice)
        return Finished(mesh, notes, facts, options.max_bytes, slicing, made.read_bytes())


def _read_pedestal(data: bytes | None, options: PrintOptions) -> Mesh | None:
    url = options.base and options.base.mesh_url
    if data is None and url and is_data_url(url):
        data = decode_mesh_url(url, MeshLimits())
    if data is None:
        return None
    found = read_mesh(data)
    return make_pedestal(in_mm(found), found.format)


def check_file(data: bytes) -> PrintReport:
    """The report on the mesh in `data` as it is: nothing is mended.

    Raises:
        MeshUnreadable: the bytes are no mesh.
    """
    return report_as_it_came(read_mesh(data))
