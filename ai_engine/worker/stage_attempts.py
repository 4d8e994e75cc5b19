"""Counts crash attempts per stage: the guard against a poison job, one that kills its worker each time.

A job whose stage crashed its worker JOB_MAX_ATTEMPTS times fails with `worker_lost`. DBOS counts recoveries of whole
jobs, which would charge jobs that only waited in the same worker, so the stage that was running is counted here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from dbos import DBOS, WorkflowStatus

from ai_engine.errors import WorkerLost
from ai_engine.job_queue.dbos_setup import EARLIER_STEPS
from ai_engine.logs import event
from ai_engine.stage import Stage

logger = logging.getLogger(__name__)


class CrashAttempts:
    """How often a stage of a job went to work; written down from the job's first recovery on."""

    def __init__(self, row: WorkflowStatus, stage: Stage, reported: Callable[[], Collection[str]]) -> None:
        """`reported`: the stages that earlier executions went to work on; asked once, on the first recovery.

        The first attempt is not written down, as it is the only one of nearly all jobs: the progress that the job
        reported shows whether there was one, or whether the stage only waited for its turn.
        """
        self._job_id, self._stage = row.workflow_id, stage
        self._attribute = f"tries_of_{stage}"
        self._is_repeated = (row.recovery_attempts or 0) > 1
        self._is_counted = False
        self._before = self._attempts_before(row, reported) if self._is_repeated else 0

    def _attempts_before(self, row: WorkflowStatus, reported: Callable[[], Collection[str]]) -> int:
        counts = row.attributes or {}
        earlier = f"tries_of_{EARLIER_STEPS.get(self._stage)}"
        written: int | None = counts.get(self._attribute, counts.get(earlier))
        return int(self._stage in reported()) if written is None else written

    def check(self, most: int) -> None:
        """Raises if the stage has used up its attempts.

        Raises:
            WorkerLost: it went to work `most` times and never finished.
        """
        if self._before >= most:
            raise WorkerLost(f"The worker died each time: {self._before} times.", stage=self._stage)

    def count(self) -> None:
        """Counts that the stage goes to work; a second call changes nothing."""
        if self._is_repeated and not self._is_counted:
            self._is_counted = True
            number = self._before + 1
            DBOS.update_workflow_attributes(self._job_id, {self._attribute: number}, merge=True)
            event(logger, "stage at work again", job_id=self._job_id, stage=self._stage, number=number)
