"""Counts crash attempts per stage: the guard against a poison job, one that kills its worker each time.

A job whose stage crashed its worker JOB_MAX_ATTEMPTS times fails with `worker_lost`. DBOS counts recoveries of whole
jobs, which would charge jobs that only waited in the same worker, so the stage that was running is counted here.
"""

from __future__ import annotations

import logging

from dbos import DBOS, WorkflowStatus

from ai_engine.errors import WorkerLost
from ai_engine.logs import event
from ai_engine.stage import Stage

_TOLD = {"shape": Stage.DENOISE}
"""What callers are told where a step goes by another name than its stage."""

logger = logging.getLogger(__name__)


class CrashAttempts:
    """How often a stage of a job was started; counted from the job's first recovery on."""

    def __init__(self, row: WorkflowStatus, stage: str, *, is_first_here: bool) -> None:
        """`is_first_here`: no earlier stage went to work in this execution; else this one never did before."""
        self._job_id, self._stage = row.workflow_id, stage
        self._attribute = f"tries_of_{stage}"
        self._is_repeated = (row.recovery_attempts or 0) > 1
        self._is_counted = False
        # The first time is not written down: it is the only one of nearly all jobs.
        unwritten = 1 if is_first_here else 0
        self._before = int((row.attributes or {}).get(self._attribute, unwritten))

    def check(self, most: int) -> None:
        """Raises if the stage has used up its attempts.

        Raises:
            WorkerLost: it was started `most` times and never finished.
        """
        if self._is_repeated and self._before >= most:
            raise WorkerLost(
                f"The worker died each time: {self._before} times.", stage=_TOLD.get(self._stage, self._stage)
            )

    def count(self) -> None:
        """Counts that the stage goes to work; a second call changes nothing."""
        if self._is_repeated and not self._is_counted:
            self._is_counted = True
            number = self._before + 1
            DBOS.update_workflow_attributes(self._job_id, {self._attribute: number}, merge=True)
            event(logger, "stage at work again", job_id=self._job_id, stage=self._stage, number=number)
