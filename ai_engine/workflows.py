"""The two workflows that DBOS runs for us: `generate`, one job, and `deliver`, one attempt of its delivery.

What a workflow does between its steps must come out the same when it is done again, so clocks and dice are asked
inside steps only. Knows no process and no lease.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from dbos import DBOS, WorkflowSerializationFormat, WorkflowStatus

from ai_engine.at_work import AtWork
from ai_engine.blame import Tries
from ai_engine.departure import check_ending
from ai_engine.errors import (
    DeviceFault,
    GenerationTimeout,
    InternalError,
    JobCancelled,
    JobError,
)
from ai_engine.job import Job, JobResult, JobStatus
from ai_engine.job_queue.dbos_setup import DELIVER, GENERATE, PROGRESS, delivery_id, delivery_options
from ai_engine.logs import about, event
from ai_engine.monitoring.recorder import Books
from ai_engine.monitoring.tracing import Trace, Tracer
from ai_engine.pipeline.pipeline import run_job
from ai_engine.pipeline.resources import Record, Workshop
from ai_engine.settings import Settings
from ai_engine.stage import Stage
from ai_engine.storage.free_space import has_room
from ai_engine.watchdog import Watchdog
from ai_engine.webhooks.attempt import Mailroom, _result_of, _send, open_sender
from ai_engine.webhooks.event import JobEvent
from ai_engine.webhooks.signed_links import open_links

PROGRESS_EVERY_S = 0.25
NUM_STEPS = 4
"""Of a job: where each may kill its worker as often as is allowed, it is taken up so many times as often."""
ROOM_PAUSE_S = 5.0
"""Between two looks for room on a full disk."""

logger = logging.getLogger(__name__)


def register_workflows(
    settings: Settings, workshop: Workshop, watchdog: Watchdog, books: Books, at_work: AtWork
) -> None:
    """Makes the two workflows known to DBOS, before it is launched."""
    mailroom = Mailroom(open_sender(settings), workshop.store, open_links(settings), settings)

    max_tries = settings.job_max_attempts

    def ended(job: Job, result: JobResult) -> float:
        has_failed, ended_at_s = result.failure is not None, time.time()
        books.index.note_end(job.job_id, has_failed=has_failed)
        status = JobStatus.FAILED if has_failed else JobStatus.SUCCEEDED
        books.close_job(job, status, result, ended_at_s)
        return ended_at_s

    def sending(parcel: Record, attempt: int) -> Record:
        job = Job.from_dict(parcel["job"])
        with _attempt_span(books.tracer, job, attempt) as traceparent:
            sent = _send(mailroom, parcel, attempt, traceparent)
        books.tally.delivery_attempted(_result_of(sent))
        return sent

    @DBOS.workflow(name=GENERATE, max_recovery_attempts=NUM_STEPS * settings.job_max_attempts - 1)
    def generate(fields: dict[str, Any]) -> dict[str, Any]:
        job = Job.from_dict(fields)
        with about(job_id=job.job_id), at_work.running(job.job_id):
            began_at_s = DBOS.run_step({"name": "begin"}, _begin, job.job_id, settings)
            result = run_job(job, workshop, _DurableRun(job, began_at_s, max_tries, watchdog, books.tracer))
            queue_s = round(max(0.0, began_at_s - job.accepted_at_s), 3)
            result = replace(result, timings_s={Stage.QUEUE.value: queue_s} | result.timings_s)
            enqueue_result(job, result, DBOS.run_step({"name": "end"}, ended, job, result))
            return result.to_dict()

    @DBOS.workflow(name=DELIVER)
    def deliver(parcel: Record, attempt: int) -> Record:
        job_id = parcel["job"]["job_id"]
        with about(job_id=job_id), at_work.running(delivery_id(job_id, attempt)):
            sent = DBOS.run_step({"name": "send"}, sending, parcel, attempt)
            if sent["next_delay_s"] is not None:
                options = delivery_options(job_id, attempt + 1, sent["next_delay_s"])
                DBOS.enqueue_workflow_with_options(options, parcel | sent["learned"], attempt + 1)
            return sent


def _begin(job_id: str, settings: Settings) -> float:
    """When the work on the job begins: at once, or as soon as there is room for it on the disk."""
    while not has_room(settings.data_dir, settings.min_free_disk_bytes):
        event(logger, "disk full, the job waits", level=logging.WARNING, job_id=job_id)
        _tell(Stage.QUEUE, 0, 1)  # The engine answers a cancelled job by stopping it here.
        time.sleep(ROOM_PAUSE_S)
    return time.time()


def enqueue_result(job: Job, result: JobResult, ended_at_s: float) -> None:
    """Queues the first attempt to tell the caller; a second call for the same job changes nothing."""
    if job.webhook_url is None and (job.upload_url is None or result.artifact is None):
        return
    told = JobEvent.of(job, result, ended_at_s).to_json()
    parcel = {
        "job": job.to_dict(),
        "event": told,
        "artifact": asdict(result.artifact) if result.artifact else None,
        "linked_at_s": ended_at_s,
    }
    DBOS.enqueue_workflow_with_options(delivery_options(job.job_id, 1, 0.0), parcel, 1)


class _DurableRun:
    """One execution of a job: finished steps are remembered, progress goes to the job's stream."""

    def __init__(
        self, job: Job, began_at_s: float, max_tries: int, watchdog: Watchdog, tracer: Tracer
    ) -> None:
        self._job, self._watchdog, self._tracer = job, watchdog, tracer
        self._ends_at_s = began_at_s + job.timeout_s
        self._max_tries = max_tries
        self._tries: Tries | None = None
        """Of the stage at work; None before the first."""
        self._stage = Stage.QUEUE
        self._told_at = float("-inf")

    def step(self, name: str, work: Callable[[], Record]) -> Record:
        """What `work` gives back; from memory when it was finished in an earlier execution."""
        return DBOS.run_step({"name": name}, self._worked, name, work)

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Tells how far the stage is; the engine answers a cancelled job by stopping it here.

        Raises:
            GenerationTimeout: the job's time is over.
        """
        is_new_stage, self._stage = stage != self._stage, stage
        self._watchdog.sign(self._job.job_id, stage)
        self._check_time()
        if self._tries is not None:
            self._tries.count()
        now = time.monotonic()
        if is_new_stage or now - self._told_at >= PROGRESS_EVERY_S:
            self._told_at = now
            _tell(stage, done, total)

    def waits(self) -> None:
        """Tells that the stage waits for its turn.

        Raises:
            GenerationTimeout: the job's time is over.
            JobCancelled: it was cancelled.
        """
        job_id = self._job.job_id
        self._watchdog.sign(job_id, Stage.QUEUE)
        self._check_time()
        if DBOS.list_workflows(
            workflow_ids=[job_id], status="CANCELLED", load_input=False, load_output=False
        ):
            raise JobCancelled("The job was cancelled.", stage=self._stage)

    def _check_time(self) -> None:
        if time.time() > self._ends_at_s:
            raise GenerationTimeout(f"The job took longer than {self._job.timeout_s:g} s.", stage=self._stage)

    def _worked(self, name: str, work: Callable[[], Record]) -> Record:
        job_id, began = self._job.job_id, time.monotonic()
        row = _row(job_id)
        check_ending(row)
        self._tries = Tries(row, name, is_first_here=self._tries is None)
        self._tries.check(self._max_tries)
        event(logger, "stage started", job_id=job_id, stage=name)
        try:
            with (
                self._watchdog.watching(job_id, self._ends_at_s),
                self._tracer.span(name, Trace.of(self._job)),
            ):
                record = work()
        except JobError as error:
            event(logger, "stage stopped", job_id=job_id, stage=name, code=error.code)
            raise
        except DeviceFault as fault:
            self._watchdog.device_broke(job_id, str(fault))
            raise
        except Exception as error:
            logger.exception("stage broke", extra={"event_fields": {"job_id": job_id, "stage": name}})
            raise InternalError(
                f"Something went wrong on our side; the log tells of job {job_id}."
            ) from error
        seconds, lowered = round(time.monotonic() - began, 3), record.get("degraded") or None
        event(logger, "stage finished", job_id=job_id, stage=name, seconds=seconds, lowered=lowered)
        return record


def _row(job_id: str) -> WorkflowStatus:
    (row,) = DBOS.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
    return row


def _tell(stage: Stage, done: int, total: int) -> None:
    told = {"stage": str(stage), "done": done, "total": total}
    DBOS.write_stream(PROGRESS, told, serialization_type=WorkflowSerializationFormat.PORTABLE)


@contextmanager
def _attempt_span(tracer: Tracer, job: Job, attempt: int) -> Iterator[str]:
    """A span as long as one attempt; gives the `traceparent` that goes with it."""
    trace = Trace.of(job)
    with tracer.span("deliver", trace, attempt=attempt) as span_id:
        yield trace.header(span_id, is_recorded=tracer.is_recording)
