"""The API as one application: its routes, what lies round them, and its connection to the job engine.

Loads no model, and opens its port before the job engine is there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.concurrency import run_in_threadpool

from ai_engine import __version__
from ai_engine.api import cut_out_routes, delivery_routes, file_routes, job_routes
from ai_engine.api import service_routes as state_routes
from ai_engine.api.admission import Admission
from ai_engine.api.dependencies import Connection, Service
from ai_engine.api.finishing import routes as finish_routes
from ai_engine.api.openapi import install_document
from ai_engine.errors import StartupError
from ai_engine.logs import event
from ai_engine.outbound.policies import download_policy, webhook_policy
from ai_engine.settings import Settings
from ai_engine.storage.s3_store import open_store
from ai_engine.web import document_routes, studio_routes
from ai_engine.web.api_keys import check_access
from ai_engine.web.auth import Access
from ai_engine.web.limits import OpenPlaces, RefusalCounts, too_many_streams
from ai_engine.web.middleware import REQUEST_ID, Refusals, RequestMiddleware
from ai_engine.web.problems import answer_fault, answer_overload, install_problem_handlers

CONNECT_RETRY_S = 2.0
REFUSALS_EVERY_S = 10.0
"""Between two writings of what was refused: a refusal itself costs the database nothing."""

logger = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """The API. Its port opens at once; the job engine is connected to meanwhile.

    Raises:
        StartupError: a setting can't be read, or others can reach the
            port and there are no keys.
    """
    keys = check_access(settings)
    service = _service(settings)
    app = FastAPI(
        title="AI Engine",
        version=__version__,
        lifespan=_lifespan(service),
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    install_document(app, settings)
    app.state.service = service
    app.state.access = Access(settings, keys)
    install_problem_handlers(app)
    _wrap(app, settings)
    for router in (
        job_routes.router,
        finish_routes.router,
        cut_out_routes.router,
        delivery_routes.router,
        file_routes.router,
        file_routes.link_router,
        state_routes.router,
    ):
        app.include_router(router)
    if settings.studio:
        app.include_router(studio_routes.router)
        app.include_router(document_routes.router)
    return app


def _service(settings: Settings) -> Service:
    """What the routes work with; its database is opened once the app runs."""
    store = open_store(settings, is_worker=False)
    admission = Admission(
        settings,
        download_policy(settings),
        webhook_policy(settings),
        store,
        matting_models=lambda: service.engine.matting_models(),
        takes_views=lambda model: service.engine.takes_views(model),
        slicer=lambda: service.engine.slicers.common(),
        served_models=lambda: service.engine.served_models(),
    )
    streams = OpenPlaces(settings.max_open_streams_per_key, too_many_streams)
    service = Service(settings, admission, store, streams)
    return service


def _lifespan(service: Service) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Connects to the database in the background, so that the port is open at once, and closes it at the end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _log_openness(service.settings)
        tasks = [
            asyncio.create_task(_connect(service)),
            asyncio.create_task(_count_refusals(service, app.state.access.refusals)),
        ]
        yield
        for task in tasks:
            task.cancel()
        if service.connection is not None:
            service.connection.close()

    return lifespan


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
        RequestMiddleware,
        refusals=Refusals(answer_fault, answer_overload),
        body_timeout_s=settings.request_timeout_s,
        max_open_requests=settings.max_open_requests,
        has_keys=settings.has_keys,
    )


def _log_openness(settings: Settings) -> None:
    if settings.is_published and not settings.has_keys:
        event(logger, "OPEN_ACCESS: whoever reaches the port can use the device", level=logging.WARNING)
    if settings.is_development:
        event(logger, "development profile: callers' URLs may lead to this machine")
    if not settings.webhook_secrets:
        event(logger, "no WEBHOOK_SECRET: deliveries are not signed")


async def _connect(service: Service) -> None:
    while not service.is_connected:
        try:
            service.connection = await run_in_threadpool(Connection.open, service.settings)
        except StartupError as error:
            event(logger, f"{error}; trying again", level=logging.WARNING)
            await asyncio.sleep(CONNECT_RETRY_S)
        except Exception:
            logger.exception("the job database can't be opened, trying again")
            await asyncio.sleep(CONNECT_RETRY_S)


async def _count_refusals(service: Service, refusals: RefusalCounts) -> None:
    while True:
        await asyncio.sleep(REFUSALS_EVERY_S)
        if service.is_connected and (counts := refusals.take()):
            try:
                await run_in_threadpool(service.metrics.add_refusals, counts)
            except Exception:
                logger.exception("refusals could not be counted")
