"""What the routes of the API have in common: what they work with, whose job is meant, how each may refuse.

Knows no route.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute

from ai_engine.api.admission import Admission
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
    TooManyJobs,
)
from ai_engine.job_queue.queue import JobQueue
from ai_engine.job_queue.records import JobRecord, JobSummary
from ai_engine.monitoring.prometheus import Metrics
from ai_engine.settings import Settings
from ai_engine.storage.free_space import has_room
from ai_engine.storage.store import ArtifactStore
from ai_engine.web.auth import Caller, KnownCaller, known_caller
from ai_engine.web.limits import OpenStreams
from ai_engine.webhooks.signed_links import Links


@dataclass
class Service:
    """What the routes work with."""

    settings: Settings
    engine: JobQueue
    admission: Admission
    store: ArtifactStore
    streams: OpenStreams
    links: Links | None = None
    """Known once the database is open."""
    metrics: Metrics | None = None
    """The numbers of the whole service; likewise."""
    is_connected: bool = False
    is_draining: bool = False
    """True while the workers beside this API finish what they have, before all ends."""

    def drain(self) -> None:
        """Takes no new jobs from now on."""
        self.is_draining = True

    def has_disk(self) -> bool:
        """True when there is room for the files of new jobs."""
        return has_room(self.settings.data_dir, self.settings.min_free_disk_bytes)


def any_service(request: Request) -> Service:
    """What the routes work with, connected to the job engine or not."""
    service: Service = request.app.state.service
    return service


def connected_service(service: Annotated[Service, Depends(any_service)]) -> Service:
    """What the routes work with.

    Raises:
        NotReady: the job engine is not connected yet.
    """
    if not service.is_connected:
        raise NotReady("The service is starting.", retry_after_s=1)
    return service


AnyService = Annotated[Service, Depends(any_service)]
Connected = Annotated[Service, Depends(connected_service)]


def own_job(job_id: str, service: Connected, caller: KnownCaller) -> JobRecord:
    """All that is known of the job of the path.

    Raises:
        JobNotFound: there is no job of this id, or it is another caller's.
    """
    record = service.engine.get(job_id)
    if not caller.may_see(record.job.owner):
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
    known = service.engine.summary(job_id)
    if not caller.may_see(known.job.owner):
        raise JobNotFound(f"There is no job {job_id}.")
    return known


OwnJob = Annotated[JobRecord, Depends(own_job)]
"""The job of the path, if it is the caller's."""
OwnSummary = Annotated[JobSummary, Depends(own_summary)]
"""The job of the path, if it is the caller's, without its progress and deliveries."""

OF_KEY = (KeyWrong, HostUnknown, RateExceeded, NotReady)
OF_JOB = (*OF_KEY, JobNotFound)
OF_FILE = (FileNotReady, FileExpired)
OF_ROOM = (QueueFull, TooManyJobs, DiskFull)
OF_SUBMISSION = (
    BodyTooSlow,
    KeyReused,
    CrossOrigin,
    BodyTooLarge,
    BodyTypeUnknown,
    InvalidField,
    *OF_ROOM,
)


def keyed_router(route_class: type[APIRoute] = APIRoute) -> APIRouter:
    """Routes that a key is needed for, where there are keys."""
    return APIRouter(dependencies=[Depends(known_caller)], route_class=route_class)


def open_router() -> APIRouter:
    """Routes that need no key: none shows a job, unless a signed link is the permission."""
    return APIRouter()
