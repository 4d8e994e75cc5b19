"""The routes of cut-outs that come before any job: a worker makes one while its caller waits."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from ai_engine.api.dependencies import (
    OF_FILE,
    OF_JOB,
    OF_KEY,
    OF_PICTURE,
    Connected,
    OwnCutOut,
    Service,
    check_open,
    live_worker,
)
from ai_engine.api.file_routes import file_answer
from ai_engine.api.openapi import CUT_OUT_EXAMPLES, file_answers, submission_body
from ai_engine.api.request_body import RequestHeaders, read_submission
from ai_engine.api.request_schema import CutOutRequest
from ai_engine.errors import (
    FileNotReady,
    GenerationTimeout,
    InternalError,
    InvalidField,
    MaskUnusable,
    NotReady,
    RequestRefused,
)
from ai_engine.facts import CutOutFacts
from ai_engine.job import CutOut, PictureSource, rfc3339
from ai_engine.job_queue.on_demand import KEPT_S, CutOutOutcome, CutOutRecord, CutOutTask
from ai_engine.job_queue.worker_leases import WorkerState
from ai_engine.stage_result import JobFailure
from ai_engine.web.auth import KnownCaller, keyed_router
from ai_engine.web.problems import problems

LOOK_S = 0.1
"""Between two looks whether the cut-out is there."""
NO_WORKER_RETRY_S = 10
PNG = "image/png"

router = keyed_router()


class CutOutView(BaseModel):
    """A cut-out that was made before any job."""

    cut_out_id: str = Field(description="`POST /generate-3d` takes it in place of a picture.")
    url: str = Field(description="Where its picture is, a PNG.")
    size: int = Field(description="Of the PNG, in bytes.")
    sha256: str
    expires_at: str = Field(description="How long it is kept. A job that begins with it has its own copy.")
    cutout: CutOutFacts


_MADE: dict[int | str, dict[str, Any]] = {
    201: {
        "model": CutOutView,
        "description": "The cut-out and its facts; with `Accept: image/png` the picture, its facts in X-Cut-Out.",
        "content": {PNG: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_PNG = file_answers(PNG)


@router.post(
    "/cut-outs",
    status_code=201,
    response_model=CutOutView,
    openapi_extra=submission_body(CutOutRequest, CUT_OUT_EXAMPLES),
    responses=_MADE | problems(*OF_KEY, *OF_PICTURE),
)
async def make_cut_out(request: Request, service: Connected, caller: KnownCaller) -> Response:
    """Cuts the object out of a picture at once: before any job, and before any time of the device.

    A worker does it, in the lane that jobs are cut out in. Where it can't be used, the error's `code` in `errors` is
    that of the job which would fail.
    """
    await run_in_threadpool(_check_room, service, caller.owner)
    async with read_submission(
        request, RequestHeaders(caller.owner), caller, service.settings, CutOutRequest
    ) as submission:
        source = await run_in_threadpool(service.admission.admit_cut_out, submission)
    task = _task(source, caller.owner, service)
    await run_in_threadpool(service.engine.cut_outs.submit, task)
    outcome = await _outcome(service, task, request)
    if outcome.failure is not None:
        raise _refusal(outcome.failure, source)
    assert outcome.cut_out is not None
    return _answer(request, service, task, outcome.cut_out)


@router.head("/cut-outs/{cut_out_id}", include_in_schema=False)
@router.get("/cut-outs/{cut_out_id}", responses=problems(*OF_JOB, FileNotReady))
def get_cut_out(cut_out_id: str, record: OwnCutOut, service: Connected) -> CutOutView:
    """A cut-out that was made before, and its facts."""
    return _view(record.task, _cut_out_of(record), service)


@router.head("/cut-outs/{cut_out_id}/cutout.png", include_in_schema=False)
@router.get(
    "/cut-outs/{cut_out_id}/cutout.png",
    response_class=StreamingResponse,
    responses=_PNG | problems(*OF_JOB, *OF_FILE),
)
def get_cut_out_picture(cut_out_id: str, record: OwnCutOut, request: Request, service: Connected) -> Response:
    """The object on transparent ground: what the shape model would see."""
    return file_answer(request, service.store, _cut_out_of(record).artifact, media_type=PNG)


def _check_room(service: Service, owner: str | None) -> None:
    check_open(service)
    worker = live_worker(service)
    if worker is None or worker.state != WorkerState.READY:
        raise NotReady("No worker is ready to cut out pictures.", retry_after_s=NO_WORKER_RETRY_S)
    service.engine.cut_outs.check_room(owner)


def _task(source: PictureSource, owner: str | None, service: Service) -> CutOutTask:
    now = time.time()
    return CutOutTask(source, owner, now, now + service.settings.cut_out_timeout_s)


async def _outcome(service: Service, task: CutOutTask, request: Request) -> CutOutOutcome:
    """How the cut-out went, once a worker has said so.

    Raises:
        NotReady: it was not made in time, or its caller has gone.
    """
    cut_out_id, timeout_s = task.source.entry_id, service.settings.cut_out_timeout_s
    ends_at = time.monotonic() + timeout_s
    while time.monotonic() < ends_at and not await request.is_disconnected():
        record = await run_in_threadpool(service.engine.cut_outs.get, cut_out_id)
        if record.outcome is not None:
            return record.outcome
        await asyncio.sleep(LOOK_S)
    await run_in_threadpool(service.engine.cut_outs.cancel, cut_out_id)
    raise NotReady(f"No worker cut the picture out within {timeout_s:g} s.", retry_after_s=NO_WORKER_RETRY_S)


def _refusal(failure: JobFailure, source: PictureSource) -> RequestRefused:
    """The answer where a job with this picture would fail."""
    if failure.code == GenerationTimeout.code:
        return NotReady(failure.detail, retry_after_s=NO_WORKER_RETRY_S)
    if failure.code == InternalError.code:
        return RequestRefused(failure.detail)
    is_mask = failure.code == MaskUnusable.code or failure.detail.startswith("The mask")
    url, name = (source.mask_url, "mask") if is_mask else (source.image_url, "image")
    return InvalidField(name if url is None else f"{name}_url", failure.detail, code=failure.code)


def _cut_out_of(record: CutOutRecord) -> CutOut:
    if record.outcome is None or record.outcome.cut_out is None:
        raise FileNotReady("The cut-out was not made, or not yet.")
    return record.outcome.cut_out


def _view(task: CutOutTask, cut_out: CutOut, service: Service) -> CutOutView:
    kept_s = min(KEPT_S, service.settings.retention_hours * 3600)
    return _view_of(task.source.entry_id, cut_out, task.accepted_at_s + kept_s)


def _answer(request: Request, service: Service, task: CutOutTask, cut_out: CutOut) -> Response:
    """The cut-out in the form that `Accept` asks for."""
    view = _view(task, cut_out, service)
    headers = {"Location": f"/cut-outs/{view.cut_out_id}"}
    if not request.headers.get("accept", "").startswith(PNG):
        return JSONResponse(view.model_dump(mode="json"), 201, headers=headers)
    headers |= {"X-Cut-Out": view.model_dump_json(), "Content-Length": str(view.size)}
    return StreamingResponse(service.store.read(cut_out.artifact), 201, headers, media_type=PNG)


def _view_of(cut_out_id: str, cut_out: CutOut, expires_at_s: float) -> CutOutView:
    """A cut-out as its caller sees it."""
    return CutOutView(
        cut_out_id=cut_out_id,
        url=f"/cut-outs/{cut_out_id}/cutout.png",
        size=cut_out.artifact.size,
        sha256=cut_out.artifact.sha256,
        expires_at=rfc3339(expires_at_s),
        cutout=cut_out.facts,
    )
