"""The routes of jobs' files: the mesh, by its job or by a link; what the model saw; a picture of the mesh."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse

from ai_engine.errors import FileExpired, FileNotReady, JobNotFound, LinkExpired, LinkInvalid, NotReady
from ai_engine.file_answer import file_answer
from ai_engine.job import MEDIA_TYPES
from ai_engine.job_queue.records import JobRecord
from ai_engine.openapi import file_answers
from ai_engine.service import OF_FILE, OF_JOB, Connected, OwnJob, Service, keyed_router, open_router
from ai_engine.stage import Stage
from ai_engine.web.problems import problems

router = keyed_router()
link_router = open_router()
_MESH = file_answers(*sorted(set(MEDIA_TYPES.values())))
_PNG = file_answers("image/png")


@router.head("/jobs/{job_id}/mesh", include_in_schema=False)
@router.get(
    "/jobs/{job_id}/mesh", response_class=StreamingResponse, responses=_MESH | problems(*OF_JOB, *OF_FILE)
)
def get_mesh(record: OwnJob, request: Request, service: Connected) -> Response:
    """The mesh file; the ETag is its sha256, parts of it can be asked for with Range."""
    return _mesh_answer(request, service, record)


@link_router.head("/files/{job_id}/{file_name}", include_in_schema=False)
@link_router.get(
    "/files/{job_id}/{file_name}",
    response_class=StreamingResponse,
    responses=_MESH | problems(NotReady, LinkInvalid, LinkExpired, *OF_FILE),
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
    responses=_PNG | problems(*OF_JOB, *OF_FILE),
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
    responses=_PNG | problems(*OF_JOB, *OF_FILE),
)
def get_preview(record: OwnJob, request: Request, service: Connected) -> Response:
    """A shaded picture of the mesh, from the front and from behind."""
    if record.result is None or record.result.preview is None:
        raise FileNotReady(f"The job is {record.status.value}.")
    return file_answer(request, service.store, record.result.preview, media_type="image/png")
