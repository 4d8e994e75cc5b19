"""The attempts to deliver a job's webhook, as the job engine keeps them: one entry per attempt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from dbos import DBOSClient, WorkflowStatus

from ai_engine.errors import DeliveryUnderWay
from ai_engine.job import Job
from ai_engine.job_queue.dbos_setup import DeliveryPlace, delivery_options
from ai_engine.job_queue.entries import EngineStatus, EntryId
from ai_engine.job_queue.records import DeliveryAttempt, attempt_number, attempt_of, is_postponed
from ai_engine.settings import Settings
from ai_engine.webhooks.task import DeliveryOutcome, DeliveryTask

LOOKED_UP_AT_ONCE = 16


class Deliveries:
    """Reads the attempts of a job and queues one more."""

    def __init__(self, client: DBOSClient, settings: Settings) -> None:
        self._client, self._settings = client, settings

    def attempts(self, job: Job) -> Sequence[DeliveryAttempt]:
        """The attempts so far, the first one first."""
        if not job.has_delivery:
            return []
        made = [attempt_of(row) for row in self._rows(job.job_id) if not is_postponed(row)]
        return [replace(attempt, attempt=number) for number, attempt in enumerate(made, 1)]

    def redeliver(self, job_id: str) -> None:
        """Queues the delivery of a job that is over once more, as the next attempt.

        Raises:
            DeliveryUnderWay: an attempt is being made, or about to be.
        """
        rows = self._rows(job_id, load_input=True)
        if not rows or EngineStatus(rows[-1].status) in (EngineStatus.ENQUEUED, EngineStatus.PENDING):
            raise DeliveryUnderWay("The delivery is being made at this moment.")
        last = rows[-1]
        assert last.input is not None
        task, number = DeliveryTask.from_dict(last.input["args"][0]), attempt_number(last)
        if last.output is not None:
            task = task.after(DeliveryOutcome.from_dict(last.output), number)
        again = task.redelivery(number, time.time())
        place = DeliveryPlace.of(again, self._settings)
        options = delivery_options(EntryId(job_id, number + 1), 0.0, place)
        self._client.enqueue(options, again.to_dict(), number + 1)
        # Last: one attempt too many is better than none, if this process dies in between.
        if EngineStatus(last.status) == EngineStatus.DELAYED:
            self._client.cancel_workflow(last.workflow_id)

    def _rows(self, job_id: str, *, load_input: bool = False) -> list[WorkflowStatus]:
        """The entries of the attempts, in their order."""
        found: list[WorkflowStatus] = []
        # By their ids, some at a time: by the beginning of their ids SQLite would look through all rows.
        while len(found) % LOOKED_UP_AT_ONCE == 0:
            ids = [str(EntryId(job_id, len(found) + n + 1)) for n in range(LOOKED_UP_AT_ONCE)]
            rows = self._client.list_workflows(workflow_ids=ids, load_input=load_input)
            found += sorted(rows, key=attempt_number)
            if not rows:
                break
        return found
