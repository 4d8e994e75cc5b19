"""The routes of jobs' files: the mesh, by its job or by a link; what the model saw; a picture of the mesh."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from ai_engine.api.dependencies import (
    OF_FILE,
    OF_JOB,
    Connected,
    OwnSummary,
    Service,
    live_worker,
)
from ai_engine.api.openapi import file_answers
from ai_engine.errors import (
    FileExpired,
    FileNotReady,
    InvalidField,
    JobNotFound,
    LinkExpired,
    LinkInvalid,
    NotReady,
)
from ai_engine.facts import MEDIA_TYPES, MeshFormat, ViewName
from ai_engine.job import Artifact, Job
from ai_engine.job_queue.on_demand import PreviewTask
from ai_engine.job_queue.records import JobSummary
from ai_engine.stage import Stage
from ai_engine.storage.store import ArtifactStore
from ai_engine.web.auth import keyed_router, open_router
from ai_engine.web.problems import problem, problems

PREVIEW_WAIT_S = 20.0
"""How long a request for a picture waits until it is drawn."""
LOOK_S = 0.1
"""Between two looks whether it is there."""
NOT_DRAWN_RETRY_S = 5
GCODE_TYPE = "text/x-gcode"

router = keyed_router()
link_router = open_router()
_MESH = file_answers(*sorted(set(MEDIA_TYPES.values())))
_LINKED = file_answers(*sorted({*MEDIA_TYPES.values(), GCODE_TYPE}))
_PNG = file_answers("image/png")


@router.head("/jobs/{job_id}/mesh", include_in_schema=False)
@router.get(
    "/jobs/{job_id}/mesh",
    response_class=StreamingResponse,
    responses=_MESH | problems(*OF_JOB, *OF_FILE, InvalidField),
)
def get_mesh(
    known: OwnSummary,
    request: Request,
    service: Connected,
    format: Annotated[
        MeshFormat | None, Query(description="Of several formats; the first unless given.")
    ] = None,
) -> Response:
    """The mesh file; the ETag is its sha256, parts of it can be asked for with Range."""
    return mesh_answer(request, service, known, format)


@link_router.head("/files/{job_id}/{file_name}", include_in_schema=False)
@link_router.get(
    "/files/{job_id}/{file_name}",
    response_class=StreamingResponse,
    responses=_LINKED | problems(NotReady, LinkInvalid, LinkExpired, *OF_FILE),
)
def get_linked_file(
    job_id: str,
    file_name: str,
    request: Request,
    service: Connected,
    expires: Annotated[str, Query(description="Seconds since 1970 until which the link holds.")] = "",
    signature: Annotated[str, Query(description="What makes it one of ours.")] = "",
) -> Response:
    """The mesh file, or the G-code, by a link that a webhook was sent: its signature is the permission, no key is."""
    service.links.check(job_id, file_name, expires, signature, time.time())
    try:
        known = service.engine.summary(job_id)
    except JobNotFound as error:
        raise FileExpired("The file is no longer kept.") from error
    if file_name == known.job.file_name_in("gcode"):
        return gcode_answer(request, service, known)
    named = [one for one in known.job.formats if known.job.file_name_in(one) == file_name]
    return mesh_answer(request, service, known, *named)


def mesh_answer(
    request: Request, service: Service, known: JobSummary, wished: MeshFormat | None = None
) -> Response:
    """The mesh file of a job in the format that is wished, or in the first.

    Raises:
        FileNotReady: the job has no mesh.
        InvalidField: it has none in this format.
        FileExpired: the file is no longer kept.
    """
    job, result = known.job, known.result
    if result is None or result.artifact is None:
        raise FileNotReady(f"The job is {known.status.value}.")
    mesh_format = wished or job.format
    artifact = result.file(mesh_format)
    if artifact is None:
        has = ", ".join(job.formats)
        raise InvalidField("format", f"the job has {has}: a variant has others", code="format_missing")
    return file_answer(
        request,
        service.store,
        artifact,
        media_type=MEDIA_TYPES[mesh_format],
        filename=job.file_name_in(mesh_format),
    )


@router.head("/jobs/{job_id}/gcode", include_in_schema=False)
@router.get(
    "/jobs/{job_id}/gcode",
    response_class=StreamingResponse,
    responses=file_answers(GCODE_TYPE) | problems(*OF_JOB, *OF_FILE),
)
def get_gcode(known: OwnSummary, request: Request, service: Connected) -> Response:
    """The G-code of a job that asked for `slice`; `print.slicing` has its sha256, grams and hours."""
    return gcode_answer(request, service, known)


def gcode_answer(request: Request, service: Service, known: JobSummary) -> Response:
    """The G-code of a job.

    Raises:
        FileNotReady: the job has none.
        FileExpired: the file is no longer kept.
    """
    gcode = known.result.gcode if known.result else None
    if gcode is None:
        raise FileNotReady(f"The job is {known.status.value}, and has no G-code: `slice` asks for it.")
    name = known.job.file_name_in("gcode")
    return file_answer(request, service.store, gcode, media_type=GCODE_TYPE, filename=name)


@router.head("/jobs/{job_id}/cutout.png", include_in_schema=False)
@router.get(
    "/jobs/{job_id}/cutout.png",
    response_class=StreamingResponse,
    responses=_PNG | problems(*OF_JOB, *OF_FILE),
)
def get_cutout(
    known: OwnSummary,
    request: Request,
    service: Connected,
    view: Annotated[ViewName | None, Query(description="Of several views; the first unless given.")] = None,
) -> Response:
    """The object on transparent ground: what the model saw. There as soon as it is made, while the job runs."""
    cutout = _cutout(known.job, service, view)
    if cutout is None:
        raise FileNotReady(f"The job is {known.status.value}, and has no cut-out.")
    return file_answer(request, service.store, cutout, media_type="image/png")


def _cutout(job: Job, service: Service, view: ViewName | None) -> Artifact | None:
    """The job's cut-out, or that of a view of it; a variant has its first alone."""
    if job.decoded is not None:
        return job.decoded.outline if view is None else None
    made = service.engine.stages(job.job_id).get(Stage.CUTOUT)
    return made.file(view) if made else None


@router.head("/jobs/{job_id}/preview.png", include_in_schema=False)
@router.get(
    "/jobs/{job_id}/preview.png",
    response_class=StreamingResponse,
    responses=_PNG | problems(*OF_JOB, *OF_FILE),
)
async def get_preview(known: OwnSummary, request: Request, service: Connected) -> Response:
    """A shaded picture of the mesh, from the front and from behind; a worker draws it when it is first asked for."""
    picture = await _preview(known, request, service)
    return await run_in_threadpool(file_answer, request, service.store, picture, media_type="image/png")


async def _preview(known: JobSummary, request: Request, service: Service) -> Artifact:
    """The picture of the job's mesh, once it is drawn.

    Raises:
        FileNotReady: the job has no mesh.
        FileExpired: the mesh is no longer kept.
        NotReady: no worker has drawn it in time; it is drawn for a later request.
    """
    job, result = known.job, known.result
    if result is None or (result.preview or result.drawable) is None:
        raise FileNotReady(f"The job is {known.status.value}.")
    if result.preview is not None:
        return result.preview
    assert result.drawable is not None
    is_mm = job.print_options.is_mm if result.mesh is None else result.mesh.units == "mm"
    task = PreviewTask(job.job_id, result.drawable, is_mm)
    ends_at = time.monotonic() + PREVIEW_WAIT_S
    while time.monotonic() < ends_at and not await request.is_disconnected():
        picture = await run_in_threadpool(service.engine.previews.ask, task, job.owner)
        if picture is not None:
            return picture
        if await run_in_threadpool(live_worker, service) is None:
            break
        await asyncio.sleep(LOOK_S)
    raise NotReady("The picture is not drawn yet.", retry_after_s=NOT_DRAWN_RETRY_S)


_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
"""No file is longer, and Python refuses to read numbers of thousands of digits."""


def file_answer(
    request: Request,
    store: ArtifactStore,
    artifact: Artifact,
    *,
    media_type: str,
    filename: str | None = None,
) -> Response:
    """The file, the part of it that `Range` names, or only its headers. The ETag is its sha256.

    Raises:
        FileExpired: it is not kept any more.
        StoreUnavailable: it can't be had now.
    """
    headers = {
        "ETag": f'"{artifact.sha256}"',
        "Cache-Control": "private, max-age=3600, immutable",
        "Accept-Ranges": "bytes",
    }
    if filename is not None:
        headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    if _names(request.headers.get("if-none-match"), headers["ETag"]):
        _must_exist(store, artifact)
        return Response(status_code=304, headers=headers)
    part = _part(request, headers["ETag"], artifact.size)
    if part is not None and not part:
        about = {"Content-Range": f"bytes */{artifact.size}"}
        detail = f"The file has {artifact.size} bytes."
        return problem(
            request, 416, code="range_not_satisfiable", title="No such part", detail=detail, headers=about
        )
    return _part_answer(request, store, artifact, part, headers | {"Content-Type": media_type})


def _part_answer(
    request: Request, store: ArtifactStore, artifact: Artifact, part: range | None, headers: dict[str, str]
) -> Response:
    sent = range(artifact.size) if part is None else part
    headers |= {"Content-Length": str(len(sent))}
    if part is not None:
        headers |= {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{artifact.size}"}
    status = 200 if part is None else 206
    if request.method == "HEAD":
        _must_exist(store, artifact)
        return Response(status_code=status, headers=headers)
    try:
        pieces = store.read(artifact, sent.start, sent.stop)
    except FileNotFoundError as error:
        raise FileExpired("The file is no longer kept.") from error
    return StreamingResponse(pieces, status, headers)


def _must_exist(store: ArtifactStore, artifact: Artifact) -> None:
    if not store.has(artifact):
        raise FileExpired("The file is no longer kept.")


def _part(request: Request, etag: str, size: int) -> range | None:
    """The bytes asked for; empty when the file has none of them, None when it is to be sent whole.

    Several parts at once, and units other than bytes, are answered by the whole file, as RFC 9110 allows.
    """
    if "if-range" in request.headers and request.headers["if-range"] != etag:
        return None
    found = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


def _names(header: str | None, etag: str) -> bool:
    """True when an If-None-Match header names this file."""
    listed = {tag.strip().removeprefix("W/") for tag in (header or "").split(",")}
    return etag in listed or "*" in listed
