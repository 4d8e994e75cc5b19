"""The files of a finished mesh: one in each format, and the picture or what it is drawn from later."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ai_engine.errors import ResultTooLarge
from ai_engine.facts import MeshFacts, MeshFormat
from ai_engine.job import Artifact, Job
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import FileNotes, write_mesh
from ai_engine.pipeline.preview import PREVIEW_FILE, keep_drawable
from ai_engine.printing.preview import preview_png
from ai_engine.printing.report import PrintReport
from ai_engine.stage_result import StageResult
from ai_engine.storage.store import ArtifactStore


@dataclass(frozen=True)
class FinishedFiles:
    """Writes the files of a job's finished mesh."""

    job: Job
    store: ArtifactStore
    is_mm: bool
    """The mesh is in millimetres with Z up."""

    @property
    def notes(self) -> FileNotes:
        """Without the time: same seed, model and options give the same bytes."""
        return FileNotes(self.job.asset_id, is_mm=self.is_mm)

    def facts(self, report: PrintReport) -> MeshFacts:
        """What is known of the mesh without opening its file."""
        return MeshFacts(
            format=self.job.format,
            faces=report.num_faces,
            units=report.units,
            bbox=report.bbox,
            print=report.facts(),
        )

    def write(self, mesh: Mesh, stl: Path) -> StageResult:
        """The caller's files, and their picture or what that is drawn from later; `stl` holds the mesh already.

        Raises:
            ResultTooLarge: a file has more than `max_bytes`.
        """
        job = self.job
        picture = preview_png(mesh, is_z_up=self.is_mm) if job.print_options.thumbnail else None
        files = {one: self._write_file(mesh, stl, one, picture) for one in job.formats}
        first = files.pop(job.format)
        if picture is None:
            kept = keep_drawable(mesh, files.get("stl", first), job, self.store)
            return StageResult(first, {}, drawable=kept, more_files=files)
        preview = self.store.put_bytes(job.job_id, PREVIEW_FILE, picture)
        return StageResult(first, {}, preview=preview, more_files=files)

    def _write_file(
        self, mesh: Mesh, stl: Path, file_format: MeshFormat, thumbnail: bytes | None
    ) -> Artifact:
        """The file in that format."""
        max_bytes = self.job.print_options.max_bytes

        def write(path: Path) -> None:
            if file_format == "stl":
                shutil.move(stl, path)
            else:
                fitting = None if max_bytes else thumbnail
                write_mesh(mesh, path, file_format, notes=self.notes, thumbnail=fitting)

        artifact = self.store.put(self.job.job_id, f"mesh.{file_format}", write)
        if max_bytes is not None and artifact.size > max_bytes:
            raise ResultTooLarge(f"The file has {artifact.size} bytes, {max_bytes} were allowed.")
        return artifact
