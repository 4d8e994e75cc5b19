"""Route dependencies: the service, the job of the path if it is the caller's, the errors that each may raise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import Depends, Request

from ai_engine.api.admission import Admission
from ai_engine.delivery_tables.link_key import open_links
from ai_engine.errors import (
    BodyTooLarge,
    BodyTooSlow,
    BodyTypeUnknown,
    CrossOrigin,
    DiskFull,
    FileExpired,
    FileNotReady,
    HostUnknown,
    InvalidField,
    JobNotFound,
    KeyReused,
    KeyWrong,
    NotReady,
    QueueFull,
    RateExceeded,
    TooManyBodies,
    TooManyJobs,
)
from ai_engine.job import CutOut
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.dbos_setup import open_database
from ai_engine.job_queue.on_demand import CutOutRecord
from ai_engine.job_queue.queue import JobQueue, open_queue
from ai_engine.job_queue.records import JobRecord, JobSummary
from ai_engine.job_queue.worker_leases import WorkerLease, WorkerState
from ai_engine.monitoring.prometheus import Metrics
from ai_engine.settings import Settings
from ai_engine.storage.data_folder import DataFolder
from ai_engine.storage.free_space import has_room
from ai_engine.storage.store import ArtifactStore, is_job_id
from ai_engine.web.auth import Caller, KnownCaller
from ai_engine.web.limits import OpenPlaces
from ai_engine.webhooks.signed_links import Links

DATA_FOLDER_GONE = "The folder of the service's jobs was removed while it ran; it has to be started again."
DRAINING_RETRY_S = 30
PROBE_THREADS = 4
"""Of probes alone: requests that hold all other threads do not make the service look dead."""
LEASES_UNTIL_SILENT = 2.0
"""A worker that was not declared dead counts as alive for this many leases after its last sign of life."""


@dataclass(frozen=True)
class Connection:
    """What the routes work with that needs the job database."""

    database: Database
    engine: JobQueue
    links: Links
    metrics: Metrics
    data_folder: DataFolder

    @classmethod
    def open(cls, settings: Settings) -> Connection:
        """A connection to the job database, brought up to date first.

        Raises:
            StartupError: it can't be reached or opened.
        """
        database = open_database(settings)
        try:
            links, metrics = open_links(settings, database), Metrics(database)
            queue, folder = open_queue(settings, database), DataFolder(settings.data_places)
            return cls(database, queue, links, metrics, folder)
        except Exception:
            database.close()
            raise

    def close(self) -> None:
        """Closes the connections."""
        self.engine.close()
        self.database.close()


@dataclass
class Service:
    """What the routes work with."""

    settings: Settings
    admission: Admission
    store: ArtifactStore
    streams: OpenPlaces
    connection: Connection | None = None
    """None until the job database is open; routes that need it are `Connected`."""
    is_draining: bool = False
    """True while the workers beside this API finish what they have, before all ends."""
    probe_threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(PROBE_THREADS))

    @property
    def is_connected(self) -> bool:
        """True once the job database is open."""
        return self.connection is not None

    @property
    def engine(self) -> JobQueue:
        """The job queue; raises as `connected` does."""
        return self.require_connection().engine

    @property
    def links(self) -> Links:
        """The signer of links; raises as `connected` does."""
        return self.require_connection().links

    @property
    def metrics(self) -> Metrics:
        """The numbers of the whole service; raises as `connected` does."""
        return self.require_connection().metrics

    def require_connection(self) -> Connection:
        """The connection to the job database.

        Raises:
            NotReady: it is not open yet.
        """
        if self.connection is None:
            raise NotReady("The service is starting.", retry_after_s=1)
        return self.connection

    def drain(self) -> None:
        """Takes no new jobs from now on."""
        self.is_draining = True

    def has_disk(self) -> bool:
        """True when there is room for the files of new jobs."""
        return has_room(self.settings.data_dir, self.settings.min_free_disk_bytes)


async def any_service(request: Request) -> Service:
    """What the routes work with, connected to the job engine or not.

    Async, as FastAPI runs other dependencies on the threads that requests share.
    """
    service: Service = request.app.state.service
    return service


async def connected_service(service: Annotated[Service, Depends(any_service)]) -> Service:
    """What the routes work with.

    Raises:
        NotReady: the job engine is not connected yet.
    """
    service.require_connection()
    return service


AnyService = Annotated[Service, Depends(any_service)]
Connected = Annotated[Service, Depends(connected_service)]


def own_job(job_id: str, service: Connected, caller: KnownCaller) -> JobRecord:
    """All that is known of the job of the path.

    Raises:
        JobNotFound: there is no job of this id, or it is another caller's.
    """
    _check_id(job_id)
    record = service.engine.get(job_id)
    if not caller.may_see(record.summary.job.owner):
        raise JobNotFound(f"There is no job {job_id}.")
    return record


def own_summary(job_id: str, service: Connected, caller: KnownCaller) -> JobSummary:
    """What one row says of the job of the path.

    Raises:
        JobNotFound: there is no job of this id, or it is another caller's.
    """
    return find_summary(service, caller, job_id)


def find_summary(service: Service, caller: Caller, job_id: str) -> JobSummary:
    """What one row says of a job.

    Raises:
        JobNotFound: there is no job of this id, or it is another caller's.
    """
    _check_id(job_id)
    known = service.engine.summary(job_id)
    if not caller.may_see(known.job.owner):
        raise JobNotFound(f"There is no job {job_id}.")
    return known


def _check_id(entry_id: str, what: str = "job") -> None:
    """Keeps from the database what can't be an id: Postgres breaks on a NUL, SQLite does not."""
    if not is_job_id(entry_id):
        raise JobNotFound(f"There is no {what} {entry_id}.")


OwnJob = Annotated[JobRecord, Depends(own_job)]
"""The job of the path, if it is the caller's."""
OwnSummary = Annotated[JobSummary, Depends(own_summary)]
"""The job of the path, if it is the caller's, without its progress and deliveries."""

OF_KEY = (KeyWrong, HostUnknown, RateExceeded, NotReady)
OF_JOB = (*OF_KEY, JobNotFound)
OF_FILE = (FileNotReady, FileExpired)
OF_ROOM = (QueueFull, TooManyJobs, DiskFull)
OF_PICTURE = (
    BodyTooSlow,
    CrossOrigin,
    BodyTooLarge,
    BodyTypeUnknown,
    TooManyBodies,
    InvalidField,
    *OF_ROOM,
)
OF_SUBMISSION = (*OF_PICTURE, KeyReused)


def live_worker(service: Service) -> WorkerLease | None:
    """The worker that is furthest, of those that gave a sign of life lately."""
    if not service.is_connected:
        return None
    alive = [
        worker
        for worker in service.engine.workers()
        if worker.is_alive and worker.age_s < LEASES_UNTIL_SILENT * service.settings.lease_s
    ]
    alive.sort(key=lambda worker: worker.state != WorkerState.READY)
    return alive[0] if alive else None


def own_cut_out(cut_out_id: str, service: Connected, caller: KnownCaller) -> CutOutRecord:
    """All that is known of the cut-out of the path.

    Raises:
        JobNotFound: there is no cut-out of this id, or it is another caller's.
    """
    _check_id(cut_out_id, "cut-out")
    record = service.engine.cut_outs.get(cut_out_id)
    if not caller.may_see(record.task.owner):
        raise JobNotFound(f"There is no cut-out {cut_out_id}.")
    return record


OwnCutOut = Annotated[CutOutRecord, Depends(own_cut_out)]
"""The cut-out of the path, if it is the caller's."""


def check_open(service: Service) -> None:
    """Checks that new work can be taken.

    Raises:
        DiskFull: there is no room for its files.
        NotReady: the service is draining, or its folder was removed.
    """
    if service.is_draining:
        raise NotReady("The service is about to stop; its jobs are kept.", retry_after_s=DRAINING_RETRY_S)
    if service.require_connection().data_folder.is_gone():
        raise NotReady(DATA_FOLDER_GONE, retry_after_s=DRAINING_RETRY_S)
    if not service.has_disk():
        raise DiskFull("There is no room for the files of new jobs.", retry_after_s=60)


def check_room(service: Service, owner: str | None) -> None:
    """Checks that one more job of `owner` can be taken.

    Raises:
        QueueFull: as many jobs wait as are allowed to.
        TooManyJobs: as many jobs of this owner are open as are allowed to.
        DiskFull: there is no room for its files.
        NotReady: the service is draining.
    """
    check_open(service)
    service.engine.check_room(owner)


def find_cut_out(service: Service, owner: str | None, cut_out_id: str) -> CutOut:
    """The cut-out that a job of `owner` begins with.

    Raises:
        InvalidField: there is none of this id, it is another owner's, or its file is no longer kept.
    """
    try:
        record = own_cut_out(cut_out_id, service, Caller(owner))
    except JobNotFound as error:
        raise InvalidField("cut_out_id", error.detail, code="cut_out_unknown") from error
    if record.outcome is None or record.outcome.cut_out is None:
        raise InvalidField("cut_out_id", "this cut-out was not made", code="cut_out_unknown")
    if not service.store.has(record.outcome.cut_out.artifact):
        raise InvalidField("cut_out_id", "its file is no longer kept", code="cut_out_expired")
    return record.outcome.cut_out
