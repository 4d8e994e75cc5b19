"""The routes of deliveries: list them, and send one or many again."""

from __future__ import annotations

import logging
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from ai_engine.api.dependencies import (
    OF_FILE,
    OF_JOB,
    OF_KEY,
    Connected,
    OwnSummary,
    Service,
    find_summary,
)
from ai_engine.api.request_schema import Redelivery
from ai_engine.api.response_schemas import JobView, view_of
from ai_engine.errors import (
    BodyTooLarge,
    BodyTooSlow,
    DeliveryUnderWay,
    FileExpired,
    InvalidField,
    NoWebhook,
    RequestRefused,
)
from ai_engine.job import CallerId
from ai_engine.job_queue.deliveries import DeliveryPage
from ai_engine.job_queue.delivery_index import DeliveryFilter, DeliveryStatus
from ai_engine.job_queue.records import DeliveryAttempt, JobSummary
from ai_engine.logs import event
from ai_engine.web.auth import Caller, KnownCaller, keyed_router
from ai_engine.web.bodies import SmallBodyRoute
from ai_engine.web.problems import problems
from ai_engine.webhooks.task import SAME_TARGET, NewTarget

MAX_LISTED = 200
MAX_REDELIVERED = 100
"""Deliveries that one request sends again."""

logger = logging.getLogger(__name__)
router = keyed_router(SmallBodyRoute)


class Redeliveries(BaseModel):
    """Which deliveries are sent again: those of `job_ids`, or without them the dead ones, the newest first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_ids: list[Annotated[str, Field(min_length=1, max_length=128)]] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_REDELIVERED,
        description="Of these jobs, however they stand.",
    )
    status: Literal["dead"] | None = Field(default=None, description="Dead ones; the only filter by status.")
    session_id: CallerId | None = Field(default=None, description="Only dead ones of this session.")

    @model_validator(mode="after")
    def _check_choice(self) -> Redeliveries:
        has_filter = self.status is not None or self.session_id is not None
        if (self.job_ids is not None) == has_filter:
            raise PydanticCustomError("one_of", "either job_ids, or status: dead, or a session_id")
        return self


class DeliverySummaryView(BaseModel):
    """A job's delivery in the list of deliveries; `GET /jobs/{id}` has all its attempts."""

    job_id: str
    session_id: str
    asset_id: str
    status: DeliveryStatus = Field(
        description="waiting: an attempt is due, now or later. dead: no attempt follows of itself."
    )
    last: DeliveryAttempt = Field(description="The latest attempt.")
    status_url: str


class DeliveryList(BaseModel):
    """Deliveries, of the newest job first."""

    deliveries: list[DeliverySummaryView]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last one.")


class RefusedRedelivery(BaseModel):
    """A delivery that could not be sent again."""

    job_id: str
    code: str = Field(description="not_found, no_webhook, not_ready, expired or delivery_under_way.")
    detail: str


class Redelivered(BaseModel):
    """What became of a request to send many deliveries again."""

    redelivered: list[str] = Field(description="Their job_ids.")
    refused: list[RefusedRedelivery]
    has_more: bool = Field(description="More dead ones are left: send the request again.")


@router.head("/deliveries", include_in_schema=False)
@router.get("/deliveries", responses=problems(*OF_KEY, InvalidField))
def list_deliveries(
    service: Connected,
    caller: KnownCaller,
    status: Annotated[DeliveryStatus | None, Query(description="Only those that stand so.")] = None,
    session_id: Annotated[CallerId | None, Query(description="Only of this session.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED, description="Most deliveries on one page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=256, description="`next_cursor` of the page before.")
    ] = None,
) -> DeliveryList:
    """The deliveries of jobs, of the newest job first; `status=dead` lists the dead letters."""
    wanted = DeliveryFilter(status=status, session_id=session_id, owner=caller.sees)
    return _list_of(service.engine.deliveries(wanted, limit, cursor))


@router.post(
    "/jobs/{job_id}/redeliver",
    status_code=202,
    responses=problems(
        *OF_JOB, *OF_FILE, BodyTooLarge, BodyTooSlow, InvalidField, NoWebhook, DeliveryUnderWay
    ),
)
def redeliver_job(known: OwnSummary, service: Connected, redelivery: Redelivery | None = None) -> JobView:
    """Sends the webhook again, accepted or dead as it may be: the same event under the same `webhook-id`.

    The attempts are counted on, and begin at once; one that was still waiting gives way. A body may name a new
    webhook or a new upload.
    """
    target = service.admission.check_target(redelivery) if redelivery else SAME_TARGET
    _redeliver(service, known, target)
    return view_of(service.engine.get(known.job.job_id))


@router.post(
    "/deliveries/redeliver",
    status_code=202,
    responses=problems(*OF_KEY, BodyTooLarge, BodyTooSlow, InvalidField),
)
def redeliver_many(service: Connected, caller: KnownCaller, redeliveries: Redeliveries) -> Redelivered:
    """Sends many deliveries again, each as `POST /jobs/{job_id}/redeliver` does: those of `job_ids`, or the newest
    of the dead ones.
    """
    job_ids = redeliveries.job_ids or _dead(service, caller, redeliveries)
    redelivered, refused = [], []
    for job_id in dict.fromkeys(job_ids[:MAX_REDELIVERED]):
        try:
            _redeliver(service, find_summary(service, caller, job_id), SAME_TARGET)
            redelivered.append(job_id)
        except RequestRefused as error:
            refused.append(RefusedRedelivery(job_id=job_id, code=error.code, detail=error.detail))
    return Redelivered(redelivered=redelivered, refused=refused, has_more=len(job_ids) > MAX_REDELIVERED)


def _dead(service: Service, caller: Caller, wanted: Redeliveries) -> list[str]:
    dead = DeliveryFilter(status="dead", session_id=wanted.session_id, owner=caller.sees)
    page = service.engine.deliveries(dead, MAX_REDELIVERED + 1)
    return [delivery.job.job_id for delivery in page.deliveries]


def _redeliver(service: Service, known: JobSummary, target: NewTarget) -> None:
    """Queues the delivery of a job once more.

    Raises:
        FileExpired: its file is no longer kept.
        NoWebhook: there is nothing to deliver to.
        FileNotReady: the job is not over.
        DeliveryUnderWay: an attempt is being made, or about to be.
    """
    artifact = known.result.artifact if known.result else None
    if artifact is not None and not service.store.has(artifact):
        raise FileExpired("The file is no longer kept.")
    service.engine.redeliver(known, target)
    event(logger, "redelivery asked for", job_id=known.job.job_id)


def _list_of(page: DeliveryPage) -> DeliveryList:
    """A page of the list of deliveries as its caller sees it."""
    views = [
        DeliverySummaryView(
            job_id=one.job.job_id,
            session_id=one.job.session_id,
            asset_id=one.job.asset_id,
            status=one.status,
            last=one.last,
            status_url=f"/jobs/{one.job.job_id}",
        )
        for one in page.deliveries
    ]
    return DeliveryList(deliveries=views, next_cursor=page.next_cursor)
