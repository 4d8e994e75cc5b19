"""The routes of jobs: submit, follow, stop, run again. Thin: admission checks, the job queue works."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from ai_engine.api.dependencies import (
    OF_JOB,
    OF_KEY,
    OF_ROOM,
    OF_SUBMISSION,
    Connected,
    OwnJob,
    OwnSummary,
    Service,
    check_room,
    find_cut_out,
)
from ai_engine.api.openapi import EXAMPLES, event_stream, submission_body
from ai_engine.api.request_body import RequestHeaders, Submission, read_submission
from ai_engine.api.request_schema import JobRequest
from ai_engine.api.response_schemas import Accepted, JobList, JobView, acceptance_of, list_of, view_of
from ai_engine.errors import (
    FileExpired,
    InvalidField,
    JobSucceeded,
    TooManyStreams,
)
from ai_engine.job import CallerId, Job, JobStatus
from ai_engine.job_queue.job_index import JobFilter
from ai_engine.job_queue.records import Submitted
from ai_engine.logs import event
from ai_engine.web.auth import KnownCaller, keyed_router
from ai_engine.web.middleware import at_end_of
from ai_engine.web.problems import problems

EVENTS_PAUSE_S = 15.0
"""After this long without an event a comment keeps the connection open."""
QUEUE_LOOK_S = 2.0
"""Between two looks at the place in the queue of a job that is quiet."""
MAX_LISTED = 200
_EVENT_ID = re.compile(r"[0-9]{1,9}")

logger = logging.getLogger(__name__)
router = keyed_router()
KNOWN: dict[int | str, dict[str, Any]] = {
    200: {"model": Accepted, "description": "No new job: this one is known, and waits, runs or is over."}
}


@router.post(
    "/generate-3d",
    status_code=202,
    openapi_extra=submission_body(JobRequest, EXAMPLES),
    responses=KNOWN | problems(*OF_KEY, *OF_SUBMISSION),
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
    headers = RequestHeaders(caller.owner, idempotency_key, traceparent)
    async with read_submission(request, headers, caller, service.settings, JobRequest) as submission:
        job, submitted = await run_in_threadpool(submit, service, submission)
    return accept(response, job, submitted)


def accept(response: Response, job: Job, submitted: Submitted) -> Accepted:
    """The answer to a submission: 202 for a new job, 200 for a known one."""
    answer = acceptance_of(job.job_id, submitted)
    response.headers["Location"] = answer.status_url
    response.status_code = 202 if submitted.is_new else 200
    return answer


def submit(service: Service, submission: Submission[JobRequest]) -> tuple[Job, Submitted]:
    """Queues the job that is asked for, or finds the one of its key; raises what admission and room raise."""
    job, submitted = _enqueue(service, submission)
    event(
        logger,
        "job accepted" if submitted.is_new else "job known",
        job_id=job.job_id,
        session_id=job.session_id,
        asset_id=job.asset_id,
    )
    return job, submitted


def _enqueue(service: Service, submission: Submission[JobRequest]) -> tuple[Job, Submitted]:
    headers = submission.headers
    if headers.idempotency_key is not None:
        # A repeated request has its place already, and its picture is not kept again.
        draft = service.admission.draft(submission)
        if service.engine.has(draft.job_id):
            return draft, service.engine.find_submitted(draft)
    # Before any name is looked up: a request that is refused for want of room asks no server anything.
    check_room(service, headers.owner)
    job = service.admission.keep_pictures(service.admission.admit(submission), submission)
    if submission.request.cut_out_id is not None:
        cut_out = find_cut_out(service, headers.owner, submission.request.cut_out_id)
        job = service.admission.accept(job, cut_out)
    return job, service.engine.submit(job)


@router.head("/jobs/{job_id}", include_in_schema=False)
@router.get("/jobs/{job_id}", responses=problems(*OF_JOB))
def get_job(record: OwnJob) -> JobView:
    """How far the job is, and what came out."""
    return view_of(record)


@router.head("/jobs", include_in_schema=False)
@router.get("/jobs", responses=problems(*OF_KEY, InvalidField))
def list_jobs(
    service: Connected,
    caller: KnownCaller,
    session_id: Annotated[CallerId | None, Query(description="Only of this session.")] = None,
    status: Annotated[JobStatus | None, Query(description="Only those that stand so.")] = None,
    variant_of: Annotated[
        str | None, Query(pattern="^[0-9a-f]{32}$", description="Only variants of this job.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED, description="Most jobs on one page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=256, description="`next_cursor` of the page before.")
    ] = None,
) -> JobList:
    """The jobs that are known, newest first."""
    wanted = JobFilter(session_id=session_id, status=status, owner=caller.sees, variant_of=variant_of)
    return list_of(service.engine.jobs(wanted, limit, cursor))


@router.post(
    "/jobs/{job_id}/retry",
    status_code=202,
    responses=KNOWN | problems(*OF_JOB, JobSucceeded, FileExpired, InvalidField, *OF_ROOM),
)
def retry_job(known: OwnSummary, response: Response, service: Connected) -> Accepted:
    """Runs the job again, with the same options and seed, as a new job that names the first in `retry_of`.

    For jobs that failed or were cancelled. The id of any attempt may be given: the latest counts, and while that
    waits or runs it is the answer (200).
    """
    latest = service.engine.last_attempt(known.job)
    if latest.status == JobStatus.SUCCEEDED:
        raise JobSucceeded(f"Job {latest.job.job_id} has succeeded.")
    if latest.result is None:
        job, submitted = latest.job, service.engine.find_submitted(latest.job)
    else:
        check_room(service, known.job.owner)
        job = service.admission.retry(latest.job, service.engine.pedestal(latest.job.job_id))
        submitted = service.engine.submit(job)
        event(logger, "job retried", job_id=job.job_id, retry_of=job.retry_of, attempt=job.attempt)
    return accept(response, job, submitted)


@router.delete("/jobs/{job_id}", status_code=202, responses=problems(*OF_JOB))
def cancel_job(known: OwnSummary, service: Connected) -> JobView:
    """Stops the job, waiting or running. A job that is over stays as it is."""
    service.engine.cancel(known)
    return view_of(service.engine.get(known.job.job_id))


@router.head("/jobs/{job_id}/events", include_in_schema=False)
@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses=event_stream() | problems(*OF_JOB, TooManyStreams),
)
def get_events(
    job_id: str,
    request: Request,
    service: Connected,
    caller: KnownCaller,
    _: OwnSummary,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Server-sent events: `queue` with position and eta_s whenever they change while the job waits; `progress` with
    stage, done and total, at most four a second; at the end `done` with the whole job. A replay does not
    repeat `queue`.
    """
    if request.method == "HEAD":
        return Response(media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
    found = _EVENT_ID.fullmatch(last_event_id or "")
    offset = int(found[0]) + 1 if found else 0
    at_end_of(request, service.streams.take(caller.who))
    return StreamingResponse(
        _events(service, job_id, offset),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache"},
    )


async def _events(service: Service, job_id: str, offset: int) -> AsyncIterator[str]:
    place, sent_at = None, time.monotonic()
    async for progress in service.engine.events(job_id, offset, QUEUE_LOOK_S):
        if progress is None:
            before, place = place, await run_in_threadpool(service.engine.place, job_id)
            if place is not None and place != before:
                yield f"event: queue\ndata: {json.dumps(asdict(place))}\n\n"
            elif time.monotonic() - sent_at > EVENTS_PAUSE_S:
                yield ": still here\n\n"
            else:
                continue
            sent_at = time.monotonic()
            continue
        sent_at = time.monotonic()
        yield f"id: {offset}\nevent: progress\ndata: {json.dumps(progress)}\n\n"
        offset += 1
    record = await run_in_threadpool(service.engine.get, job_id)
    yield f"event: done\ndata: {view_of(record).model_dump_json()}\n\n"
