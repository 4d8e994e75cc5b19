"""The two workflows that DBOS runs for us: `generate`, one job, and `deliver`, one attempt of its delivery.

What a workflow does between its steps must come out the same when it is done again, so clocks and dice are asked
inside steps only. Knows no process and no lease.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from dbos import DBOS

from ai_engine.job import Job, JobResult, JobStatus
from ai_engine.job_queue.dbos_setup import DELIVER, GENERATE, delivery_id, delivery_options
from ai_engine.logs import about, event
from ai_engine.monitoring.recorder import Books
from ai_engine.monitoring.tracing import Trace, Tracer
from ai_engine.pipeline.pipeline import run_job
from ai_engine.pipeline.resources import Record, Workshop
from ai_engine.settings import Settings
from ai_engine.stage import Stage
from ai_engine.storage.free_space import has_room
from ai_engine.webhooks.attempt import Mailroom, attempt_delivery, open_sender, state_of
from ai_engine.webhooks.event import JobEvent
from ai_engine.webhooks.signed_links import open_links
from ai_engine.worker.durable_run import DurableRun, report_progress
from ai_engine.worker.running_jobs import AtWork
from ai_engine.worker.watchdog import Watchdog

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
            sent = attempt_delivery(mailroom, parcel, attempt, traceparent)
        books.tally.delivery_attempted(state_of(sent))
        return sent

    @DBOS.workflow(name=GENERATE, max_recovery_attempts=NUM_STEPS * settings.job_max_attempts - 1)
    def generate(fields: dict[str, Any]) -> dict[str, Any]:
        job = Job.from_dict(fields)
        with about(job_id=job.job_id), at_work.running(job.job_id):
            began_at_s = DBOS.run_step({"name": "begin"}, _begin, job.job_id, settings)
            result = run_job(job, workshop, DurableRun(job, began_at_s, max_tries, watchdog, books.tracer))
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
        report_progress(Stage.QUEUE, 0, 1)  # The engine answers a cancelled job by stopping it here.
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


@contextmanager
def _attempt_span(tracer: Tracer, job: Job, attempt: int) -> Iterator[str]:
    """A span as long as one attempt; gives the `traceparent` that goes with it."""
    trace = Trace.of(job)
    with tracer.span("deliver", trace, attempt=attempt) as span_id:
        yield trace.header(span_id, is_recorded=tracer.is_recording)
