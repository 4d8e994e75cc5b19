"""Rows of the job engine read as values: the job in a row, how it ended, how its deliveries went.

Opens no database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from dbos import DBOSClient, WorkflowStatus, error
from pydantic import ConfigDict

from ai_engine.errors import InternalError, JobCancelled, WorkerLost
from ai_engine.job import Artifact, Job, JobStatus, rfc3339
from ai_engine.job_queue.dbos_setup import EARLIER_STEPS, PROGRESS
from ai_engine.job_queue.entries import WAITING, EngineStatus, EntryId
from ai_engine.stage import Stage
from ai_engine.stage_result import JobFailure, JobResult, StageResult
from ai_engine.webhooks.task import DeliveryOutcome
from ai_engine.webhooks.upload import UploadFacts

_STATUS = {
    EngineStatus.ENQUEUED: JobStatus.QUEUED,
    EngineStatus.DELAYED: JobStatus.QUEUED,
    EngineStatus.PENDING: JobStatus.RUNNING,
    EngineStatus.CANCELLED: JobStatus.CANCELLED,
    EngineStatus.ERROR: JobStatus.FAILED,
    EngineStatus.OUT_OF_ATTEMPTS: JobStatus.FAILED,
}
STEPS = {name: stage for stage, name in EARLIER_STEPS.items()} | {stage.value: stage for stage in Stage}
"""The stage that each step does, by its name in this version or the one before."""
DeliveryState = Literal["waiting", "sending", "accepted", "failed", "dead", "replaced"]


@dataclass(frozen=True)
class DeliveryAttempt:
    """One attempt to bring the result to the webhook."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    attempt: int
    state: DeliveryState
    """dead: failed, and no attempt follows of itself. replaced: a redelivery came first."""
    status: int | None
    """The receiver's HTTP status."""
    detail: str | None
    at: str | None
    """When it was made, or will be, RFC 3339 in UTC."""
    form: str | None = None
    """multipart, binary or link; link also where the file was too large for another form."""
    upload: UploadFacts | None = None
    """What became of the upload, if this attempt settled it."""


@dataclass(frozen=True)
class QueuePlace:
    """Where a job that waits stands."""

    position: int
    """Jobs that come first, this one included."""
    eta_s: int | None
    """Seconds until it is done, from what jobs took lately; None when none was measured."""


@dataclass(frozen=True)
class JobSummary:
    """What one row says of a job."""

    job: Job
    status: JobStatus
    result: JobResult | None
    """None while it is not over."""
    ended_at_s: float | None


@dataclass(frozen=True)
class JobRecord:
    """All that is known of a job."""

    summary: JobSummary
    stage: Stage
    """Where it is, or where it failed."""
    progress: float
    """Of the whole job, 0 to 1."""
    so_far: JobResult
    """What the stages that are done have found out."""
    deliveries: Sequence[DeliveryAttempt] = ()
    place: QueuePlace | None = None
    """None once it does not wait any more."""


@dataclass(frozen=True)
class Submitted:
    """What became of a request."""

    is_new: bool
    """False: the same request came before under the same key."""
    queue_position: int
    """Jobs that wait, this one included; 0 when it does not wait any more."""
    eta_s: int | None
    """Seconds until it is done, from what jobs took lately; None when none was measured."""


@dataclass(frozen=True)
class JobPage:
    """A piece of the list of jobs."""

    jobs: Sequence[JobSummary]
    next_cursor: str | None
    """Where the next piece begins; None when this is the last."""


def summary_of(row: WorkflowStatus) -> JobSummary:
    """The summary of a job, read from its row alone."""
    result = result_of(row)
    ended_at_s = row.completed_at / 1000 if row.completed_at and result else None
    return JobSummary(job_of(row), status_of(row, result), result, ended_at_s)


def job_of(row: WorkflowStatus) -> Job:
    """The job that a row of the job engine is about."""
    assert row.input is not None
    return Job.from_dict(row.input["args"][0])


def result_of(row: WorkflowStatus) -> JobResult | None:
    """How the job of this row ended; None while it is not over."""
    match EngineStatus(row.status):
        case EngineStatus.SUCCESS if row.output is not None:
            return JobResult.from_dict(row.output)
        case EngineStatus.CANCELLED:
            return JobResult(failure=JobFailure.of(JobCancelled("The job was cancelled.")))
        case EngineStatus.OUT_OF_ATTEMPTS:
            return JobResult(failure=JobFailure.of(WorkerLost()))
        case EngineStatus.ERROR:
            return JobResult(failure=JobFailure.of(InternalError()))
    return None


def result_of_stages(steps: Iterable[Mapping[str, Any]]) -> JobResult:
    """What the stages that are done have found out; `steps` are those of the job engine."""
    outputs = (step["output"] for step in steps)
    stages = [StageResult.from_dict(output) for output in outputs if isinstance(output, dict)]
    seconds = {name: round(value, 3) for stage in stages for name, value in stage.seconds.items()}
    cutout = next((stage.cutout for stage in stages if stage.cutout), None)
    cutouts = next((dict(stage.cutouts) for stage in stages if stage.cutouts), {})
    check = next((stage.check for stage in stages if stage.check), None)
    return JobResult(seconds, cutout=cutout, cutouts=cutouts, check=check)


def stages_of(steps: Iterable[Mapping[str, Any]]) -> dict[Stage, StageResult]:
    """What the stages that are done left behind, besides a pedestal; `steps` are those of the job engine."""
    return {stage: result for stage, result in _results(steps) if result.pedestal is None}


def pedestal_of(steps: Iterable[Mapping[str, Any]]) -> Artifact | None:
    """The file of `base.mesh_url` as it was fetched; None where it was not."""
    return next((result.pedestal for _, result in _results(steps) if result.pedestal), None)


def _results(steps: Iterable[Mapping[str, Any]]) -> list[tuple[Stage, StageResult]]:
    done = ((STEPS.get(step["function_name"]), step["output"]) for step in steps)
    return [(stage, StageResult.from_dict(output)) for stage, output in done if stage and output]


def status_of(row: WorkflowStatus, result: JobResult | None) -> JobStatus:
    """Where the job of this row is in its life; `result` is what `result_of` says."""
    status = EngineStatus(row.status)
    if status == EngineStatus.SUCCESS:
        return JobStatus.FAILED if result and result.failure else JobStatus.SUCCEEDED
    return _STATUS[status]


def attempt_number(row: WorkflowStatus) -> int:
    """Which attempt of its delivery this row is, counted from 1."""
    number = EntryId.parse(row.workflow_id).attempt
    assert number is not None
    return number


def is_postponed(row: WorkflowStatus) -> bool:
    """True if this entry of a delivery made no attempt: the next one stands in its place."""
    return row.output is not None and DeliveryOutcome.from_dict(row.output).is_postponed


def attempt_of(row: WorkflowStatus) -> DeliveryAttempt:
    """How the attempt of this row went, or stands."""
    number, status = attempt_number(row), EngineStatus(row.status)
    if status in WAITING:
        due_ms = row.delay_until_epoch_ms
        return DeliveryAttempt(number, "waiting", None, None, rfc3339(due_ms / 1000) if due_ms else None)
    if status == EngineStatus.PENDING:
        return DeliveryAttempt(number, "sending", None, None, None)
    if status == EngineStatus.CANCELLED:
        return DeliveryAttempt(number, "replaced", None, "a redelivery was asked for instead", None)
    if status != EngineStatus.SUCCESS or row.output is None:
        return DeliveryAttempt(number, "dead", None, "something went wrong on our side", None)
    sent = DeliveryOutcome.from_dict(row.output)
    at = rfc3339(sent.at_s)
    return DeliveryAttempt(number, sent.state, sent.status, sent.detail, at, sent.form, sent.upload)


def last_progress(client: DBOSClient, job_id: str) -> dict[str, Any] | None:
    """The latest progress event of a job; None before its first."""
    last = None
    try:
        for value in client.read_stream(job_id, PROGRESS, timeout_seconds=0):
            last = value
    except error.DBOSStreamTimeoutError:
        pass  # No further event is there yet.
    return last
