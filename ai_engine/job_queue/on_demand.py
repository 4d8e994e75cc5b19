"""What a caller waits for: cut-outs before any job, pictures of finished meshes. Queued like jobs, in own queues.

A cut-out is a workflow called `cut-out`, whose id is also the name of its folder in the store; a picture is one called
`preview`, whose file lies with its job's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dbos import DBOSClient, WorkflowStatus

from ai_engine.errors import (
    FileExpired,
    InternalError,
    JobNotFound,
    NotReady,
    QueueFull,
    RequestRefused,
    TooManyJobs,
)
from ai_engine.job import Artifact, CutOut, PictureSource
from ai_engine.job_queue.dbos_setup import (
    CUT_OUT,
    CUT_OUT_QUEUE,
    JOB_QUEUES,
    PREVIEW_QUEUE,
    cut_out_options,
    partition_of,
    preview_options,
)
from ai_engine.job_queue.entries import ACTIVE, EngineStatus
from ai_engine.job_queue.workflow_table import WorkflowTable
from ai_engine.settings import Settings
from ai_engine.stage_result import JobFailure

MAX_WAITING = 100
"""Their callers wait for an answer: more would only time out."""
MAX_WAITING_PER_OWNER = 25
"""Of these, for one API key."""
RETRY_AFTER_S = 10
KEPT_S = 24 * 3600.0
"""How long the files of a cut-out are kept, unless RETENTION_HOURS is less. A job has its own copy."""


@dataclass(frozen=True)
class CutOutTask:
    """What the worker is given."""

    source: PictureSource
    owner: str | None
    """The name of the API key that it came with, the only one that may use it; None where keys were off."""
    accepted_at_s: float
    """Seconds since 1970."""
    ends_at_s: float
    """When the caller waits no longer."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> CutOutTask:
        """The task that `to_dict` wrote."""
        return cls(**fields | {"source": PictureSource.from_dict(fields["source"])})


@dataclass(frozen=True)
class CutOutOutcome:
    """A cut-out, or why there is none."""

    cut_out: CutOut | None = None
    failure: JobFailure | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> CutOutOutcome:
        """The outcome that `to_dict` wrote."""
        cut_out, failure = fields["cut_out"], fields["failure"]
        return cls(
            CutOut.from_dict(cut_out) if cut_out else None, JobFailure.from_dict(failure) if failure else None
        )


@dataclass(frozen=True)
class CutOutRecord:
    """What is known of a cut-out; `outcome` is None while it is not over."""

    task: CutOutTask
    outcome: CutOutOutcome | None


@dataclass(frozen=True)
class CutOuts:
    """The queue of cut-outs, as the API asks it."""

    client: DBOSClient
    rows: WorkflowTable
    settings: Settings

    def check_room(self, owner: str | None) -> None:
        """Checks that one more cut-out of `owner` can be taken.

        Raises:
            QueueFull: as many wait as make sense.
            TooManyJobs: as many jobs and cut-outs of this owner are open as are allowed to.
        """
        if self.rows.num_waiting(CUT_OUT_QUEUE) >= min(MAX_WAITING, self.settings.max_queued_jobs):
            raise QueueFull("Too many pictures wait to be cut out.", retry_after_s=RETRY_AFTER_S)
        most = self.settings.max_open_jobs_per_key
        if owner is None or not most:
            return
        waiting = self.rows.waiting_by_partition(CUT_OUT_QUEUE)[partition_of(owner)]
        if waiting >= MAX_WAITING_PER_OWNER:
            raise TooManyJobs(f"{waiting} of your cut-outs wait.", retry_after_s=RETRY_AFTER_S)
        if self.rows.num_open_of(owner, (*JOB_QUEUES, CUT_OUT_QUEUE)) >= most:
            raise TooManyJobs(f"{most} of your jobs and cut-outs are open.", retry_after_s=RETRY_AFTER_S)

    def submit(self, task: CutOutTask) -> None:
        """Puts the task into the queue."""
        self.client.enqueue(cut_out_options(task.source.entry_id, task.owner), task.to_dict())

    def get(self, cut_out_id: str) -> CutOutRecord:
        """What is known of the cut-out now.

        Raises:
            JobNotFound: there is none of this id.
        """
        rows = self.client.list_workflows(workflow_ids=[cut_out_id], name=CUT_OUT)
        if not rows:
            raise JobNotFound(f"There is no cut-out {cut_out_id}.")
        row = rows[0]
        assert row.input is not None
        return CutOutRecord(CutOutTask.from_dict(row.input["args"][0]), _outcome_of(row))

    def cancel(self, cut_out_id: str) -> None:
        """Cancels a cut-out whose caller has stopped waiting."""
        self.client.cancel_workflow(cut_out_id)


def _outcome_of(row: WorkflowStatus) -> CutOutOutcome | None:
    status = EngineStatus(row.status)
    if status in ACTIVE:
        return None
    if status == EngineStatus.SUCCESS and row.output is not None:
        return CutOutOutcome.from_dict(row.output)
    return CutOutOutcome(failure=JobFailure.of(InternalError("The cut-out was not finished.")))


@dataclass(frozen=True)
class PreviewTask:
    """A finished mesh whose picture a worker is to draw."""

    job_id: str
    mesh: Artifact
    is_z_up: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> PreviewTask:
        """The task that `to_dict` wrote."""
        return cls(**fields | {"mesh": Artifact(**fields["mesh"])})


@dataclass(frozen=True)
class PreviewOutcome:
    """The picture; None where its mesh is no longer kept."""

    picture: Artifact | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> PreviewOutcome:
        """The outcome that `to_dict` wrote."""
        return cls(Artifact(**fields["picture"]) if fields["picture"] else None)


@dataclass(frozen=True)
class Previews:
    """The queue of pictures, as the API asks it."""

    client: DBOSClient
    rows: WorkflowTable

    def ask(self, task: PreviewTask, owner: str | None) -> Artifact | None:
        """The picture of the mesh of `owner`'s job; None while a worker has yet to draw it.

        Raises:
            FileExpired: the mesh is no longer kept.
            NotReady: as many wait as make sense.
            RequestRefused: it could not be drawn; the next request begins anew.
        """
        options = preview_options(task.job_id, owner)
        found = self.client.list_workflows(workflow_ids=[options["workflow_id"]])
        if found:
            return self._picture(found[0])
        waiting = self.rows.waiting_by_partition(PREVIEW_QUEUE)
        is_own_full = owner is not None and waiting[partition_of(owner)] >= MAX_WAITING_PER_OWNER
        if is_own_full or waiting.total() >= MAX_WAITING:
            raise NotReady("Too many pictures wait to be drawn.", retry_after_s=RETRY_AFTER_S)
        self.client.enqueue(options, task.to_dict())
        return None

    def _picture(self, row: WorkflowStatus) -> Artifact | None:
        status = EngineStatus(row.status)
        if status in ACTIVE:
            return None
        if status != EngineStatus.SUCCESS or row.output is None:
            self.client.delete_workflow(row.workflow_id)
            raise RequestRefused("The picture could not be drawn.")
        picture = PreviewOutcome.from_dict(row.output).picture
        if picture is None:
            raise FileExpired("The file is no longer kept.")
        return picture
