"""Heartbeat and failover: renews this worker's lease, takes over jobs of dead workers, requeues orphans.

Takes no jobs itself; the engine does.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS, WorkflowHandle, WorkflowStatus

from ai_engine.job_queue.dbos_setup import DELIVERY_QUEUES, GENERATE, ON_DEMAND_QUEUES, PIPELINE_QUEUE
from ai_engine.job_queue.entries import BROKEN, EngineStatus, EntryId
from ai_engine.job_queue.records import job_of, result_of, status_of
from ai_engine.job_queue.worker_leases import Leases
from ai_engine.job_queue.workflow_table import WorkflowTable
from ai_engine.logs import event
from ai_engine.monitoring.counters import WorkerFigures
from ai_engine.monitoring.recorder import Recorder
from ai_engine.pipeline.resources import Resources
from ai_engine.settings import Settings
from ai_engine.worker.running_jobs import RunningJobs
from ai_engine.worker.workflows import enqueue_delivery

BEATS_PER_LEASE = 5
LEASES_UNTIL_STRAY = 2
"""An entry that nobody worked on for so many leases is put back into its queue."""
ENDED_LATELY_S = 24 * 3600.0
"""How far back the first look goes for jobs that ended while no worker ran to deliver their webhook."""
LOOKS_OVERLAP_S = 300.0
"""A later look begins so long before the last one: clocks of machines differ."""
TOLD_PER_BEAT = 50
"""More would keep the lease from being renewed in time."""
LOST_LEASE_STATUS = 70
"""Exit status of a worker that was declared dead while it lived."""

logger = logging.getLogger(__name__)


class LeaseKeeper(threading.Thread):
    """Renews this worker's lease, takes over jobs of dead workers, queues webhooks of jobs that no worker ended."""

    def __init__(
        self,
        leases: Leases,
        executor_id: str,
        settings: Settings,
        rows: WorkflowTable,
        recorder: Recorder,
        running_jobs: RunningJobs,
    ) -> None:
        super().__init__(name="lease-keeper", daemon=True)
        self._leases = leases
        self._executor_id = executor_id
        self._settings = settings
        self._recorder = recorder
        self._running_jobs = running_jobs
        self._rows = rows
        self._renewed_at = time.monotonic()
        self._may_bury_at = self._renewed_at + settings.lease_s
        self.resources: Resources | None = None
        """What this worker works with, once its models are loaded."""
        self._loaded = 0.0
        self._told: set[str] = set()
        self._ended_since_s = time.time() - ENDED_LATELY_S
        self._is_over = threading.Event()
        self.may_take_over = threading.Event()
        """Set once this worker can take jobs."""

    def run(self) -> None:
        """The round, until `stop`."""
        while not self._is_over.wait(self._settings.lease_s / BEATS_PER_LEASE):
            try:
                self._beat()
            except Exception:
                # The database may be away for a while; a lease that runs out meanwhile is noticed afterwards.
                logger.exception("the lease could not be renewed")

    def note_loaded(self, share: float) -> None:
        """Takes note of which share of the weights, 0 to 1, is read; the next heartbeat writes it to the lease."""
        self._loaded = share

    def stop(self) -> None:
        """Ends the thread."""
        self._is_over.set()
        self.join(timeout=5)

    def _beat(self) -> None:
        if not self._leases.renew(self._executor_id):
            logger.critical("this worker was declared dead; leaving")
            os._exit(LOST_LEASE_STATUS)
        self._bury_stale()
        if self.may_take_over.is_set():
            self._take_over()
            self._tell_of_ended()
            self._put_back_strays()
        if self.resources is None:
            self._leases.tell_loaded(self._executor_id, self._loaded)
        else:
            self._recorder.job_metrics.worker(_figures_of(self._executor_id, self.resources))

    def _bury_stale(self) -> None:
        """Marks workers with an expired lease as dead.

        Skipped in this worker's first lease period and after it lost the database itself: others may have been
        partitioned too, and need time for a heartbeat.
        """
        now, lease_s = time.monotonic(), self._settings.lease_s
        if now - self._renewed_at > lease_s:
            self._may_bury_at = now + lease_s
        self._renewed_at = now
        if now >= self._may_bury_at:
            self._leases.bury_stale(self._executor_id, lease_s)

    def _take_over(self) -> None:
        """Queues again what the dead have, however long they are: nobody may have been there to do it at the time.

        It touches only what they still own, so it heals a failed try, and two may do it at once.
        """
        # Who owns something comes first: a worker has its lease before it has a job.
        dead = self._leases.dead(self._rows.owners((PIPELINE_QUEUE, *ON_DEMAND_QUEUES, *DELIVERY_QUEUES)))
        if dead:
            self._note_taken_over(DBOS._recover_pending_workflows(dead))

    def _put_back_strays(self) -> None:
        """Queues again what this worker has by its row alone: the engine could not write down how it ended."""
        rows = DBOS.list_workflows(
            status=EngineStatus.PENDING, executor_id=self._executor_id, load_input=False, load_output=False
        )
        queues = {row.workflow_id: row.queue_name for row in rows if row.queue_name}
        for workflow_id in self._running_jobs.strays(queues, LEASES_UNTIL_STRAY * self._settings.lease_s):
            event(logger, "nobody works on it, queueing it again", level=logging.WARNING, entry=workflow_id)
            DBOS.resume_workflow(workflow_id, queue_name=queues[workflow_id])

    def _note_taken_over(self, entries: Sequence[WorkflowHandle[Any]]) -> None:
        entry_ids = [EntryId.parse(entry.workflow_id) for entry in entries]
        ids = [entry.job_id for entry in entry_ids if entry.is_job]
        for job_id in ids:
            event(logger, "job taken over", job_id=job_id, executor=self._executor_id)
        self._recorder.job_metrics.taken_over(len(ids))

    def _tell_of_ended(self) -> None:
        """Queues the webhooks of jobs that were cancelled, or gave up by the engine: nobody was there to do it."""
        looked_at_s = time.time()
        rows = DBOS.list_workflows(
            name=GENERATE,
            status=[EngineStatus.CANCELLED, *BROKEN],
            completed_after=datetime.fromtimestamp(self._ended_since_s, UTC).isoformat(),
            load_output=False,
        )
        untold = [row for row in rows if row.workflow_id not in self._told]
        for row in untold[:TOLD_PER_BEAT]:
            self._tell_of(row)
        if len(untold) <= TOLD_PER_BEAT:
            self._ended_since_s = looked_at_s - LOOKS_OVERLAP_S
            self._told = {row.workflow_id for row in rows}

    def _tell_of(self, row: WorkflowStatus) -> None:
        result = result_of(row)
        if result is not None and row.completed_at is not None:
            job, ended_at_s = job_of(row), row.completed_at / 1000
            self._recorder.close_job(job, status_of(row, result), result, ended_at_s)
            enqueue_delivery(job, result, ended_at_s, self._settings, self._recorder.deliveries)
        self._told.add(row.workflow_id)


def _figures_of(executor_id: str, resources: Resources) -> WorkerFigures:
    busy_s, busy_share = resources.device_clock.read()
    return WorkerFigures(executor_id, busy_s, busy_share, resources.model.peak_memory_bytes)
