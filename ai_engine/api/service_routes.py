"""Routes of the service itself: health, liveness, readiness, metrics, models, licences. Metrics and operations need a
key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anyio import to_thread
from fastapi import Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from ai_engine.api.dependencies import OF_KEY, AnyService, Connected, Service, live_worker
from ai_engine.api.response_schemas import (
    Alive,
    Health,
    MattingModels,
    ModelWorker,
    Readiness,
    ReadyState,
    ServedModels,
    ServedModelView,
)
from ai_engine.errors import NotReady, OperatorsOnly
from ai_engine.facts import ModelFacts
from ai_engine.job_queue.worker_leases import ServedModel, WorkerLease, WorkerState
from ai_engine.monitoring.operations import Operations, read_operations
from ai_engine.published_weights import (
    PROJECT,
    SLICER_LICENCE,
    UNKNOWN_LICENCE,
    Licence,
    find_licence,
    matting_licence,
)
from ai_engine.settings import MattingModel
from ai_engine.web.auth import KnownOperator, bearer, known_caller, open_router
from ai_engine.web.problems import problems

_NOT_READY: dict[WorkerState, ReadyState] = {
    WorkerState.LOADING: "loading",
    WorkerState.FAILED: "failed",
    WorkerState.DRAINING: "draining",
}

router = open_router()


class LicenceFacts(BaseModel):
    """What one may do with a thing."""

    name: str
    licence: str
    url: str
    conditions: list[str]


class Licences(BaseModel):
    """Of what is in use; those of the models hold for the meshes too."""

    code: LicenceFacts
    shape_model: LicenceFacts | None = Field(description="None while no worker has said which one it has.")
    shape_models: list[LicenceFacts] = Field(description="Of every model that is served.")
    matting_model: LicenceFacts | None = Field(description="None where backgrounds are not removed.")
    slicer: LicenceFacts | None = Field(description="None where nothing is sliced.")


@router.head("/health", include_in_schema=False)
@router.get("/health", responses=problems(NotReady))
async def health(service: AnyService) -> Health:
    """As callers poll it: answers as soon as the port is open."""
    worker = await to_thread.run_sync(live_worker, service, limiter=service.probe_threads)
    is_known = worker is not None and worker.model_id is not None
    return Health(
        gpu=worker.has_gpu if worker and is_known else False, model=worker.model_id if worker else None
    )


@router.head("/livez", include_in_schema=False)
@router.get("/livez", responses=problems(NotReady))
async def livez() -> Alive:
    """Alive: answered by the event loop itself, however many requests are open."""
    return Alive()


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    response_model=Readiness,
    responses=problems() | {503: {"model": Readiness, "description": "Not ready, and why."}},
)
async def readyz(service: AnyService) -> JSONResponse:
    """Ready, or 503 and why not: starting, loading (with `progress`), warming up, busy, draining, failed."""
    readiness = await to_thread.run_sync(_readiness, service, limiter=service.probe_threads)
    return JSONResponse(readiness.model_dump(exclude_none=True), 200 if readiness.status == "ready" else 503)


@router.head("/metrics", include_in_schema=False)
@router.get("/metrics", response_class=PlainTextResponse, responses=problems(*OF_KEY))
async def get_metrics(request: Request, service: Connected) -> Response:
    """The numbers of the whole service, workers on other machines included, for Prometheus. Needs a key, unless
    METRICS_OPEN is set.
    """
    if not service.settings.metrics_open:
        await known_caller(request, await bearer(request))
    await run_in_threadpool(service.metrics.add_refusals, request.app.state.access.refusals.take())
    text, media_type = await run_in_threadpool(service.metrics.exposition, request.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": media_type})


@router.head("/operations", include_in_schema=False)
@router.get("/operations", responses=problems(*OF_KEY, OperatorsOnly))
def operations(service: Connected, caller: KnownOperator) -> Operations:
    """The whole service at this moment, for operators: queues by model, workers and their jobs, failures, disk."""
    connected = service.require_connection()
    return read_operations(connected.engine, connected.database, service.settings)


@router.head("/licences", include_in_schema=False)
@router.get("/licences", responses=problems(NotReady))
def licences(service: AnyService) -> Licences:
    """The licences of the code, of the models in use, which hold for the meshes too, and of the slicer."""
    served = service.engine.served_models() if service.is_connected else ()
    offer = service.engine.slicers.common() if service.is_connected else None
    found = licences_in_use(live_worker(service), served, service.settings.matting_model)
    slicer = _licence_facts("PrusaSlicer", SLICER_LICENCE) if offer and offer.is_there else None
    return found.model_copy(update={"slicer": slicer})


@router.head("/models", include_in_schema=False)
@router.get("/models", responses=problems(NotReady))
def models(service: Connected) -> ServedModels:
    """The shape models that are served, with their cards: the field `model` of a request takes their names."""
    served = service.engine.served_models()
    names = list(dict.fromkeys(one.name for one in served))
    own = [place.name for place in service.settings.served_models]
    default = next((name for name in own if name in names), names[0] if names else None)
    return ServedModels(default=default, models=[_served_model(name, served) for name in names])


def _served_model(name: str, served: Sequence[ServedModel]) -> ServedModelView:
    own = [one for one in served if one.name == name]
    workers = [ModelWorker(device=one.device, state=one.state) for one in own if one.is_alive]
    return ServedModelView(
        name=name, card=next((one.facts for one in own if one.facts), None), workers=workers
    )


@router.head("/matting-models", include_in_schema=False)
@router.get("/matting-models", responses=problems(NotReady))
def matting_models(service: Connected) -> MattingModels:
    """The models that may find the object in a picture: the field `matting_model` of a request takes their names."""
    default = service.settings.matting_model
    return MattingModels(
        default=None if default == "none" else default, installed=list(service.engine.matting_models() or ())
    )


def _readiness(service: Service) -> Readiness:
    if not service.is_connected:
        return Readiness(status="starting")
    if service.is_draining:
        return Readiness(status="draining")
    if service.require_connection().data_folder.is_gone():
        return Readiness(status="failed")
    worker = live_worker(service)
    if worker is None:
        lately = service.engine.workers()
        return Readiness(status="failed" if lately and lately[0].state == WorkerState.FAILED else "starting")
    return _readiness_of(worker, has_room=lambda: service.has_disk() and not service.engine.is_full())


def _readiness_of(worker: WorkerLease, *, has_room: Callable[[], bool]) -> Readiness:
    if worker.state == WorkerState.READY:
        return Readiness(status="ready" if has_room() else "busy")
    if worker.state != WorkerState.LOADING or not worker.loaded:
        return Readiness(status=_NOT_READY[worker.state])
    if worker.loaded >= 1:
        return Readiness(status="warming up")
    return Readiness(status="loading", progress=round(worker.loaded, 3))


def licences_in_use(
    worker: WorkerLease | None, served: Sequence[ServedModel], matting_model: MattingModel
) -> Licences:
    """What may be done with the code, and with the meshes that the models in use make.

    `shape_model` is None while no worker has said which one it has, `matting_model` where there is none.
    """
    is_known = worker is not None and worker.model_id is not None
    matting = (
        None if matting_model == "none" else _licence_facts(matting_model, matting_licence(matting_model))
    )
    shape = _shape_model(worker) if worker and is_known else None
    cards = {one.facts.model_id: one.facts for one in served if one.facts}
    return Licences(
        code=_licence_facts("AI Engine", PROJECT),
        shape_model=shape,
        shape_models=[_card_licence(card) for card in cards.values()],
        matting_model=matting,
        slicer=None,
    )


def _card_licence(card: ModelFacts) -> LicenceFacts:
    known = _licence_facts(card.model_id, find_licence(card.licences[0].name))
    return known.model_copy(update={"licence": card.licences[0].name, "url": card.licences[0].url})


def _shape_model(worker: WorkerLease) -> LicenceFacts:
    return _licence_facts(worker.model_id or "", find_licence(worker.licence or UNKNOWN_LICENCE.name))


def _licence_facts(name: str, licence: Licence) -> LicenceFacts:
    return LicenceFacts(name=name, licence=licence.name, url=licence.url, conditions=list(licence.conditions))
