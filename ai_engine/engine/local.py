"""Jobs in this process: the stages of the service without its database, its receiver and its port."""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from ai_engine.api.request_schema import JobRequest, job_of
from ai_engine.engine.generated import Generated, GenerationFailed, Pictures, StageProgress
from ai_engine.errors import GenerationTimeout, JobError
from ai_engine.facts import MeshFormat
from ai_engine.job import Artifact, Job, View
from ai_engine.pipeline.lanes import Claim
from ai_engine.pipeline.pipeline import JobLine, run_job
from ai_engine.pipeline.resource_setup import open_resources
from ai_engine.pipeline.resources import Resources
from ai_engine.settings import Settings
from ai_engine.stage import Stage
from ai_engine.stage_result import JobFailure, JobResult, StageResult
from ai_engine.storage.store import ArtifactStore
from ai_engine.weights.first_use import find_wished, with_weights

OF_SERVICE = ("webhook_url", "webhook_format", "upload_url", "upload_headers", "priority")


class _Files:
    """The files of a job: removed when they are let go of, at the latest with this object."""

    def __init__(self, store: ArtifactStore, job_id: str) -> None:
        self._remove = weakref.finalize(self, store.remove, job_id)

    def remove(self) -> None:
        """Removes them; once is enough."""
        self._remove()


@dataclass
class _Run:
    """One job, start to end: nothing to remember for another process."""

    report: StageProgress
    deadline_s: float
    """On the clock of `time.monotonic`."""
    files: _Files
    results: dict[Stage, StageResult] = field(default_factory=dict)
    pedestal: StageResult | None = None
    claim: Claim = field(default_factory=Claim)

    def step(self, stage: Stage, work: Callable[[], StageResult]) -> StageResult:
        result = work()
        if result.pedestal is not None:
            self.pedestal = result
        else:
            self.results[stage] = result
        return result

    def progress(self, stage: Stage, done: int, total: int) -> None:
        if time.monotonic() > self.deadline_s:
            raise GenerationTimeout("The job took longer than its timeout_s.", stage=stage)
        self.report(stage.value, done, total)

    def waits(self) -> None: ...

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()


def _deadline_s(request: JobRequest) -> float:
    """When the job has taken too long. JOB_TIMEOUT_S is for others that wait, and here nobody does."""
    return math.inf if request.timeout_s is None else time.monotonic() + request.timeout_s


class LocalEngine:
    """The shape model and the remover, loaded once, in this process."""

    def __init__(
        self, settings: Settings | None = None, *, model: str | None = None, accept_licence: bool = False
    ) -> None:
        settings = settings or Settings()
        self._published, self._accept_licence = find_wished(model, settings), accept_licence
        folder = Path(tempfile.mkdtemp(prefix="ai-engine-"))
        # Also where nobody calls close(): `Engine().generate(...)` is a sentence of its own.
        self._remove_files = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        here = {"data_dir": folder, "artifacts_url": None}
        self.settings = settings.model_copy(update=here)
        self._resources: Resources | None = None
        self._opening = threading.Lock()

    def open(self, on_loaded: Callable[[float], None] = lambda share: None) -> Resources:
        """The models, loaded at the first call; `on_loaded` is called with the share, 0 to 1, that is there.

        Raises:
            StartupError: a model or a device can't be used, or its weights can't be had.
            NotAgreed: weights are to be fetched, and their licence was not agreed to.
        """
        with self._opening:
            if self._resources is None:
                if self._published is not None:
                    self.settings = with_weights(
                        self._published, self.settings, accept_licence=self._accept_licence
                    )
                self._resources = open_resources(self.settings, on_loaded)
            return self._resources

    def generate(self, request: JobRequest, pictures: Pictures, progress: StageProgress) -> Generated:
        """The mesh that the request asks for.

        Raises:
            ValueError: the request has a field that only a service can act on.
            GenerationFailed: the job ended without a mesh.
            StartupError, NotAgreed: as `open`.
        """
        for name in OF_SERVICE:
            if getattr(request, name) != JobRequest.model_fields[name].default:
                raise ValueError(f"{name} is that of a service's jobs: nothing is delivered or queued here")
        resources, job_id = self.open(), uuid.uuid4().hex
        job = job_of(request, job_id=job_id, accepted_at_s=time.time(), settings=self.settings)
        run = _Run(progress, _deadline_s(request), _Files(resources.store, job_id))
        try:
            job = self._add_pictures(job, pictures)
            return self._collect(request, job, run, run_job(job, resources, run))
        except BaseException:
            run.files.remove()
            raise

    def _add_pictures(self, job: Job, pictures: Pictures) -> Job:
        """The job with the pictures, which are files now."""
        store = self.open().store
        kept = {
            part: store.put_bytes(job.job_id, f"{part}-picture", data)
            for part, data in pictures.by_part.items()
        }
        views = {view: View(None, kept[view]) for view in pictures.views}
        return replace(job, image=kept.get("image"), mask=kept.get("mask"), views=job.views | views)

    def _collect(self, request: JobRequest, job: Job, run: _Run, result: JobResult) -> Generated:
        if result.failure is not None:
            raise GenerationFailed(result.failure)
        assert result.artifact is not None
        assert result.mesh is not None
        return Generated(
            format=job.format,
            data=self._bytes(result.artifact),
            facts=result.mesh,
            seed=job.options.seed,
            model=result.model,
            timings_s=result.timings_s,
            other_format=lambda file_format: self._make_other(request, job, run, file_format),
            gcode=self._bytes(result.gcode) if result.gcode else None,
            release=run.files.remove,
        )

    def _make_other(self, request: JobRequest, job: Job, run: _Run, file_format: MeshFormat) -> bytes:
        """The last stage once more, for a file in another format."""
        wishes = request.model_copy(update={"format": file_format, "slice": None}).print_options()
        line = JobLine(replace(job, format=file_format, print_options=wishes), self.open(), run)
        line.pedestal = run.pedestal
        try:
            made = line.finish(
                *(run.results[stage] for stage in (Stage.DOWNLOAD, Stage.CUTOUT, Stage.DENOISE))
            )
        except JobError as error:
            raise GenerationFailed(JobFailure.of(error)) from error
        return self._bytes(made.artifact)

    def _bytes(self, artifact: Artifact) -> bytes:
        return self.open().store.path(artifact).read_bytes()

    def close(self) -> None:
        """Lets go of the models and removes the files of all jobs."""
        self._resources = None
        self._remove_files()
