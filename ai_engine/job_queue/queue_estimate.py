"""Estimates of the queue, from its length and what jobs took: position, estimated time of arrival, Retry-After.

Answers from the database are kept for a moment, so that a burst of requests does not count the queue each time.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

from dbos import DBOSClient, WorkflowStatus

from ai_engine.job import Job
from ai_engine.job_queue.dbos_setup import (
    GENERATE,
    JOB_QUEUES,
    PIPELINE_QUEUE,
    VARIANT_QUEUE,
    partition_of,
    pipeline_queue,
    queue_of,
)
from ai_engine.job_queue.records import QueuePlace
from ai_engine.job_queue.worker_leases import Leases, WorkerState
from ai_engine.job_queue.workflow_table import WorkflowTable, fair_place
from ai_engine.stage import Stage

QUEUE_COUNT_AGE_S = 0.5
ETA_AGE_S = 5.0
ETA_JOBS = 10
DEFAULT_RETRY_AFTER_S = 10


class QueueEstimate:
    """The length of a model's queue of jobs and the time that it takes; of all queues where no model is named."""

    def __init__(
        self, client: DBOSClient, rows: WorkflowTable, leases: Leases, queue: str | None = None
    ) -> None:
        self._client = client
        self._queue = queue
        self._rows = rows
        self._leases = leases
        self._lock = threading.Lock()
        self._queued: Counter[str] = Counter()
        """By partition, which is by owner."""
        self._queue_counted_at = float("-inf")
        self._usual_s: tuple[float, float] | None = None
        self._usual_seen_at = float("-inf")

    def num_queued(self) -> int:
        """Jobs that wait, as counted at most QUEUE_COUNT_AGE_S ago."""
        with self._lock:
            return self._count().total()

    def add(self, partition: str) -> int:
        """Counts one more job of the partition in; its position in the queue."""
        with self._lock:
            queued = self._count()
            queued[partition] += 1
            return fair_place(queued[partition], [num for key, num in queued.items() if key != partition])

    def eta_s(self, position: int) -> int | None:
        """Seconds until the job at `position` is done; None when no job was measured yet."""
        usual = self._usual()
        if usual is None:
            return None
        device_s, rest_s = usual
        return max(1, round(position * device_s + rest_s))

    def retry_after_s(self) -> int:
        """Seconds after which a full queue will have taken one job up."""
        usual = self._usual()
        return DEFAULT_RETRY_AFTER_S if usual is None else max(1, round(usual[0]))

    def _count(self) -> Counter[str]:
        if time.monotonic() - self._queue_counted_at > QUEUE_COUNT_AGE_S:
            self._queued = self._rows.waiting_by_partition(*((self._queue,) if self._queue else JOB_QUEUES))
            self._queue_counted_at = time.monotonic()
        return self._queued

    def _usual(self) -> tuple[float, float] | None:
        """Seconds from one job's turn on a device to the next, and what the latest jobs took besides."""
        if time.monotonic() - self._usual_seen_at > ETA_AGE_S:
            ids = self._rows.latest_successes(GENERATE, ETA_JOBS, self._queue)
            rows = self._client.list_workflows(workflow_ids=list(ids), load_input=False) if ids else []
            self._usual_s = usual_seconds(rows, max(1, self._num_ready_workers()))
            self._usual_seen_at = time.monotonic()
        return self._usual_s

    def _num_ready_workers(self) -> int:
        ready = {
            one.executor_id
            for one in self._leases.workers()
            if one.is_alive and one.state == WorkerState.READY
        }
        if self._queue not in (None, PIPELINE_QUEUE, VARIANT_QUEUE):
            served = self._leases.served_models()
            ready &= {one.executor_id for one in served if pipeline_queue(one.name) == self._queue}
        return len(ready)


class QueueEstimates:
    """The estimates of all queues of jobs: `total` of them together, and one of each."""

    def __init__(self, client: DBOSClient, rows: WorkflowTable, leases: Leases) -> None:
        self._client, self._rows, self._leases = client, rows, leases
        self._by_queue: dict[str, QueueEstimate] = {}
        self.total = QueueEstimate(client, rows, leases)

    def of(self, queue: str) -> QueueEstimate:
        """The estimate of one queue."""
        if queue not in self._by_queue:
            self._by_queue[queue] = QueueEstimate(self._client, self._rows, self._leases, queue)
        return self._by_queue[queue]

    def add(self, job: Job) -> QueuePlace:
        """Counts one more job in; its place in its queue."""
        estimate = self.of(queue_of(job))
        self.total.add(partition_of(job.owner))
        position = estimate.add(partition_of(job.owner))
        return QueuePlace(position, estimate.eta_s(position))

    def place(self, job_id: str) -> QueuePlace | None:
        """Where the job stands in its queue; None when it does not wait, or is none."""
        queue = self._rows.queue_of(job_id)
        position = self._rows.place(job_id, queue) if queue else 0
        return QueuePlace(position, self.of(queue).eta_s(position)) if queue and position else None


def usual_seconds(rows: Sequence[WorkflowStatus], num_workers: int) -> tuple[float, float] | None:
    """Means over the jobs of `rows`: seconds of a device per job, shared by the workers, and all other seconds.

    None when no row has timings.
    """
    timings = [row.output["timings_s"] for row in rows if row.output and row.output["timings_s"]]
    if not timings:
        return None
    device_s = [taken.get(Stage.DENOISE, 0.0) + taken.get(Stage.DECODE, 0.0) for taken in timings]
    work_s = [sum(value for stage, value in taken.items() if stage != Stage.QUEUE) for taken in timings]
    usual_device_s = sum(device_s) / len(timings)
    return usual_device_s / num_workers, sum(work_s) / len(timings) - usual_device_s
