"""The attempts to deliver a job's webhook, as the job engine keeps them: one entry per attempt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dbos import DBOSClient, WorkflowStatus

from ai_engine.errors import DeliveryUnderWay, FileNotReady, NoWebhook
from ai_engine.job import Job
from ai_engine.job_queue.dbos_setup import DeliveryPlace, delivery_options
from ai_engine.job_queue.delivery_index import (
    DeliveryFilter,
    DeliveryIndex,
    DeliveryStatus,
    IndexedDelivery,
)
from ai_engine.job_queue.entries import EngineStatus, EntryId
from ai_engine.job_queue.job_index import Place
from ai_engine.job_queue.records import (
    DeliveryAttempt,
    JobSummary,
    attempt_number,
    attempt_of,
    is_postponed,
)
from ai_engine.settings import Settings
from ai_engine.webhooks.event import JobEvent
from ai_engine.webhooks.task import SAME_TARGET, DeliveryOutcome, DeliveryTask, NewTarget

LOOKED_UP_AT_ONCE = 16


@dataclass(frozen=True)
class DeliverySummary:
    """A job's delivery in the list of deliveries."""

    job: Job
    status: DeliveryStatus
    last: DeliveryAttempt


@dataclass(frozen=True)
class DeliveryPage:
    """A piece of the list of deliveries."""

    deliveries: Sequence[DeliverySummary]
    next_cursor: str | None
    """Where the next piece begins; None when this is the last."""


class Deliveries:
    """Reads the attempts of jobs and queues one more."""

    def __init__(self, client: DBOSClient, settings: Settings, index: DeliveryIndex) -> None:
        self._client, self._settings, self._index = client, settings, index

    def attempts(self, job_id: str) -> Sequence[DeliveryAttempt]:
        """The attempts so far, the first one first."""
        made = [attempt_of(row) for row in self._rows(job_id) if not is_postponed(row)]
        return [replace(attempt, attempt=number) for number, attempt in enumerate(made, 1)]

    def page(self, wanted: DeliveryFilter, limit: int, after: Place | None) -> DeliveryPage:
        """Up to `limit` deliveries, of the newest job first."""
        found = self._index.page(wanted, limit + 1, after)
        shown = found[:limit]
        ids = {str(EntryId(one.place.job_id, one.entry)): one for one in shown}
        rows = self._client.list_workflows(workflow_ids=list(ids)) if ids else []
        by_id = {row.workflow_id: row for row in rows}
        deliveries = [_summary(one, by_id[entry]) for entry, one in ids.items() if entry in by_id]
        return DeliveryPage(deliveries, shown[-1].place.to_cursor() if len(found) > limit else None)

    def redeliver(self, known: JobSummary, target: NewTarget) -> None:
        """Queues the delivery of a job that is over once more, as the next attempt, where `target` says.

        Raises:
            NoWebhook: there is nothing to deliver to.
            FileNotReady: the job is not over.
            DeliveryUnderWay: an attempt is being made, or about to be.
        """
        if not known.job.has_delivery and target == SAME_TARGET:
            raise NoWebhook("The job's request named no webhook.")
        if known.result is None:
            raise FileNotReady("The job is not over.")
        rows = self._rows(known.job.job_id, load_input=True)
        task, number = _task_after(rows[-1]) if rows else (_first_task(known), 0)
        again = task.redelivery(number, time.time()).to(target)
        if not again.has_receiver:
            raise NoWebhook("The job's request named no webhook that could hear of it.")
        # Before it is queued: a worker may be quicker with its own note.
        self._index.note(known.job, number + 1, "waiting")
        place = DeliveryPlace.of(again, self._settings)
        options = delivery_options(EntryId(known.job.job_id, number + 1), 0.0, place)
        self._client.enqueue(options, again.to_dict(), number + 1)
        # Last: one attempt too many is better than none, if this process dies in between.
        if rows and EngineStatus(rows[-1].status) == EngineStatus.DELAYED:
            self._client.cancel_workflow(rows[-1].workflow_id)

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


def _task_after(last: WorkflowStatus) -> tuple[DeliveryTask, int]:
    """The task that follows on the last entry, and that entry's number.

    Raises:
        DeliveryUnderWay: an attempt is being made, or about to be.
    """
    if EngineStatus(last.status) in (EngineStatus.ENQUEUED, EngineStatus.PENDING):
        raise DeliveryUnderWay("The delivery is being made at this moment.")
    assert last.input is not None
    task, number = DeliveryTask.from_dict(last.input["args"][0]), attempt_number(last)
    if last.output is not None:
        task = task.after(DeliveryOutcome.from_dict(last.output), number)
    return task, number


def _first_task(known: JobSummary) -> DeliveryTask:
    """The task of a job that is over and has queued no attempt.

    Raises:
        DeliveryUnderWay: the worker is about to queue the first one.
    """
    result, ended_at_s = known.result, known.ended_at_s
    if result is None or ended_at_s is None or known.job.webhook_url is not None:
        raise DeliveryUnderWay("The delivery is about to be made.")
    return DeliveryTask(known.job, JobEvent.of(known.job, result, ended_at_s), result.artifact, ended_at_s)


def _summary(found: IndexedDelivery, row: WorkflowStatus) -> DeliverySummary:
    assert row.input is not None
    task, last = DeliveryTask.from_dict(row.input["args"][0]), attempt_of(row)
    number = max(1, last.attempt - task.num_postponed)
    return DeliverySummary(task.job, found.status, replace(last, attempt=number))
