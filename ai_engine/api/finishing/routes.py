"""The routes of jobs that begin with a mesh: variants of a job, and meshes of callers' own. None waits for a device."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Annotated

from fastapi import Header, Request, Response
from starlette.concurrency import run_in_threadpool

from ai_engine.api.dependencies import (
    OF_FILE,
    OF_JOB,
    OF_KEY,
    OF_ROOM,
    OF_SUBMISSION,
    Connected,
    OwnSummary,
    Service,
    check_room,
)
from ai_engine.api.finishing.admission import FinishAdmission
from ai_engine.api.job_routes import KNOWN, accept
from ai_engine.api.openapi import MESH_EXAMPLES, submission_body
from ai_engine.api.request_body import RequestHeaders, Submission, read_submission
from ai_engine.api.request_schema import MeshCheckRequest, VariantRequest
from ai_engine.api.response_schemas import Accepted
from ai_engine.errors import BodyTooLarge, BodyTooSlow, BodyTypeUnknown, FileNotReady, InvalidField, KeyReused
from ai_engine.job import DecodedShape, Job, JobOptions
from ai_engine.job_queue.records import JobSummary, Submitted
from ai_engine.logs import event
from ai_engine.stage import Stage
from ai_engine.web.auth import KnownCaller, keyed_router
from ai_engine.web.bodies import SmallBodyRoute
from ai_engine.web.problems import problems

logger = logging.getLogger(__name__)
router = keyed_router()
variant_router = keyed_router(SmallBodyRoute)


@router.post(
    "/mesh-checks",
    status_code=202,
    openapi_extra=submission_body(MeshCheckRequest, MESH_EXAMPLES),
    responses=KNOWN | problems(*OF_KEY, *OF_SUBMISSION),
)
async def check_mesh(
    request: Request,
    response: Response,
    service: Connected,
    caller: KnownCaller,
    idempotency_key: Annotated[str | None, Header()] = None,
    traceparent: Annotated[str | None, Header()] = None,
) -> Accepted:
    """Queues a job that begins with a mesh of the caller's own: the report on it as it came (`check`), and the mesh
    repaired, finished by the print fields and written in any format, as `ai-engine finish` does it. It waits for no
    device. Webhook, upload, events, retry, variants and retention are those of any job.
    """
    headers = RequestHeaders(caller.owner, idempotency_key, traceparent)
    async with read_submission(request, headers, caller, service.settings, MeshCheckRequest) as submission:
        job, submitted = await run_in_threadpool(_submit, service, submission)
    event(logger, "mesh accepted" if submitted.is_new else "mesh known", job_id=job.job_id)
    return accept(response, job, submitted)


def _submit(service: Service, submission: Submission[MeshCheckRequest]) -> tuple[Job, Submitted]:
    admission, headers = FinishAdmission(service.admission), submission.headers
    draft = admission.draft_mesh_check(submission)
    if headers.idempotency_key is not None and service.engine.has(draft.job_id):
        return draft, service.engine.find_submitted(draft)
    check_room(service, headers.owner)
    job = admission.admit_mesh_check(draft, submission)
    return job, service.engine.submit(job)


@variant_router.post(
    "/jobs/{job_id}/variants",
    status_code=202,
    responses=KNOWN
    | problems(
        *OF_JOB, *OF_FILE, *OF_ROOM, BodyTooLarge, BodyTooSlow, BodyTypeUnknown, InvalidField, KeyReused
    ),
)
def post_variant(
    known: OwnSummary,
    wishes: VariantRequest,
    response: Response,
    service: Connected,
    caller: KnownCaller,
    idempotency_key: Annotated[str | None, Header()] = None,
    traceparent: Annotated[str | None, Header()] = None,
) -> Accepted:
    """Finishes the job's mesh once more, as a new job that names the first in `variant_of`: it begins at the mesh that
    was decoded, and waits for no device. The files are those that the first job would have had with these fields.
    """
    admission = FinishAdmission(service.admission)
    request, headers = wishes.of(known.job), RequestHeaders(caller.owner, idempotency_key, traceparent)
    job = admission.draft_variant(known.job, request, headers)
    if idempotency_key is not None and service.engine.has(job.job_id):
        return accept(response, job, service.engine.find_submitted(job))
    check_room(service, headers.owner)
    shape, options = _find_decoded(service, known)
    job = admission.admit_variant(job, request, shape, options)
    submitted = service.engine.submit(job)
    event(logger, "variant accepted", job_id=job.job_id, variant_of=job.variant_of)
    return accept(response, job, submitted)


def _find_decoded(service: Service, known: JobSummary) -> tuple[DecodedShape, JobOptions]:
    """The mesh that was decoded for a job that is over, and the options that it was made with.

    Raises:
        FileNotReady: the job is not over, or ended before it had a mesh.
    """
    job, result = known.job, known.result
    if job.decoded is not None and result is not None:
        return replace(job.decoded, job_id=job.job_id), job.options
    stages = service.engine.stages(job.job_id) if result is not None else {}
    if job.kind == "mesh_check" and Stage.DOWNLOAD in stages:
        read = stages[Stage.DOWNLOAD]
        return DecodedShape(job.job_id, read.artifact, None, {}, mm_per_unit=read.mm_per_unit), job.options
    if result is None or Stage.DENOISE not in stages:
        raise FileNotReady(f"The job is {known.status.value}, and has no mesh to begin with.")
    mesh, cutout = stages[Stage.DENOISE], stages[Stage.CUTOUT]
    shape = DecodedShape(
        *(job.job_id, mesh.artifact, cutout.artifact, result.model),
        mesh.decode,
        mesh.degraded,
        cutout.cutout,
        dict(cutout.cutouts),
    )
    return shape, (result.options and result.options.model) or job.options
