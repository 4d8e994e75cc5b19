"""`/v1/meshes` as SGLang serves it: create by JSON or a form, list, one, its content, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ai_engine.api.file_routes import mesh_answer
from ai_engine.api.response_schemas import JobView, view_of
from ai_engine.compatible.asked import Asked, Body, answering, as_picture_url
from ai_engine.errors import InvalidField
from ai_engine.job import JobStatus
from ai_engine.job_queue.job_index import JobFilter, Place
from ai_engine.job_queue.records import JobSummary

PATH = "/v1/meshes"
SESSION = "v1-meshes"
"""`session_id` of the jobs that come this way; the list has these."""
MAX_LISTED = 100
S_PER_HOUR = 3600
TAKEN = ("seed", "num_inference_steps", "guidance_scale")
"""Fields that mean here what they mean there."""
_STATUS = {
    JobStatus.QUEUED: "queued",
    JobStatus.RUNNING: "in_progress",
    JobStatus.SUCCEEDED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "cancelled",
}


class Mesh(BaseModel):
    """A job as this route shows it; times in seconds since 1970."""

    id: str
    object: str = "mesh"
    model: str
    status: str
    progress: int
    created_at: int
    format: str
    url: str | None = None
    completed_at: int | None
    expires_at: int | None
    error: dict[str, Any] | None
    file_path: str | None = None
    file_size_bytes: int | None
    peak_memory_mb: float | None = None
    inference_time_s: float | None


async def create(asked: Asked) -> Response:
    """Queues a job."""
    async with asked.body() as body:
        fields, picture = await run_in_threadpool(_fields, asked, body)
        job = await asked.submit(fields, picture)
    return await run_in_threadpool(_show, asked, job.job_id)


async def get_list(asked: Asked) -> Response:
    """The jobs that came this way, newest first."""
    return await run_in_threadpool(_list, asked)


async def get_one(asked: Asked) -> Response:
    """How far a job is."""
    known = await asked.summary()
    return await run_in_threadpool(_show, asked, known.job.job_id)


async def get_content(asked: Asked) -> Response:
    """The mesh file."""
    return await run_in_threadpool(mesh_answer, asked.request, asked.service, await asked.summary())


async def delete(asked: Asked) -> Response:
    """Stops a job that waits or runs; one that is over stays as it is."""
    known = await asked.summary()
    await run_in_threadpool(asked.service.engine.cancel, known)
    return await run_in_threadpool(_show, asked, known.job.job_id)


def routes() -> list[Route]:
    """The routes of this module."""
    one = PATH + "/{job_id}"
    return [
        Route(PATH, answering(create, _refuse), methods=["POST"]),
        Route(PATH, answering(get_list, _refuse), methods=["GET"]),
        Route(one, answering(get_one, _refuse), methods=["GET"]),
        Route(one, answering(delete, _refuse), methods=["DELETE"]),
        Route(one + "/content", answering(get_content, _refuse), methods=["GET"]),
    ]


def _fields(asked: Asked, body: Body) -> tuple[dict[str, Any], UploadFile | None]:
    """The fields of `JobRequest` that a request asks for, and the picture if it came as a file."""
    said = body.fields
    fields: dict[str, Any] = {name: said[name] for name in TAKEN if said.get(name) is not None}
    fields |= {"session_id": SESSION, "asset_id": "mesh", "format": said.get("output_format") or "glb"}
    model = said.get("model")
    if model is not None and model in {one.name for one in asked.service.engine.served_models()}:
        fields["model"] = model
    pictures = [part for name, part in body.files if name in ("image", "image[]")]
    if len(pictures) > 1:
        raise InvalidField("image", "a mesh is made of one picture here", code="two_pictures")
    if not pictures:
        fields["image_url"] = as_picture_url(said.get("input_image") or said.get("url"), "input_image")
    return fields, next(iter(pictures), None)


def _show(asked: Asked, job_id: str) -> Response:
    return JSONResponse(_mesh(asked, asked.service.engine.summary(job_id)).model_dump())


def _list(asked: Asked) -> Response:
    query = asked.request.query_params
    if query.get("order", "desc") != "desc":
        raise InvalidField("order", "desc alone: newest first")
    limit = query.get("limit", "20")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:4]) <= MAX_LISTED:
        raise InvalidField("limit", f"1 to {MAX_LISTED}")
    wanted = JobFilter(session_id=SESSION, owner=asked.caller.sees)
    page = asked.service.engine.jobs(wanted, int(limit), _cursor(asked, query.get("after")))
    meshes = [_mesh(asked, known).model_dump() for known in page.jobs]
    return JSONResponse({"object": "list", "data": meshes, "has_more": page.next_cursor is not None})


def _cursor(asked: Asked, after: str | None) -> str | None:
    """Where the page after this job begins."""
    if after is None:
        return None
    known = asked.find_known(after)
    return Place(known.job.accepted_at_s, known.job.job_id).to_cursor()


def _mesh(asked: Asked, known: JobSummary) -> Mesh:
    view = view_of(asked.service.engine.get(known.job.job_id))
    kept_s = asked.service.settings.retention_hours * S_PER_HOUR
    ended_at = known.ended_at_s
    return Mesh(
        id=view.job_id,
        model=view.model.get("id") or known.job.model or "",
        status=_STATUS[view.status],
        progress=100 if view.status == JobStatus.SUCCEEDED else int(100 * view.progress),
        created_at=int(known.job.accepted_at_s),
        format=known.job.format,
        completed_at=int(ended_at) if ended_at else None,
        expires_at=int(ended_at + kept_s) if ended_at and view.artifact else None,
        error=_error(view),
        file_size_bytes=view.artifact.size if view.artifact else None,
        inference_time_s=round(sum(view.timings_s.values()), 3) if ended_at else None,
    )


def _error(view: JobView) -> dict[str, Any] | None:
    return {"code": view.error.code, "message": view.error.detail} if view.error else None


def _refuse(problem: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> Response:
    """A problem in the form of SGLang's errors; a mesh that is not there yet is 404 there."""
    status = 404 if problem["code"] == "not_ready" else status
    return JSONResponse({"detail": problem["detail"], "code": problem["code"]}, status, dict(headers))
