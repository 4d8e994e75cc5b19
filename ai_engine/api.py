"""The HTTP routes: validate at the door, ask the job engine, answer. Knows no stage and loads no model."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from ai_engine import __version__
from ai_engine.access import Access, KnownCaller, bearer, known_caller
from ai_engine.artifacts import ArtifactStore
from ai_engine.bucket import open_store
from ai_engine.door import Door, Sender
from ai_engine.envelope import REQUEST_ID, Envelope, Refusals
from ai_engine.errors import (
    BodyTooLarge,
    BodyTooSlow,
    BodyTypeUnknown,
    CrossOrigin,
    DeliveryUnderWay,
    DiskFull,
    FileExpired,
    FileNotReady,
    InvalidField,
    JobNotFound,
    JobSucceeded,
    KeyReused,
    KeyWrong,
    LinkExpired,
    LinkInvalid,
    NotReady,
    NoWebhook,
    QueueFull,
    RateExceeded,
    StartupError,
    TooManyJobs,
)
from ai_engine.file_answer import file_answer
from ai_engine.job import MEDIA_TYPES, CallerId, JobStatus, Stage
from ai_engine.job_engine import JobEngine, check_database
from ai_engine.job_index import JobFilter
from ai_engine.job_record import JobRecord
from ai_engine.job_view import Accepted, JobList, JobView, accepted, list_of, view_of
from ai_engine.keys import check_access
from ai_engine.lease import WorkerLease, WorkerState
from ai_engine.licences import licences_in_use
from ai_engine.metrics import Metrics
from ai_engine.openapi import event_stream, file_answers, install_document, submission_body
from ai_engine.policies import download_policy, webhook_policy
from ai_engine.problem import broken, crowded, install_problem_handlers, problems
from ai_engine.room import has_room
from ai_engine.service_view import Alive, Health, Licences, Readiness
from ai_engine.settings import Settings
from ai_engine.signed_link import Links, open_links
from ai_engine.submission import Submission, read_submission
from ai_engine.telemetry import event

EVENTS_PAUSE_S = 15.0
"""After this long without an event a comment keeps the connection open."""
CONNECT_RETRY_S = 2.0
MAX_LISTED = 200
DISK_FULL_RETRY_S = 60
LEASES_UNTIL_SILENT = 2.0
"""A worker that was not declared dead counts as alive for this many leases after its last sign of life."""

logger = logging.getLogger(__name__)
router = APIRouter(dependencies=[Depends(known_caller)])
"""What a key is needed for, where there are keys: everything but what `open_router` has."""
open_router = APIRouter()
"""What anybody may ask: no route of it tells of a job, unless the link itself is the permission."""


@dataclass
class Service:
    """What the routes work with."""

    settings: Settings
    engine: JobEngine
    door: Door
    store: ArtifactStore
    links: Links | None = None
    """Known once the database is open."""
    is_connected: bool = False

    @cached_property
    def metrics(self) -> Metrics:
        """The numbers of the whole service; the job engine is connected."""
        return Metrics(self.settings.jobs_database_url)


def create_app(settings: Settings) -> FastAPI:
    """The API. Its port opens at once; the job engine is connected to meanwhile.

    Raises:
        StartupError: a setting can't be read, the database can't be used with this Python, or others can reach the
            port and there are no keys.
    """
    keys = check_access(settings)
    check_database(settings)
    store = open_store(settings, is_worker=False)
    door = Door(settings, download_policy(settings), webhook_policy(settings), store)
    service = Service(settings, JobEngine(settings), door, store)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        _tell_how_open(settings)
        connecting = asyncio.create_task(_connect(service))
        yield
        connecting.cancel()
        if service.is_connected:
            service.engine.close()
            service.metrics.close()

    app = FastAPI(
        title="AI Engine",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    install_document(app)
    app.state.service = service
    app.state.access = Access(settings, keys)
    install_problem_handlers(app)
    _wrap(app, settings)
    app.include_router(open_router)
    app.include_router(router)
    return app


def _wrap(app: FastAPI, settings: Settings) -> None:
    origins = settings.cors_origins.replace(",", " ").split()
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Idempotency-Key", "Last-Event-ID", REQUEST_ID],
            expose_headers=["Location", "ETag", "Retry-After", "Content-Disposition", REQUEST_ID],
        )
    app.add_middleware(
        Envelope,
        refusals=Refusals(broken, crowded),
        body_timeout_s=settings.request_timeout_s,
        max_open_requests=settings.max_open_requests,
    )


def _tell_how_open(settings: Settings) -> None:
    if settings.is_published and not settings.has_keys:
        event(logger, "OPEN_ACCESS: whoever reaches the port can use the device", level=logging.WARNING)
    if settings.is_development:
        event(logger, "development profile: callers' URLs may lead to this machine")
    if not settings.webhook_secrets:
        event(logger, "no WEBHOOK_SECRET: deliveries are not signed")


async def _connect(service: Service) -> None:
    while not service.is_connected:
        try:
            await run_in_threadpool(service.engine.connect)
            service.links = await run_in_threadpool(open_links, service.settings)
            service.is_connected = True
        except StartupError as error:
            event(logger, f"{error}; trying again", level=logging.WARNING)
            await asyncio.sleep(CONNECT_RETRY_S)
        except Exception:
            logger.exception("the job database can't be opened, trying again")
            await asyncio.sleep(CONNECT_RETRY_S)


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
    """The job of the path.

    Raises:
        JobNotFound: there is no job of this id, or it is another caller's.
    """
    record = service.engine.get(job_id)
    if not caller.may_see(record.job.owner):
        raise JobNotFound(f"There is no job {job_id}.")
    return record


OwnJob = Annotated[JobRecord, Depends(own_job)]
_KEYED = (KeyWrong, RateExceeded, NotReady)
_OF_JOB = (*_KEYED, JobNotFound)
_OF_FILE = (FileNotReady, FileExpired)
_OF_ROOM = (QueueFull, TooManyJobs, DiskFull)
_OF_SUBMISSION = (
    BodyTooSlow,
    KeyReused,
    CrossOrigin,
    BodyTooLarge,
    BodyTypeUnknown,
    InvalidField,
    *_OF_ROOM,
)
_KNOWN: dict[int | str, dict[str, Any]] = {
    200: {"model": Accepted, "description": "No new job: this one is known, and waits, runs or is over."}
}
_MESH = file_answers(*sorted(set(MEDIA_TYPES.values())))
_PNG = file_answers("image/png")


@router.post(
    "/generate-3d",
    status_code=202,
    openapi_extra=submission_body(),
    responses=_KNOWN | problems(*_KEYED, *_OF_SUBMISSION),
)
async def generate_3d(
    request: Request,
    response: Response,
    service: Connected,
    caller: KnownCaller,
    idempotency_key: Annotated[str | None, Header()] = None,
    traceparent: Annotated[str | None, Header()] = None,
) -> Accepted:
    """Queues a job: a picture's URL in, a mesh at the webhook later."""
    sender = Sender(caller.owner, idempotency_key, traceparent)
    async with read_submission(request, service.settings) as submission:
        answer = await run_in_threadpool(_submit, service, submission, sender)
    response.headers["Location"] = answer.status_url
    if answer.message != "queued":
        response.status_code = 200
    return answer


def _check_room(service: Service, owner: str | None) -> None:
    """Comes back when one more job of `owner` would be taken.

    Raises:
        QueueFull: as many jobs wait as are allowed to.
        TooManyJobs: as many jobs of this owner are open as are allowed to.
        DiskFull: there is no room for its files.
    """
    service.engine.check_room(owner)
    if not _has_disk(service):
        raise DiskFull("There is no room for the files of new jobs.", retry_after_s=DISK_FULL_RETRY_S)


def _submit(service: Service, submission: Submission, sender: Sender) -> Accepted:
    # Who comes with a key may come again, and has a place already.
    if sender.idempotency_key is None:
        _check_room(service, sender.owner)
    job = service.door.admit(submission, sender)
    if sender.idempotency_key is not None and not service.engine.has(job.job_id):
        _check_room(service, sender.owner)
    submitted = service.engine.submit(job)
    event(
        logger,
        "job accepted" if submitted.is_new else "job known",
        job_id=job.job_id,
        session_id=job.session_id,
        asset_id=job.asset_id,
    )
    return accepted(job.job_id, submitted)


@router.get("/jobs/{job_id}", responses=problems(*_OF_JOB))
def get_job(record: OwnJob) -> JobView:
    """How far the job is, and what came out."""
    return view_of(record)


@router.get("/jobs", responses=problems(*_KEYED, InvalidField))
def list_jobs(
    service: Connected,
    caller: KnownCaller,
    session_id: Annotated[CallerId | None, Query(description="Only of this session.")] = None,
    status: Annotated[JobStatus | None, Query(description="Only those that stand so.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED, description="Most jobs on one page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=256, description="`next_cursor` of the page before.")
    ] = None,
) -> JobList:
    """The jobs that are known, newest first."""
    wanted = JobFilter(session_id=session_id, status=status, owner=caller.owner)
    return list_of(service.engine.jobs(wanted, limit, cursor))


@router.post(
    "/jobs/{job_id}/retry",
    status_code=202,
    responses=_KNOWN | problems(*_OF_JOB, JobSucceeded, FileExpired, *_OF_ROOM),
)
def retry_job(record: OwnJob, response: Response, service: Connected) -> Accepted:
    """Runs the job again, with the same options and seed, as a new job that names the first in `retry_of`.

    For jobs that failed or were cancelled. The id of any attempt may be given: the latest counts, and while that
    waits or runs it is the answer (200).
    """
    latest = service.engine.last_attempt(record.job)
    if latest.status == JobStatus.SUCCEEDED:
        raise JobSucceeded(f"Job {latest.job.job_id} has succeeded.")
    if latest.result is None:
        job, submitted = latest.job, service.engine.known(latest.job)
    else:
        _check_room(service, record.job.owner)
        job = service.door.again(latest.job)
        submitted = service.engine.submit(job)
        event(logger, "job retried", job_id=job.job_id, retry_of=job.retry_of, attempt=job.attempt)
    answer = accepted(job.job_id, submitted)
    response.headers["Location"] = answer.status_url
    response.status_code = 202 if submitted.is_new else 200
    return answer


@router.post(
    "/jobs/{job_id}/redeliver",
    status_code=202,
    responses=problems(*_OF_JOB, *_OF_FILE, NoWebhook, DeliveryUnderWay),
)
def redeliver_job(record: OwnJob, service: Connected) -> JobView:
    """Sends the webhook again, accepted or dead as it may be: the same event under the same `webhook-id`.

    The attempts are counted on, and begin at once; one that was still waiting gives way.
    """
    artifact = record.result.artifact if record.result else None
    if artifact is not None and not service.store.has(artifact):
        raise FileExpired("The file is no longer kept.")
    service.engine.redeliver(record.job)
    event(logger, "redelivery asked for", job_id=record.job.job_id)
    return view_of(service.engine.get(record.job.job_id))


@router.delete("/jobs/{job_id}", status_code=202, responses=problems(*_OF_JOB))
def cancel_job(job_id: str, service: Connected, _: OwnJob) -> JobView:
    """Stops the job, waiting or running. A job that is over stays as it is."""
    service.engine.cancel(job_id)
    return view_of(service.engine.get(job_id))


@router.head("/jobs/{job_id}/mesh", include_in_schema=False)
@router.get(
    "/jobs/{job_id}/mesh", response_class=StreamingResponse, responses=_MESH | problems(*_OF_JOB, *_OF_FILE)
)
def get_mesh(record: OwnJob, request: Request, service: Connected) -> Response:
    """The mesh file; the ETag is its sha256, parts of it can be asked for with Range."""
    return _mesh_answer(request, service, record)


@open_router.head("/files/{job_id}/{file_name}", include_in_schema=False)
@open_router.get(
    "/files/{job_id}/{file_name}",
    response_class=StreamingResponse,
    responses=_MESH | problems(NotReady, LinkInvalid, LinkExpired, *_OF_FILE),
)
def get_linked_file(
    job_id: str,
    file_name: str,
    request: Request,
    service: Connected,
    expires: Annotated[str, Query(description="Seconds since 1970 until which the link holds.")] = "",
    signature: Annotated[str, Query(description="What makes it one of ours.")] = "",
) -> Response:
    """The mesh file by a link that a webhook was sent: no key is needed, the signature is the permission."""
    assert service.links is not None
    service.links.check(job_id, file_name, expires, signature, time.time())
    try:
        record = service.engine.get(job_id)
    except JobNotFound as error:
        raise FileExpired("The file is no longer kept.") from error
    return _mesh_answer(request, service, record)


def _mesh_answer(request: Request, service: Service, record: JobRecord) -> Response:
    if record.result is None or record.result.artifact is None:
        raise FileNotReady(f"The job is {record.status.value}.")
    return file_answer(
        request,
        service.store,
        record.result.artifact,
        media_type=MEDIA_TYPES[record.job.format],
        filename=record.job.file_name,
    )


@router.get(
    "/jobs/{job_id}/cutout.png",
    response_class=StreamingResponse,
    responses=_PNG | problems(*_OF_JOB, *_OF_FILE),
)
def get_cutout(record: OwnJob, request: Request, service: Connected) -> Response:
    """The object on transparent ground: what the model saw. There as soon as it is made, while the job runs."""
    cutout = service.engine.stage_file(record.job.job_id, Stage.CUTOUT)
    if cutout is None:
        raise FileNotReady(f"The job is {record.status.value}, and has no cut-out.")
    return file_answer(request, service.store, cutout, media_type="image/png")


@router.get(
    "/jobs/{job_id}/preview.png",
    response_class=StreamingResponse,
    responses=_PNG | problems(*_OF_JOB, *_OF_FILE),
)
def get_preview(record: OwnJob, request: Request, service: Connected) -> Response:
    """A shaded picture of the mesh, from the front and from behind."""
    if record.result is None or record.result.preview is None:
        raise FileNotReady(f"The job is {record.status.value}.")
    return file_answer(request, service.store, record.result.preview, media_type="image/png")


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses=event_stream() | problems(*_OF_JOB),
)
def get_events(
    job_id: str, service: Connected, _: OwnJob, last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Server-sent events: `progress` with stage, done and total; at the end `done` with the whole job."""
    is_number = last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit()
    offset = int(last_event_id or 0) + 1 if is_number else 0
    return StreamingResponse(
        _events(service, job_id, offset),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache"},
    )


async def _events(service: Service, job_id: str, offset: int) -> AsyncIterator[str]:
    async for told in service.engine.events(job_id, offset, EVENTS_PAUSE_S):
        if told is None:
            yield ": still here\n\n"
            continue
        yield f"id: {offset}\nevent: progress\ndata: {json.dumps(told)}\n\n"
        offset += 1
    record = await run_in_threadpool(service.engine.get, job_id)
    yield f"event: done\ndata: {view_of(record).model_dump_json()}\n\n"


@open_router.get("/health", responses=problems(NotReady))
def health(service: AnyService) -> Health:
    """As callers poll it: answers as soon as the port is open."""
    worker = _live_worker(service)
    is_known = worker is not None and worker.model_id is not None
    return Health(
        gpu=worker.has_gpu if worker and is_known else False, model=worker.model_id if worker else None
    )


@open_router.get("/livez", responses=problems(NotReady))
def livez() -> Alive:
    """Alive."""
    return Alive()


@open_router.get(
    "/readyz",
    response_model=Readiness,
    responses=problems() | {503: {"model": Readiness, "description": "Not ready, and why."}},
)
def readyz(service: AnyService) -> JSONResponse:
    """Ready, or 503 and why not: starting, loading, busy, failed."""
    state = _state(service)
    return JSONResponse(Readiness(status=state).model_dump(), 200 if state == "ready" else 503)


@open_router.get(
    "/metrics", response_class=PlainTextResponse, responses=problems(KeyWrong, RateExceeded, NotReady)
)
async def get_metrics(request: Request, service: Connected) -> Response:
    """The numbers of the whole service, workers on other machines included, for Prometheus. Needs a key, unless
    METRICS_OPEN is set.
    """
    if not service.settings.metrics_open:
        await known_caller(request, await bearer(request))
    told, media_type = await run_in_threadpool(service.metrics.exposition, request.headers.get("accept", ""))
    return Response(told, headers={"Content-Type": media_type})


@open_router.get("/licences", responses=problems(NotReady))
def licences(service: AnyService) -> Licences:
    """The licences of the code, and of the models in use, which hold for the meshes too."""
    return licences_in_use(_live_worker(service), service.settings.matting_model)


def _state(service: Service) -> str:
    if not service.is_connected:
        return "starting"
    worker = _live_worker(service)
    if worker is None:
        lately = service.engine.workers()
        return "failed" if lately and lately[0].state == WorkerState.FAILED else "starting"
    if worker.state != WorkerState.READY:
        return str(worker.state)
    return "ready" if _has_disk(service) and not service.engine.is_full() else "busy"


def _has_disk(service: Service) -> bool:
    return has_room(service.settings.data_dir, service.settings.min_free_disk_bytes)


def _live_worker(service: Service) -> WorkerLease | None:
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
