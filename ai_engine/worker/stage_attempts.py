"""Which job pays when a worker dies: the one that was at work each time, not those that waited beside it.

The engine counts how often a job was taken up. Taken alone that would end a job that waits for the device together
with the one that kills its worker there, so what is counted here is how often a stage went to work.
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
    """How often a stage of a job went to work; counted from the second time on that the job is taken up."""

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
        """Comes back when the stage may go to work.

        Raises:
            WorkerLost: it did so `most` times, and never came to its end.
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
