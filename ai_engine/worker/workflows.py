"""The workflows that DBOS runs: `generate`, one job; `deliver`, one attempt of its delivery; `cut-out`, before any job;
`preview`, the picture of its mesh.

Workflow code between steps is replayed after a crash and must be deterministic: clocks and random numbers are read
inside steps only. Knows no process and no lease.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from dbos import DBOS

from ai_engine.delivery_tables.link_key import open_links
from ai_engine.delivery_tables.slow_hosts import SlowHosts
from ai_engine.job import Job, JobStatus
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.dbos_setup import CUT_OUT, GENERATE, DeliveryPlace, delivery_options
from ai_engine.job_queue.delivery_index import DeliveryIndex, DeliveryStatus
from ai_engine.job_queue.entries import DELIVER, PREVIEW, EntryId
from ai_engine.job_queue.on_demand import CutOutTask, PreviewTask
from ai_engine.logs import about, event
from ai_engine.monitoring.recorder import Recorder
from ai_engine.monitoring.tracing import Trace, Tracer
from ai_engine.pipeline.pipeline import run_job
from ai_engine.pipeline.resources import Resources
from ai_engine.settings import Settings
from ai_engine.stage import Stage
from ai_engine.stage_result import JobResult
from ai_engine.storage.free_space import has_room
from ai_engine.webhooks.attempt import DeliveryContext, attempt_delivery, open_client
from ai_engine.webhooks.event import JobEvent
from ai_engine.webhooks.task import DeliveryOutcome, DeliveryTask
from ai_engine.worker.cut_outs import make_cut_out
from ai_engine.worker.durable_run import DurableRun, report_progress
from ai_engine.worker.previews import make_preview
from ai_engine.worker.running_jobs import RunningJobs
from ai_engine.worker.watchdog import Watchdog

NUM_STEPS = 4
"""Stages per job. DBOS's recovery limit is `NUM_STEPS` x JOB_MAX_ATTEMPTS: each stage has its own budget of crashes."""
MAX_ON_DEMAND_RECOVERIES = 1
"""A picture or a mesh that killed two workers is left alone; its caller waits no longer anyway."""
ROOM_PAUSE_S = 5.0
"""Between two looks for room on a full disk."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobWorkflows:
    """The life of a job in one worker: `generate`, `end_job`, then `deliver` once per attempt."""

    settings: Settings
    resources: Resources
    deliveries: DeliveryContext
    watchdog: Watchdog
    recorder: Recorder
    running_jobs: RunningJobs
    slow_hosts: SlowHosts

    def generate(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Runs the job's stages and queues the first attempt of its delivery."""
        job = Job.from_dict(fields)
        with about(job_id=job.job_id), self.running_jobs.running(job.job_id):
            began_at_s = DBOS.run_step({"name": "begin"}, _begin, job.job_id, self.settings)
            run = DurableRun(
                job, began_at_s, self.settings.job_max_attempts, self.watchdog, self.recorder.tracer
            )
            result = run_job(job, self.resources, run)
            queue_s = round(max(0.0, began_at_s - job.accepted_at_s), 3)
            result = replace(result, timings_s={Stage.QUEUE.value: queue_s} | result.timings_s)
            ended_at_s = DBOS.run_step({"name": "end"}, self.end_job, job, result)
            enqueue_delivery(job, result, ended_at_s, self.settings, self.recorder.deliveries)
            return result.to_dict()

    def end_job(self, job: Job, result: JobResult) -> float:
        """Records the job's end in index, counters and traces; gives the time of it, seconds since 1970."""
        has_failed, ended_at_s = result.failure is not None, time.time()
        self.recorder.index.note_end(job.job_id, has_failed=has_failed)
        status = JobStatus.FAILED if has_failed else JobStatus.SUCCEEDED
        self.recorder.close_job(job, status, result, ended_at_s)
        return ended_at_s

    def cut_out(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Makes a cut-out that is asked for before any job."""
        task = CutOutTask.from_dict(fields)
        with self.running_jobs.running(task.source.entry_id):
            made: dict[str, Any] = DBOS.run_step({"name": CUT_OUT}, self._make_cut_out, task)
            return made

    def _make_cut_out(self, task: CutOutTask) -> dict[str, Any]:
        return make_cut_out(task, self.resources).to_dict()

    def preview(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Draws the picture of a finished mesh, when it is first asked for."""
        task = PreviewTask.from_dict(fields)
        with self.running_jobs.running(str(EntryId(task.job_id, is_preview=True))):
            drawn: dict[str, Any] = DBOS.run_step({"name": PREVIEW}, self._make_preview, task)
            return drawn

    def _make_preview(self, task: PreviewTask) -> dict[str, Any]:
        return make_preview(task, self.resources.store).to_dict()

    def deliver(self, fields: dict[str, Any], attempt: int) -> dict[str, Any]:
        """Makes one attempt of a delivery and queues the next one if it failed."""
        task = DeliveryTask.from_dict(fields)
        entry = EntryId(task.job.job_id, attempt)
        with about(job_id=entry.job_id), self.running_jobs.running(str(entry)):
            sent: dict[str, Any] = DBOS.run_step({"name": "send"}, self._attempt, task, attempt)
            outcome = DeliveryOutcome.from_dict(sent)
            if outcome.next_delay_s is not None:
                _enqueue(task.after(outcome, attempt), attempt + 1, outcome.next_delay_s, self.settings)
            return sent

    def _attempt(self, task: DeliveryTask, attempt: int) -> dict[str, Any]:
        owner = task.job.owner
        if not task.is_slow and self.slow_hosts.has(owner, task.host):
            self.recorder.job_metrics.count_postponed(owner)
            return DeliveryOutcome.postponed(time.time()).to_dict()
        with _attempt_span(self.recorder.tracer, task.job, attempt) as traceparent:
            outcome = attempt_delivery(self.deliveries, task, attempt, traceparent)
        self.slow_hosts.note(owner, task.host_of(outcome), is_slow=outcome.is_slow)
        status: DeliveryStatus = "waiting" if outcome.state == "failed" else outcome.state
        self.recorder.deliveries.note(task.job, attempt, status)
        self.recorder.job_metrics.count_delivery(outcome.state)
        return outcome.to_dict()


def open_workflows(
    settings: Settings,
    database: Database,
    resources: Resources,
    watchdog: Watchdog,
    recorder: Recorder,
    running_jobs: RunningJobs,
) -> JobWorkflows:
    """The workflows of one worker.

    Raises:
        StartupError: the setting with the allowed hosts can't be read.
    """
    links = open_links(settings, database)
    deliveries = DeliveryContext(open_client(settings), resources.store, links, settings)
    slow_hosts = SlowHosts(database, settings.webhook_slow_memory_s)
    return JobWorkflows(settings, resources, deliveries, watchdog, recorder, running_jobs, slow_hosts)


def register_workflows(jobs: JobWorkflows) -> None:
    """Makes the workflows known to DBOS, before it is launched."""

    @DBOS.workflow(name=GENERATE, max_recovery_attempts=NUM_STEPS * jobs.settings.job_max_attempts - 1)
    def generate(fields: dict[str, Any]) -> dict[str, Any]:
        return jobs.generate(fields)

    @DBOS.workflow(name=CUT_OUT, max_recovery_attempts=MAX_ON_DEMAND_RECOVERIES)
    def cut_out(fields: dict[str, Any]) -> dict[str, Any]:
        return jobs.cut_out(fields)

    @DBOS.workflow(name=PREVIEW, max_recovery_attempts=MAX_ON_DEMAND_RECOVERIES)
    def preview(fields: dict[str, Any]) -> dict[str, Any]:
        return jobs.preview(fields)

    @DBOS.workflow(name=DELIVER)
    def deliver(fields: dict[str, Any], attempt: int) -> dict[str, Any]:
        return jobs.deliver(fields, attempt)


def _begin(job_id: str, settings: Settings) -> float:
    """When the work on the job begins: at once, or as soon as there is room for it on the disk."""
    while not has_room(settings.data_dir, settings.min_free_disk_bytes):
        event(logger, "disk full, the job waits", level=logging.WARNING, job_id=job_id)
        report_progress(Stage.QUEUE, 0, 1)  # The engine answers a cancelled job by stopping it here.
        time.sleep(ROOM_PAUSE_S)
    return time.time()


def enqueue_delivery(
    job: Job, result: JobResult, ended_at_s: float, settings: Settings, index: DeliveryIndex
) -> None:
    """Queues the first attempt of the job's delivery; a second call for the same job changes nothing."""
    task = DeliveryTask(job, JobEvent.of(job, result, ended_at_s), result.artifact, ended_at_s)
    if task.has_receiver:
        index.note(job, 1, "waiting")
        _enqueue(task, 1, 0.0, settings)


def _enqueue(task: DeliveryTask, attempt: int, delay_s: float, settings: Settings) -> None:
    entry, place = EntryId(task.job.job_id, attempt), DeliveryPlace.of(task, settings)
    options = delivery_options(entry, delay_s, place)
    DBOS.enqueue_workflow_with_options(options, task.to_dict(), attempt)


@contextmanager
def _attempt_span(tracer: Tracer, job: Job, attempt: int) -> Iterator[str]:
    """A span as long as one attempt; gives the `traceparent` that goes with it."""
    trace = Trace.of(job)
    with tracer.span("deliver", trace, attempt=attempt) as span_id:
        yield trace.header(span_id, is_recorded=tracer.is_recording)
