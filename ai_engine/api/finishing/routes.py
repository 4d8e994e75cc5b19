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
    OF_SUBMISSION,
    Connected,
    OwnSummary,
    Service,
    check_room,
)
from ai_engine.api.finishing.admission import Decoded, FinishAdmission
from ai_engine.api.job_routes import KNOWN, accept
from ai_engine.api.openapi import MESH_EXAMPLES, VARIANT_EXAMPLES, submission_body
from ai_engine.api.request_body import RequestHeaders, Submission, read_submission
from ai_engine.api.request_schema import JobRequest, MeshCheckRequest, VariantRequest
from ai_engine.api.response_schemas import Accepted
from ai_engine.errors import FileNotReady
from ai_engine.job import Artifact, DecodedShape, Job, JobOptions
from ai_engine.job_queue.records import JobSummary, Submitted
from ai_engine.logs import event
from ai_engine.stage import Stage
from ai_engine.web.auth import KnownCaller, keyed_router
from ai_engine.web.problems import problems

logger = logging.getLogger(__name__)
router = keyed_router()


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


@router.post(
    "/jobs/{job_id}/variants",
    status_code=202,
    openapi_extra=submission_body(VariantRequest, VARIANT_EXAMPLES),
    responses=KNOWN | problems(*OF_JOB, *OF_FILE, *OF_SUBMISSION),
)
async def post_variant(
    known: OwnSummary,
    request: Request,
    response: Response,
    service: Connected,
    caller: KnownCaller,
    idempotency_key: Annotated[str | None, Header()] = None,
    traceparent: Annotated[str | None, Header()] = None,
) -> Accepted:
    """Finishes the job's mesh once more, as a new job that names the first in `variant_of`: it begins at the mesh that
    was decoded, and waits for no device. The files are those that the first job would have had with these fields.
    """
    headers = RequestHeaders(caller.owner, idempotency_key, traceparent)
    async with read_submission(request, headers, caller, service.settings, VariantRequest) as sent:
        submission = Submission(sent.request.of(known.job), None, headers, pedestal=sent.pedestal)
        job, submitted = await run_in_threadpool(_submit_variant, service, known, submission)
    if submitted.is_new:
        event(logger, "variant accepted", job_id=job.job_id, variant_of=job.variant_of)
    return accept(response, job, submitted)


def _submit_variant(
    service: Service, known: JobSummary, submission: Submission[JobRequest]
) -> tuple[Job, Submitted]:
    admission, headers = FinishAdmission(service.admission), submission.headers
    draft = admission.draft_variant(known.job, submission)
    if headers.idempotency_key is not None and service.engine.has(draft.job_id):
        return draft, service.engine.find_submitted(draft)
    check_room(service, headers.owner)
    decoded = Decoded(*_find_decoded(service, known), _find_pedestal(service, known.job, draft))
    job = admission.admit_variant(draft, submission, decoded)
    return job, service.engine.submit(job)


def _find_pedestal(service: Service, source: Job, variant: Job) -> Artifact | None:
    """The pedestal of `source`, where `variant` names it."""
    own, wished = source.print_options.base, variant.print_options.base
    if own is None or wished is None or wished.mesh_url is None or own.mesh_url != wished.mesh_url:
        return None
    return source.pedestal or service.engine.pedestal(source.job_id)


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
