"""The job queue's client over DBOS: submit, get, list, cancel, events. The executing side is the room `worker`.

A job is a workflow called `generate` whose id is the job's id. Each attempt of its delivery is a workflow of its
own, `<job id>:deliver:<n>`, so that one that waits for hours holds nothing but a row. Knows no stages, no HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

from dbos import DBOSClient, WorkflowStatus, error

from ai_engine.errors import JobNotFound, KeyReused, QueueFull, TooManyJobs
from ai_engine.job import Artifact, Job, JobStatus
from ai_engine.job_queue.abilities.slicers import Slicers
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.dbos_setup import (
    APPLICATION,
    GENERATE,
    JOB_QUEUES,
    PROGRESS,
    generate_options,
    queue_of,
    register_queues,
)
from ai_engine.job_queue.deliveries import Deliveries, DeliveryPage
from ai_engine.job_queue.delivery_index import DeliveryFilter, DeliveryIndex
from ai_engine.job_queue.entries import EngineStatus
from ai_engine.job_queue.job_index import JobFilter, JobIndex, place_of
from ai_engine.job_queue.on_demand import CutOuts, Previews
from ai_engine.job_queue.queue_estimate import QueueEstimates
from ai_engine.job_queue.records import (
    JobPage,
    JobRecord,
    JobSummary,
    QueuePlace,
    Submitted,
    job_of,
    last_progress,
    pedestal_of,
    result_of_stages,
    stages_of,
    summary_of,
)
from ai_engine.job_queue.worker_leases import Leases, ServedModel, WorkerLease
from ai_engine.job_queue.workflow_table import WorkflowTable
from ai_engine.settings import Settings
from ai_engine.stage import Stage, overall_progress
from ai_engine.stage_result import JobResult, StageResult
from ai_engine.webhooks.task import SAME_TARGET, NewTarget

EVENTS_POLL_S = 0.5


class JobQueue:
    """What the API asks of the job engine."""

    def __init__(self, settings: Settings, client: DBOSClient, database: Database) -> None:
        """The queues are registered with `client`; `open_queue` makes one."""
        self._settings = settings
        self._client = client
        self._leases = Leases(database)
        self.slicers = Slicers(database, self._leases)
        self._index = JobIndex(database)
        self._rows = WorkflowTable(database)
        self._estimates = QueueEstimates(client, self._rows, self._leases)
        self._deliveries = Deliveries(client, settings, DeliveryIndex(database))
        self.cut_outs = CutOuts(client, self._rows, settings)
        self.previews = Previews(client, self._rows)

    def close(self) -> None:
        """Closes DBOS's connections; the database is closed by whoever opened it."""
        self._client.destroy()

    def submit(self, job: Job) -> Submitted:
        """Puts the job into the queue; when this returns, no crash can lose it.

        Raises:
            KeyReused: a job of this id exists, and its request was another one.
        """
        place = self._estimates.add(job)
        try:
            with self._index.entering(job) as connection:
                self._client.enqueue_in_transaction(connection, generate_options(job), job.to_dict())
        except error.DBOSWorkflowIDInUseError:
            return self.find_submitted(job)
        return Submitted(is_new=True, queue_position=place.position, eta_s=place.eta_s)

    def get(self, job_id: str) -> JobRecord:
        """What is known of the job now.

        Raises:
            JobNotFound: there is no job of this id.
        """
        row = self._row(job_id)
        known = summary_of(row)
        stage, progress = self._how_far(row, known.result)
        so_far = (
            self._result_so_far(row) if known.result is None or not known.result.timings_s else known.result
        )
        return JobRecord(
            summary=known,
            stage=stage,
            progress=progress,
            so_far=so_far,
            deliveries=self._deliveries.attempts(job_id) if known.result is not None else (),
            place=self.place(job_id) if known.status == JobStatus.QUEUED else None,
        )

    def summary(self, job_id: str) -> JobSummary:
        """What one row says of the job: no progress, no deliveries.

        Raises:
            JobNotFound: there is no job of this id.
        """
        return summary_of(self._row(job_id))

    def place(self, job_id: str) -> QueuePlace | None:
        """Where the job stands in the queue; None when it does not wait, or is none."""
        return self._estimates.place(job_id)

    def has(self, job_id: str) -> bool:
        """True when there is a job of this id."""
        rows = self._client.list_workflows(
            workflow_ids=[job_id], name=GENERATE, load_input=False, load_output=False
        )
        return bool(rows)

    def jobs(self, wanted: JobFilter, limit: int, cursor: str | None = None) -> JobPage:
        """Up to `limit` jobs, newest first; `cursor` is where the page before ended.

        Raises:
            InvalidField: the cursor is none of ours.
        """
        places = self._index.page(wanted, limit + 1, place_of(cursor))
        shown = places[:limit]
        rows = self._client.list_workflows(workflow_ids=[place.job_id for place in shown]) if shown else []
        found = {row.workflow_id: summary_of(row) for row in rows}
        jobs = [found[place.job_id] for place in shown if place.job_id in found]
        return JobPage(jobs, shown[-1].to_cursor() if len(places) > limit else None)

    def last_attempt(self, job: Job) -> JobSummary:
        """The latest attempt at what `job` asks for: itself unless it was retried.

        Raises:
            JobNotFound: it is known no more.
        """
        return self.summary(self._index.last_attempt(job.first_id) or job.job_id)

    def stages(self, job_id: str) -> dict[Stage, StageResult]:
        """What the stages of the job that are done left behind, besides its pedestal."""
        return stages_of(self._client.list_workflow_steps(job_id))

    def pedestal(self, job_id: str) -> Artifact | None:
        """The file of `base.mesh_url` as the job fetched it; None where it did not."""
        return pedestal_of(self._client.list_workflow_steps(job_id))

    def _result_so_far(self, row: WorkflowStatus) -> JobResult:
        """What the stages that are done have found out."""
        if EngineStatus(row.status) == EngineStatus.ENQUEUED and not row.recovery_attempts:
            return JobResult()  # Asked for most, and never begun.
        return result_of_stages(self._client.list_workflow_steps(row.workflow_id))

    def deliveries(self, wanted: DeliveryFilter, limit: int, cursor: str | None = None) -> DeliveryPage:
        """Up to `limit` deliveries, of the newest job first; `cursor` is where the page before ended.

        Raises:
            InvalidField: the cursor is none of ours.
        """
        return self._deliveries.page(wanted, limit, place_of(cursor))

    def redeliver(self, known: JobSummary, target: NewTarget = SAME_TARGET) -> None:
        """Queues the job's delivery again, with the same event and webhook-id; its schedule begins anew.

        Raises:
            NoWebhook: the job has none, and `target` names none.
            FileNotReady: the job is not over.
            DeliveryUnderWay: an attempt is being made, or about to be.
        """
        self._deliveries.redeliver(known, target)

    def cancel(self, known: JobSummary) -> None:
        """Stops the job if it is not over: at once when it waits, else at its next step."""
        if known.result is None:
            self._client.cancel_workflow(known.job.job_id)

    async def events(self, job_id: str, offset: int, pause_s: float) -> AsyncIterator[dict[str, Any] | None]:
        """The progress events of a job from number `offset` on, until it ends; None after each quiet `pause_s`."""
        while True:
            try:
                async for value in self._client.read_stream_async(
                    job_id,
                    PROGRESS,
                    offset=offset,
                    polling_interval_sec=EVENTS_POLL_S,
                    timeout_seconds=pause_s,
                ):
                    offset += 1
                    yield value
                return
            except error.DBOSStreamTimeoutError:
                yield None

    def workers(self) -> Sequence[WorkerLease]:
        """The workers that are there or were lately, the latest sign of life first."""
        return self._leases.workers()

    def matting_models(self) -> Collection[str] | None:
        """The matting models that a request may choose from; None when no worker has said yet."""
        return self._leases.matting_models()

    def takes_views(self, model: str | None) -> bool | None:
        """True where the model, or for None one that is served, takes several views; None when no worker has said."""
        cards = [one.facts for one in self.served_models() if one.facts and model in (None, one.name)]
        return any(len(card.views) > 1 for card in cards) if cards else None

    def served_models(self) -> Sequence[ServedModel]:
        """The shape models of the workers that live, one entry for each worker; while none lives, of the last ones."""
        return self._leases.served_models()

    def check_room(self, owner: str | None = None) -> None:
        """Raises QueueFull or TooManyJobs if a new job of `owner` would exceed a limit.

        A full queue still takes one job of an owner who has none open: other owners' backlogs do not shut them out.
        Requests that are checked at the same moment may together pass the owner's limit by a few.

        Raises:
            QueueFull: as many jobs wait as are allowed to.
            TooManyJobs: as many jobs of this owner wait or run as are allowed to.
        """
        most_own = self._settings.max_open_jobs_per_key
        num_own = self._rows.num_open_of(owner, JOB_QUEUES) if owner is not None else 0
        if self.is_full() and (owner is None or num_own):
            most = self._settings.max_queued_jobs
            raise QueueFull(
                f"{most} jobs are waiting, no more are taken.",
                retry_after_s=self._estimates.total.retry_after_s(),
            )
        if owner is not None and most_own and num_own >= most_own:
            raise TooManyJobs(
                f"{most_own} of your jobs are open.", retry_after_s=self._estimates.total.retry_after_s()
            )

    def is_full(self) -> bool:
        """True when no further job would be taken."""
        return self._estimates.total.num_queued() >= self._settings.max_queued_jobs

    def _row(self, job_id: str) -> WorkflowStatus:
        rows = self._client.list_workflows(workflow_ids=[job_id], name=GENERATE)
        if not rows:
            raise JobNotFound(f"There is no job {job_id}.")
        return rows[0]

    def find_submitted(self, job: Job) -> Submitted:
        """The answer to a request that came before.

        Raises:
            KeyReused: the job of this id is of another request.
        """
        row = self._row(job.job_id)
        if job_of(row).request_sha256 != job.request_sha256:
            raise KeyReused("This idempotency key came before with another request.")
        place = self.place(job.job_id) or QueuePlace(0, self._estimates.of(queue_of(job)).eta_s(0))
        return Submitted(is_new=False, queue_position=place.position, eta_s=place.eta_s)

    def _how_far(self, row: WorkflowStatus, result: JobResult | None) -> tuple[Stage, float]:
        if result is not None and result.failure is None:
            return Stage.FINISH, 1.0
        last = (
            None
            if EngineStatus(row.status) == EngineStatus.ENQUEUED
            else last_progress(self._client, row.workflow_id)
        )
        if last is None:
            return Stage.QUEUE, 0.0
        stage = Stage(last["stage"])
        progress = overall_progress(stage, last["done"], last["total"])
        return (stage if result is None or result.failure is None else result.failure.stage), progress


def open_queue(settings: Settings, database: Database) -> JobQueue:
    """The job queue in `database`, with DBOS's queues registered as the settings say."""
    url = settings.jobs_database_url
    client = DBOSClient(
        system_database_url=url,
        application_name=APPLICATION,
        use_listen_notify=not url.startswith("sqlite"),
        # Without a database the API answers 503 at once: the caller is not kept waiting until it is back.
        retry_connection_errors=False,
    )
    try:
        register_queues(client.register_queue, settings)
        return JobQueue(settings, client, database)
    except Exception:
        client.destroy()
        raise
