"""A job as `GET /jobs/{id}` shows it, and a submission as its answer shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from ai_engine.facts import CutOutFacts, DecodeFacts, ModelFacts, ModelLabel, PrintFacts, ViewName
from ai_engine.job import Job, JobKind, JobStatus, rfc3339
from ai_engine.job_queue.records import (
    DeliveryAttempt,
    JobPage,
    JobRecord,
    JobSummary,
    Submitted,
)
from ai_engine.job_queue.worker_leases import WorkerState
from ai_engine.stage import Stage
from ai_engine.stage_result import JobFailure, JobResult, UsedOptions
from ai_engine.webhooks.event import artifact_facts, file_facts, gcode_file
from ai_engine.webhooks.event_schema import ArtifactFacts, FileFacts, GcodeFile, OptionsFacts, PictureFacts
from ai_engine.webhooks.upload import UploadFacts

ReadyState = Literal["ready", "starting", "loading", "warming up", "busy", "draining", "failed"]


class Accepted(BaseModel):
    """The answer to a submission."""

    status: str = "processing"
    message: str = "queued"
    job_id: str
    status_url: str
    events_url: str
    queue_position: int = Field(description="Jobs that wait, this one included.")
    eta_s: int | None = Field(description="Seconds until it is done, from what jobs took lately.")


class JobSummaryView(BaseModel):
    """One job in the list of jobs; `GET /jobs/{id}` has more."""

    job_id: str
    session_id: str
    asset_id: str
    status: JobStatus
    attempt: int = Field(description="2 is the first retry.")
    retry_of: str | None = Field(description="The job_id of the first attempt.")
    kind: JobKind = Field(
        description="generation: from a picture. variant: a job's mesh finished again. mesh_check: a mesh of the "
        "caller's own."
    )
    variant_of: str | None = Field(description="The job_id of the job whose mesh this one finishes again.")
    created_at: str
    ended_at: str | None
    format: str
    status_url: str
    error: JobFailure | None
    artifact: ArtifactFacts | None


class JobView(JobSummaryView):
    """All that is known of a job."""

    stage: Stage
    progress: float = Field(ge=0, le=1)
    queue_position: int | None = Field(
        description="Jobs that come first, this one included; null when it does not wait."
    )
    eta_s: int | None = Field(
        description="Seconds until it is done, from what jobs took lately, while it waits."
    )
    timings_s: dict[str, float] = Field(description="Seconds of each stage that is done.")
    options: OptionsFacts
    model: ModelLabel
    artifacts: list[FileFacts] = Field(description="The files in all formats, the first included.")
    gcode: GcodeFile | None = Field(description="Where the request asked for `slice`.")
    cutout: CutOutFacts | None = Field(
        description="Known as soon as the cut-out is made; null where there are several views."
    )
    cutouts: dict[ViewName, CutOutFacts] = Field(description="The same of each of several views.")
    print: PrintFacts | None
    check: PrintFacts | None = Field(
        description="Of a mesh of the caller's own: what a slicer would have found in it as it came."
    )
    decode: DecodeFacts | None
    upload: UploadFacts | None = Field(
        description="What became of the upload; null while that is open, or where there is none."
    )
    deliveries: list[DeliveryAttempt]


class JobList(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobSummaryView]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last one.")


def acceptance_of(job_id: str, submitted: Submitted) -> Accepted:
    """The answer to a submission."""
    return Accepted(
        message="queued" if submitted.is_new else "accepted before",
        job_id=job_id,
        status_url=f"/jobs/{job_id}",
        events_url=f"/jobs/{job_id}/events",
        queue_position=submitted.queue_position,
        eta_s=submitted.eta_s,
    )


def list_of(page: JobPage) -> JobList:
    """A page of the list of jobs as its caller sees it."""
    return JobList(jobs=[_summary(job) for job in page.jobs], next_cursor=page.next_cursor)


def _summary(known: JobSummary) -> JobSummaryView:
    job, result = known.job, known.result
    return JobSummaryView(
        job_id=job.job_id,
        session_id=job.session_id,
        asset_id=job.asset_id,
        status=known.status,
        attempt=job.attempt,
        retry_of=job.retry_of,
        kind=job.kind,
        variant_of=job.variant_of,
        created_at=rfc3339(job.accepted_at_s),
        ended_at=rfc3339(known.ended_at_s) if known.ended_at_s else None,
        format=job.format,
        status_url=f"/jobs/{job.job_id}",
        error=result.failure if result else None,
        artifact=_artifact(job, result),
    )


def _artifact(job: Job, result: JobResult | None) -> ArtifactFacts | None:
    """The file and the mesh in it, with the routes that serve them."""
    facts = artifact_facts(job, result) if result else None
    if facts is None:
        return None
    route = f"/jobs/{job.job_id}"
    known = facts.preview or PictureFacts(media_type="image/png")
    preview = known.model_copy(update={"url": f"{route}/preview.png"})
    return facts.model_copy(update={"url": f"{route}/mesh", "preview": preview})


def _artifacts(job: Job, result: JobResult | None) -> list[FileFacts]:
    """The files in all formats, with the routes that serve them."""
    files = file_facts(job, result) if result else []
    route = f"/jobs/{job.job_id}/mesh?format="
    return [file.model_copy(update={"url": f"{route}{file.format}"}) for file in files]


def _gcode(job: Job, result: JobResult | None) -> GcodeFile | None:
    """The G-code, with the route that serves it."""
    found = gcode_file(job, result) if result else None
    return found and found.model_copy(update={"url": f"/jobs/{job.job_id}/gcode"})


def _options(job: Job, result: JobResult | None) -> OptionsFacts:
    used = result.options if result and result.failure is None else None
    asked = UsedOptions(job.options if job.has_picture else None, job.print_options)
    return OptionsFacts(**(used or asked).to_dict())


def view_of(record: JobRecord) -> JobView:
    """The job as its caller sees it."""
    known = record.summary
    job, result = known.job, known.result
    return JobView(
        **dict(_summary(known)),
        stage=record.stage,
        progress=record.progress,
        queue_position=record.place.position if record.place else None,
        eta_s=record.place.eta_s if record.place else None,
        timings_s=dict(record.so_far.timings_s),
        options=_options(job, result),
        model=result.model if result else {},
        artifacts=_artifacts(job, result),
        gcode=_gcode(job, result),
        cutout=record.so_far.cutout,
        cutouts=dict(record.so_far.cutouts),
        print=result.mesh.print if result and result.mesh else None,
        check=record.so_far.check,
        decode=result.decode if result else None,
        upload=next((one.upload for one in reversed(record.deliveries) if one.upload), None),
        deliveries=list(record.deliveries),
    )


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Health(BaseModel):
    """As callers poll it."""

    status: Literal["ok"] = "ok"
    gpu: bool
    model: str | None = Field(description="None while no worker has said.")


class Readiness(BaseModel):
    """Whether jobs are taken and worked on."""

    status: ReadyState
    progress: float | None = Field(
        default=None, ge=0, le=1, description="Share of the weights that are read, while `status` is loading."
    )


class MattingModels(BaseModel):
    """What may find the object in a picture."""

    default: str | None = Field(description="Used where a request names none. None: nothing is removed then.")
    installed: list[str] = Field(description="Of every worker; empty while none has said.")


class ModelWorker(BaseModel):
    """A worker that serves a model."""

    device: str
    state: WorkerState


class ServedModelView(BaseModel):
    """A shape model that jobs may name."""

    name: str
    card: ModelFacts | None = Field(description="None while it is loaded.")
    workers: list[ModelWorker] = Field(description="Those that live; empty while none does.")


class ServedModels(BaseModel):
    """The shape models that jobs may name."""

    default: str | None = Field(description="Used where a request names none. None: no worker has said yet.")
    models: list[ServedModelView]
