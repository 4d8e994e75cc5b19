"""One job as one straight line of stages.

    download -> cut out -> shape -> finish

Each stage writes its file, then gives back a small record of it; only the record goes into the job engine, which
remembers it, so that a job whose worker died goes on after the last stage that was finished. A stage whose input
file is gone (another machine, an emptied disk) makes it again first. A variant begins with another job's mesh and has
the last stage alone, a caller's own mesh is fetched and read before it: neither has the device. Knows no database and
no HTTP API.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ai_engine.errors import JobError, SliceFailed, ViewsUnfit
from ai_engine.facts import CutOutFacts, ModelLabel, PrintFacts, SlicingFacts, ViewName
from ai_engine.images.cutout import FOREGROUND_ALPHA, Cutout
from ai_engine.job import Artifact, Job, JobOptions
from ai_engine.logs import event
from ai_engine.mesh.ghost_plane import Outline, outline_of
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import through_stl
from ai_engine.mesh_files.npz import load_mesh, save_mesh
from ai_engine.pipeline.lanes import Clock, turn
from ai_engine.pipeline.resources import Cutouts, Model, Resources, Run, Shape
from ai_engine.pipeline.stages.finished_files import FinishedFiles
from ai_engine.pipeline.stages.mesh_stages import MeshStages
from ai_engine.pipeline.stages.picture_stages import ViewStages
from ai_engine.printing.prepare import finish, limit_faces
from ai_engine.stage import Stage
from ai_engine.stage_result import JobFailure, JobResult, StageResult, UsedOptions

logger = logging.getLogger(__name__)


def run_job(job: Job, resources: Resources, run: Run) -> JobResult:
    """How the job ended. A JobError on the way becomes a failure that has a code."""
    line = JobLine(job, resources, run)
    try:
        return line.result()
    except JobError as error:
        event(
            logger, "job failed", job_id=job.job_id, code=error.code, stage=error.stage, detail=error.detail
        )
        return JobResult(
            options=UsedOptions(line.used, job.print_options),
            model=line.model_label,
            cutout=line.cutout,
            cutouts=line.cutouts,
            check=line.check,
            failure=JobFailure.of(error),
        )


class JobLine:
    """The stages of one job."""

    def __init__(self, job: Job, resources: Resources, run: Run) -> None:
        self.job = job
        self.resources = resources
        self.run = run
        self.stages = ViewStages(job.sources, resources, run)
        self.meshes = MeshStages(job, resources, run)
        self.cutout: CutOutFacts | None = None
        """Known once the cut-out is made."""
        self.cutouts: dict[ViewName, CutOutFacts] = {}
        """Likewise, of several views."""
        self.pedestal: StageResult | None = None
        """The one that `base.mesh_url` names, once it is fetched."""
        self.check: PrintFacts | None = None
        """Known once a caller's own mesh is read."""
        self.used: JobOptions | None = job.options if job.has_picture else None
        """The options as asked, until the model has completed them; None for a caller's own mesh."""

    def result(self) -> JobResult:
        """The finished job.

        Raises:
            JobError: a stage could not do its work, or the model can't do it as asked.
        """
        self.resources.slicer.check(self.job.print_options.slice)  # what can't be sliced costs no device
        base = self.job.print_options.base
        if base is not None and base.mesh_url is not None:
            # Before any time of the device: a pedestal that can't be used ends the job.
            self.pedestal = self.run.step(Stage.DOWNLOAD, self.meshes.fetch_pedestal)
        picture, cutout, mesh = self._begin()
        file = self.run.step(Stage.FINISH, lambda: self.finish(picture, cutout, mesh))
        seconds: dict[str, float] = {}
        for result in (picture, cutout, mesh, file):
            seconds |= result.seconds
        return JobResult(
            timings_s={name: round(value, 3) for name, value in seconds.items()},
            options=UsedOptions(self.used, self.job.print_options, mesh.degraded),
            model=self.model_label,
            artifact=file.artifact,
            preview=file.preview,
            drawable=file.drawable,
            mesh=file.mesh,
            decode=mesh.decode,
            cutout=self.cutout,
            cutouts=self.cutouts,
            more_files=dict(file.more_files),
            check=self.check,
            gcode=file.gcode,
        )

    def _begin(self) -> tuple[StageResult, StageResult, StageResult]:
        """Picture, cut-out and mesh that the job is finished from; a caller's mesh stands in for all three."""
        if self.job.kind == "variant":
            return self._take_decoded()
        if self.job.kind == "generation":
            return self._make_mesh()
        read = self.run.step(Stage.DOWNLOAD, self.meshes.read)
        self.check = read.check
        return read, read, read

    def _make_mesh(self) -> tuple[StageResult, StageResult, StageResult]:
        """Picture, cut-out and mesh, each made by its stage.

        Raises:
            JobError: a stage could not do its work, or the model can't do it as asked.
        """
        self.used = self.options  # first: what does not fit the model costs no download
        if self.job.views and not self.model.takes_views:
            raise ViewsUnfit(f"{self.model.model_id} takes one view only.")
        picture = self.run.step(Stage.DOWNLOAD, self.stages.download)
        cutout = self.run.step(Stage.CUTOUT, lambda: self.stages.cut_out(picture))
        self.cutout, self.cutouts = cutout.cutout, dict(cutout.cutouts)
        return picture, cutout, self.run.step(Stage.DENOISE, lambda: self.shape(picture, cutout))

    def _take_decoded(self) -> tuple[StageResult, StageResult, StageResult]:
        """Cut-out and mesh of the job that this one is a variant of."""
        decoded = self.job.decoded
        assert decoded is not None
        self.cutout, self.cutouts = decoded.cutout, decoded.cutouts
        mesh = StageResult(
            decoded.mesh, {}, decoded.decode, decoded.degraded, mm_per_unit=decoded.mm_per_unit
        )
        outline = StageResult(decoded.outline, {}) if decoded.outline else mesh
        return outline, outline, mesh

    @property
    def model(self) -> Model:
        """The shape model that the job asks for.

        Raises:
            InternalError: this worker has no such model.
        """
        return self.resources.model_named(self.job.model)

    @property
    def model_label(self) -> ModelLabel:
        """The model's id and licence; of the worker's first where it does not have the one that is named."""
        if self.job.decoded is not None:
            return self.job.decoded.model
        if self.job.kind == "mesh_check":
            return {}
        model = self.resources.models.get(self.job.model or "", self.resources.model)
        return {"id": model.model_id, "licence": model.licence}

    @property
    def options(self) -> JobOptions:
        """The options as used: the model's own values where the caller named none.

        Raises:
            SamplerUnfit: they name a sampler that does not fit the model.
        """
        return self.model.complete(self.job.options)

    @contextmanager
    def _device(self) -> Iterator[None]:
        """This job's turn on the device; its begin and end are logged."""
        with turn(self.resources.lanes.device, self.run):
            event(logger, "device taken", job_id=self.job.job_id)
            try:
                yield
            finally:
                event(logger, "device free", job_id=self.job.job_id)

    def shape(self, picture: StageResult, cutout: StageResult) -> StageResult:
        """The mesh as the shape model gives it, an NPZ file."""
        files = self.stages.files(picture, cutout)
        with self._device():
            # In the turn, not before: many jobs may wait for theirs.
            shape, seconds = self._generate(_read_cutouts(files))
        artifact = self.resources.store.put(
            self.job.job_id, "mesh.npz", lambda path: save_mesh(shape.mesh, path)
        )
        return StageResult(artifact, seconds, decode=shape.decode, degraded=tuple(shape.degraded))

    def _generate(self, cutouts: Cutouts) -> tuple[Shape, dict[str, float]]:
        """The shape of the object in `cutouts`, and the seconds that its stages took."""
        with self.resources.device_clock, Clock() as clock:
            self.run.progress(Stage.DENOISE, 0, self.options.num_inference_steps or 1)
            denoised_s = 0.0

            def progress(stage: Stage, done: int, total: int) -> None:
                nonlocal denoised_s
                if stage == Stage.DENOISE:
                    denoised_s = clock.seconds
                self.run.progress(stage, done, total)

            shape = self.model.generate(cutouts, self.options, progress)
            decoded_s = clock.seconds - denoised_s
        return shape, {Stage.DENOISE.value: denoised_s, Stage.DECODE.value: decoded_s}

    def finish(self, picture: StageResult, cutout: StageResult, mesh: StageResult) -> StageResult:
        """The mesh file that the caller gets."""
        source, job = self._mesh_file(picture, cutout, mesh), self.job
        pedestal = self._load_pedestal()
        files = FinishedFiles(
            job, self.resources.store, job.print_options.is_mm or mesh.mm_per_unit is not None
        )
        with (
            turn(self.resources.lanes.finish, self.run),
            Clock() as clock,
            TemporaryDirectory(prefix="mesh-") as folder,
        ):
            self.run.progress(Stage.FINISH, 0, 1)
            stl = Path(folder) / "mesh.stl"
            finished, report = finish(
                load_mesh(source),
                limit_faces(job.print_options, job.formats),
                see=lambda mesh: through_stl(mesh, stl, files.notes),
                half_extent=self.used.bounds if self.used else None,
                outline=lambda: _outline(self._outline_file(picture, cutout)),
                is_from_picture=job.has_picture,
                mm_per_unit=mesh.mm_per_unit,
                pedestal=pedestal,
            )
            gcode, slicing = self._slice(stl, is_mm=files.is_mm)
            written, facts = files.write(finished, stl), files.facts(report)
        facts = replace(facts, print=replace(facts.print, slicing=slicing))
        return replace(written, seconds={Stage.FINISH.value: clock.seconds}, mesh=facts, gcode=gcode)

    def _slice(self, stl: Path, *, is_mm: bool) -> tuple[Artifact | None, SlicingFacts | None]:
        """G-code of the finished mesh, and what it says of the print; none where it was not asked."""
        wish = self.job.print_options.slice
        if wish is None:
            return None, None
        if not is_mm:
            raise SliceFailed("The mesh is in model units: a slicer works in millimetres, so give height_mm.")
        made = stl.with_suffix(".gcode")
        slicing = self.resources.slicer.slice(
            stl, made, wish, on_wait=lambda: self.run.progress(Stage.FINISH, 0, 1)
        )

        def write(path: Path) -> None:
            shutil.move(made, path)

        return self.resources.store.put(self.job.job_id, "print.gcode", write), slicing

    def _load_pedestal(self) -> Mesh | None:
        again = self.meshes.fetch_pedestal
        return None if self.pedestal is None else load_mesh(self.meshes.present(self.pedestal, again))

    def _outline_file(self, picture: StageResult, cutout: StageResult) -> Path:
        if self.job.decoded is not None:
            return self.resources.store.path(cutout.artifact)
        return next(iter(self.stages.files(picture, cutout).values()))

    def _mesh_file(self, picture: StageResult, cutout: StageResult, mesh: StageResult) -> Path:
        if self.job.decoded is not None:
            return self.resources.store.path(mesh.artifact)
        if self.job.kind == "mesh_check":
            return self.meshes.present(mesh, self.meshes.read)
        (stages, *_) = self.stages.views.values()
        return stages.present(mesh, lambda: self.shape(picture, cutout))


def _read_cutouts(files: Mapping[ViewName | None, Path]) -> Cutouts:
    """The pixels of one picture, or of several views by name."""
    pixels = {view: Cutout.from_png(file.read_bytes()).rgba for view, file in files.items()}
    return pixels[None] if None in pixels else {str(view): rgba for view, rgba in pixels.items()}


def _outline(cutout: Path) -> Outline:
    alpha = Cutout.from_png(cutout.read_bytes()).alpha
    # A see-through object has no pixel that counts as opaque.
    rows, columns = np.nonzero(alpha >= min(FOREGROUND_ALPHA, alpha.max()))
    return outline_of(np.stack([columns, -rows], axis=1).astype(np.float64))
