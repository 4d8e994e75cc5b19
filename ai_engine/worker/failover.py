"""Failover: requeues what dead workers had and orphans of this one, and ends jobs that no worker could end.

Runs no jobs itself; the job engine does. Who is dead is decided in `heartbeat`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS, WorkflowHandle, WorkflowStatus

from ai_engine.job_queue.dbos_setup import DELIVERY_QUEUES, GENERATE, JOB_QUEUES, ON_DEMAND_QUEUES
from ai_engine.job_queue.entries import BROKEN, DELIVER, EngineStatus, EntryId
from ai_engine.job_queue.records import attempt_number, job_of, result_of, status_of
from ai_engine.job_queue.worker_leases import Leases
from ai_engine.job_queue.workflow_table import WorkflowTable
from ai_engine.logs import event
from ai_engine.monitoring.recorder import Recorder
from ai_engine.settings import Settings
from ai_engine.webhooks.task import DeliveryTask
from ai_engine.worker.running_jobs import RunningJobs
from ai_engine.worker.workflows import enqueue_delivery

ROUNDS_PER_LEASE = 5
LEASES_UNTIL_STRAY = 2
"""An entry that no worker has worked on for so many leases is put back into its queue."""
ENDED_LATELY_S = 24 * 3600.0
"""How far back the first look goes for entries that ended while no worker ran."""
LOOKS_OVERLAP_S = 300.0
"""A later look begins so long before the last one: clocks of machines differ."""
ENDED_PER_ROUND = 50
"""Of one kind; the next round goes on with the rest."""

logger = logging.getLogger(__name__)


class Failover(threading.Thread):
    """One worker's part in failover, from when it can take jobs."""

    def __init__(
        self,
        leases: Leases,
        executor_id: str,
        settings: Settings,
        rows: WorkflowTable,
        recorder: Recorder,
        running_jobs: RunningJobs,
    ) -> None:
        super().__init__(name="failover", daemon=True)
        self._leases, self._executor_id, self._settings = leases, executor_id, settings
        self._rows, self._recorder, self._running_jobs = rows, recorder, running_jobs
        self._jobs = _EndedEntries(GENERATE, (EngineStatus.CANCELLED, *BROKEN), self._end_job)
        self._deliveries = _EndedEntries(DELIVER, tuple(BROKEN), self._end_delivery)
        self._is_over = threading.Event()

    def run(self) -> None:
        """Makes its rounds until `stop`."""
        while not self._is_over.wait(self._settings.lease_s / ROUNDS_PER_LEASE):
            try:
                self._round()
            except Exception:
                # The database may be away for a while; the next round finds what this one left.
                logger.exception("a round of failover broke off")

    def stop(self) -> None:
        """Ends the thread."""
        self._is_over.set()
        self.join(timeout=5)

    def _round(self) -> None:
        self._take_over()
        self._jobs.handle_new()
        self._deliveries.handle_new()
        self._put_back_strays()

    def _take_over(self) -> None:
        """Queues again what the dead have, however long they are: no worker may have been alive to do it at the time.

        It touches only what they still own, so it heals a failed try, and two may do it at once.
        """
        # Who owns something comes first: a worker has its lease before it has a job.
        dead = self._leases.dead(self._rows.owners((*JOB_QUEUES, *ON_DEMAND_QUEUES, *DELIVERY_QUEUES)))
        if dead:
            self._note_taken_over(DBOS._recover_pending_workflows(dead))

    def _put_back_strays(self) -> None:
        """Queues again what this worker has by its row alone: the engine could not write down how it ended."""
        rows = DBOS.list_workflows(
            status=EngineStatus.PENDING, executor_id=self._executor_id, load_input=False, load_output=False
        )
        queues = {row.workflow_id: row.queue_name for row in rows if row.queue_name}
        for workflow_id in self._running_jobs.strays(queues, LEASES_UNTIL_STRAY * self._settings.lease_s):
            event(
                logger,
                "orphan: no worker works on it, queueing it again",
                level=logging.WARNING,
                entry=workflow_id,
            )
            DBOS.resume_workflow(workflow_id, queue_name=queues[workflow_id])

    def _note_taken_over(self, entries: Sequence[WorkflowHandle[Any]]) -> None:
        entry_ids = [EntryId.parse(entry.workflow_id) for entry in entries]
        ids = [entry.job_id for entry in entry_ids if entry.is_job]
        for job_id in ids:
            event(logger, "job taken over", job_id=job_id, executor=self._executor_id)
        self._recorder.job_metrics.count_taken_over(len(ids))

    def _end_job(self, row: WorkflowStatus) -> None:
        """Records the end of a job that was cancelled or that the engine gave up, and queues its webhook."""
        result = result_of(row)
        if result is not None and row.completed_at is not None:
            job, ended_at_s = job_of(row), row.completed_at / 1000
            self._recorder.close_job(job, status_of(row, result), result, ended_at_s)
            enqueue_delivery(job, result, ended_at_s, self._settings, self._recorder.deliveries)

    def _end_delivery(self, row: WorkflowStatus) -> None:
        """Notes that a delivery is dead whose attempt raised, or killed its worker as often as is allowed."""
        assert row.input is not None
        job = DeliveryTask.from_dict(row.input["args"][0]).job
        self._recorder.deliveries.note(job, attempt_number(row), "dead")


@dataclass
class _EndedEntries:
    """The entries of one name that ended with one of these statuses, each handled once by this worker.

    Other workers may handle the same entry; `handle` changes nothing then.
    """

    name: str
    statuses: Sequence[EngineStatus]
    handle: Callable[[WorkflowStatus], None]

    def __post_init__(self) -> None:
        self._handled: set[str] = set()
        self._since_s = time.time() - ENDED_LATELY_S

    def handle_new(self) -> None:
        """Handles those that ended since the last look."""
        looked_at_s = time.time()
        rows = DBOS.list_workflows(
            name=self.name,
            status=list(self.statuses),
            completed_after=datetime.fromtimestamp(self._since_s, UTC).isoformat(),
            load_output=False,
        )
        new = [row for row in rows if row.workflow_id not in self._handled]
        for row in new[:ENDED_PER_ROUND]:
            self.handle(row)
            self._handled.add(row.workflow_id)
        if len(new) <= ENDED_PER_ROUND:
            self._since_s = looked_at_s - LOOKS_OVERLAP_S
            self._handled = {row.workflow_id for row in rows}
