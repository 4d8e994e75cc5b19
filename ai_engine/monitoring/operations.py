"""The whole service as its operator sees it: queues, workers and what they do, failures by code, disk.

Read from the job database, but for the disk, which is this process's. Writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from pydantic import BaseModel, Field

from ai_engine import __version__
from ai_engine.errors import JobNotFound
from ai_engine.job import JobStatus, rfc3339
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.dbos_setup import DELIVERY_QUEUES, JOB_QUEUES, is_job_queue, model_of
from ai_engine.job_queue.queue import JobQueue
from ai_engine.job_queue.worker_leases import WorkerLease, WorkerState
from ai_engine.job_queue.workflow_table import RUNNING, WAITING, QueueDepth, RunningRow, WorkflowTable
from ai_engine.monitoring.counters import Counters, WorkerFigures
from ai_engine.monitoring.job_metrics import JOBS
from ai_engine.settings import DEFAULT_MODEL, Settings
from ai_engine.storage.free_space import free_bytes

MAX_RUNNING = 100
"""Running jobs that are shown one by one."""


class ModelQueue(BaseModel):
    """The jobs of one shape model."""

    model: str = Field(description="As requests name it; `default` for jobs that name none.")
    queued: int
    running: int
    oldest_waiting_s: float | None = Field(
        description="How long the oldest has waited; null where none does."
    )


class RunningJob(BaseModel):
    """A job that a worker has."""

    job_id: str
    owner: str | None = Field(description="The name of its key; null where keys are off.")
    model: str
    stage: str
    progress: float = Field(ge=0, le=1)


class WorkerView(BaseModel):
    """A worker that is there, or was in the last ten minutes."""

    worker: str = Field(description="Its machine, device and folder.")
    state: WorkerState
    is_alive: bool
    last_sign_of_life_s: float = Field(description="Seconds since its last heartbeat.")
    model_id: str | None
    has_gpu: bool
    loaded: float = Field(description="Share of the weights that is read, while it loads them.")
    busy_share: float | None = Field(
        description="Of the last minute that a job had the device; null at first."
    )
    memory_peak_bytes: int | None = Field(
        description="Most device memory so far; null without a device's own."
    )
    jobs: list[RunningJob]


class FailureCount(BaseModel):
    """How many jobs failed with one code."""

    code: str
    jobs: int


class DiskView(BaseModel):
    """The disk of this API process's DATA_DIR."""

    free_bytes: int
    needed_bytes: int = Field(description="With less free no job is taken: MIN_FREE_DISK_BYTES.")


class Operations(BaseModel):
    """The whole service at one moment."""

    version: str
    at: str
    queues: list[ModelQueue]
    workers: list[WorkerView]
    failures: list[FailureCount] = Field(description="Since the database was made, the most frequent first.")
    deliveries_waiting: int = Field(description="Attempts that are due, now or later.")
    disk: DiskView


def read_operations(queue: JobQueue, database: Database, settings: Settings) -> Operations:
    """How the service stands now."""
    rows, counters = WorkflowTable(database), Counters(database)
    depths = rows.depths()
    waiting = sum(one.num_entries for one in depths if one.queue in DELIVERY_QUEUES and one.state == WAITING)
    jobs = {row: job for row in rows.running(JOB_QUEUES, MAX_RUNNING) if (job := _running(queue, row))}
    figures = {one.executor_id: one for one in counters.workers()}
    return Operations(
        version=__version__,
        at=rfc3339(time.time()),
        queues=_queues(depths, [place.name for place in settings.served_models], time.time()),
        workers=[
            _worker(
                lease,
                figures.get(lease.executor_id),
                [job for row, job in jobs.items() if row.executor_id == lease.executor_id],
            )
            for lease in queue.workers()
        ],
        failures=_failures(counters),
        deliveries_waiting=waiting + rows.num_delayed(DELIVERY_QUEUES),
        disk=DiskView(free_bytes=free_bytes(settings.data_dir), needed_bytes=settings.min_free_disk_bytes),
    )


def _queues(depths: Sequence[QueueDepth], served: Sequence[str], now_s: float) -> list[ModelQueue]:
    """The queue of each model that is served, or has jobs, by name."""
    found = {name: ModelQueue(model=name, queued=0, running=0, oldest_waiting_s=None) for name in served}
    for depth in depths:
        if not is_job_queue(depth.queue):
            continue
        name = model_of(depth.queue) or DEFAULT_MODEL
        known = found.setdefault(name, ModelQueue(model=name, queued=0, running=0, oldest_waiting_s=None))
        if depth.state == RUNNING:
            known.running += depth.num_entries
        elif depth.state == WAITING:
            known.queued += depth.num_entries
            known.oldest_waiting_s = max(known.oldest_waiting_s or 0.0, round(now_s - depth.oldest_at_s, 1))
    return [found[name] for name in sorted(found)]


def _running(queue: JobQueue, row: RunningRow) -> RunningJob | None:
    """The job of a row; None where it is gone meanwhile."""
    try:
        record = queue.get(row.workflow_id)
    except JobNotFound:
        return None
    return RunningJob(
        job_id=row.workflow_id,
        owner=row.owner or None,
        model=model_of(row.queue) or DEFAULT_MODEL,
        stage=record.stage,
        progress=record.progress,
    )


def _worker(lease: WorkerLease, figures: WorkerFigures | None, jobs: list[RunningJob]) -> WorkerView:
    return WorkerView(
        worker=lease.slot,
        state=lease.state,
        is_alive=lease.is_alive,
        last_sign_of_life_s=round(lease.age_s, 1),
        model_id=lease.model_id,
        has_gpu=lease.has_gpu,
        loaded=lease.loaded,
        busy_share=figures.busy_share if figures else None,
        memory_peak_bytes=figures.memory_peak_bytes if figures else None,
        jobs=jobs,
    )


def _failures(counters: Counters) -> list[FailureCount]:
    counted: dict[str, int] = {}
    for figure, value in counters.all().items():
        labels = dict(figure.labels)
        if figure.name == JOBS and labels.get("outcome") == JobStatus.FAILED:
            counted[labels["code"]] = counted.get(labels["code"], 0) + round(value)
    ordered = sorted(counted.items(), key=lambda one: (-one[1], one[0]))
    return [FailureCount(code=code, jobs=number) for code, number in ordered]
