"""Emergency shutdown: requeues this worker's running jobs without charging them an attempt, then exits.

Knows the job engine and which job is to blame; not how that was found out.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from dbos import DBOS, WorkflowStatus

from ai_engine.errors import GenerationTimeout, JobError, WorkerLost
from ai_engine.job_queue.dbos_setup import GENERATE
from ai_engine.job_queue.entries import EngineStatus
from ai_engine.job_queue.worker_leases import Leases
from ai_engine.logs import event
from ai_engine.stage import Stage
from ai_engine.worker.watchdog import DEVICE_FAULT_STATUS

ENDING = "ending"
DEVICE_FAULTS = "device_faults"
"""Attributes of a job's row in the job engine."""
LEAVE_WITHIN_S = 20.0
"""After that the process exits without the database: the lease expires and other workers take the jobs over."""
CLAIM_WITHIN_S = 5.0
QUEUE_THREADS = "queue-worker-"
"""What the names of the job engine's threads begin with that take entries from its queues."""
_ENDINGS: dict[str, type[JobError]] = {kind.code: kind for kind in (GenerationTimeout, WorkerLost)}

logger = logging.getLogger(__name__)


class Handover:
    """Ends one worker's process."""

    def __init__(self, leases: Leases, executor_id: str, engine: DBOS) -> None:
        self._leases, self._executor_id, self._engine = leases, executor_id, engine
        self._leaving = threading.RLock()
        """Held for good by the thread that ends the process; others that find a reason to leave wait for that end."""

    def find_cancelled(self, job_ids: Sequence[str]) -> Mapping[str, float]:
        """Those of the jobs that were cancelled, and when, in seconds since 1970."""
        rows = DBOS.list_workflows(
            workflow_ids=list(job_ids), status=EngineStatus.CANCELLED, load_input=False, load_output=False
        )
        return {row.workflow_id: (row.completed_at or 0) / 1000 for row in rows}

    def count_device_fault(self, job_id: str) -> int:
        """Notes that the device broke while it had this job; how often that happened by now.

        Never returns if the process is being ended already: a job that got the broken device from the one that
        broke it is not to blame.
        """
        self._leaving.acquire()
        _leave_anyway_after(LEAVE_WITHIN_S, DEVICE_FAULT_STATUS)
        count = int(_attributes(job_id).get(DEVICE_FAULTS, 0)) + 1
        DBOS.update_workflow_attributes(job_id, {DEVICE_FAULTS: count}, merge=True)
        return count

    def leave(self, status: int, job_id: str, ending: JobError | None) -> None:
        """Ends this process. `job_id` ends with `ending` if there is one; all other jobs go on elsewhere."""
        self._leaving.acquire()
        _leave_anyway_after(LEAVE_WITHIN_S, status)
        try:
            if ending is not None:
                ending_fields = {"code": ending.code, "detail": ending.detail, "stage": str(ending.stage)}
                DBOS.update_workflow_attributes(job_id, {ENDING: ending_fields}, merge=True)
            self._stop_taking()
            self.hand_back()
            self._leases.give_up(self._executor_id)
        except Exception:
            logger.exception("could not hand all jobs back; they are taken over when the lease has run out")
        finally:
            os._exit(status)

    def hand_back(self) -> None:
        """Gives all jobs of this worker back to the queue, with all their attempts: they are not to blame.

        The engine takes nothing from the queues any more by then.
        """
        rows = DBOS.list_workflows(
            name=GENERATE,
            status=EngineStatus.PENDING,
            executor_id=self._executor_id,
            load_input=False,
            load_output=False,
        )
        for row in rows:
            DBOS.resume_workflow(row.workflow_id, queue_name=row.queue_name)
            event(logger, "job handed back", job_id=row.workflow_id)

    def _stop_taking(self) -> None:
        """Ends the threads that take entries from the queues, after the claim that one of them may be making.

        They would claim again what is handed back, and the next worker would count that as one more crash.
        """
        for stop in self._engine.background_thread_stop_events:
            stop.set()
        for thread in threading.enumerate():
            if thread.name.startswith(QUEUE_THREADS):
                thread.join(CLAIM_WITHIN_S)


def check_ending(row: WorkflowStatus) -> None:
    """Raises if a worker that exited over this job said how it ends.

    Raises:
        JobError: a worker that left over this job said how it ends.
    """
    ending_fields = (row.attributes or {}).get(ENDING)
    if ending_fields is not None:
        raise _ENDINGS[ending_fields["code"]](ending_fields["detail"], stage=Stage(ending_fields["stage"]))


def _attributes(job_id: str) -> dict[str, Any]:
    rows = DBOS.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
    return (rows[0].attributes or {}) if rows else {}


def _leave_anyway_after(seconds: float, status: int) -> None:
    timer = threading.Timer(seconds, os._exit, (status,))
    timer.daemon = True
    timer.start()
