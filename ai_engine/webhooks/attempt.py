"""One attempt of a delivery: from what the queue keeps to the request, and what came of it."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from standardwebhooks import Webhook

from ai_engine.errors import (
    StoreUnavailable,
)
from ai_engine.job import Artifact, Job
from ai_engine.logs import event
from ai_engine.outbound.client import GuardedClient
from ai_engine.outbound.policies import webhook_policy
from ai_engine.settings import Settings
from ai_engine.storage.store import ArtifactStore
from ai_engine.webhooks.body import Delivery, MeshFile
from ai_engine.webhooks.event import JobEvent
from ai_engine.webhooks.sender import Outcome, Sender, next_delay_s
from ai_engine.webhooks.signed_links import Links

PAYLOAD_TOO_LARGE = "payload_too_large"
MAX_INLINE_BYTES = "max_inline_bytes"

Record = dict[str, Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mailroom:
    """What deliveries are made with."""

    sender: Sender
    store: ArtifactStore
    links: Links
    settings: Settings


def open_sender(settings: Settings) -> Sender:
    """What sends, as the settings say.

    Raises:
        StartupError: the setting with the allowed hosts can't be read.
    """
    return Sender(
        http=GuardedClient(webhook_policy(settings), connect_timeout_s=settings.webhook_connect_timeout_s),
        signers=[Webhook(secret) for secret in settings.webhook_secrets],
        timeout_s=settings.webhook_timeout_s,
        timeout_s_per_mb=settings.webhook_timeout_s_per_mb,
        max_retry_after_s=settings.webhook_max_retry_after_s,
    )


def state_of(sent: Record) -> str:
    """Which state the attempt leaves the delivery in: accepted, failed (another attempt follows) or dead."""
    if sent["is_accepted"]:
        return "accepted"
    return "failed" if sent["next_delay_s"] is not None else "dead"


def attempt_delivery(mailroom: Mailroom, parcel: Record, attempt: int, traceparent: str) -> Record:
    """Makes one attempt, and draws when the next one is due."""
    delivery = replace(_delivery(parcel, mailroom), traceparent=traceparent)
    at_s = time.time()
    event(logger, "delivery started", job_id=delivery.job_id, attempt=attempt)
    try:
        outcome = mailroom.sender.send(delivery, attempt)
    except FileNotFoundError:
        outcome = Outcome(False, True, None, "the mesh file is not there any more")
    except StoreUnavailable:
        outcome = Outcome(False, False, None, "the mesh file can't be reached")
    except Exception:
        # The attempts to come may fare better; without an outcome there would be none.
        logger.exception("delivery broke", extra={"event_fields": {"job_id": delivery.job_id}})
        outcome = Outcome(False, False, None, "something went wrong on our side")
    turn = attempt - parcel.get("attempts_before", 0)
    delay_s = next_delay_s(outcome, turn, mailroom.settings.webhook_delays_s, random.uniform)
    sent = {
        "is_accepted": outcome.is_accepted,
        "status": outcome.status,
        "detail": outcome.detail,
        "at_s": at_s,
        "next_delay_s": delay_s,
        "form": delivery.form,
        "learned": _learned(outcome),
    }
    event(
        logger,
        f"delivery {state_of(sent)}",
        job_id=delivery.job_id,
        attempt=attempt,
        status=outcome.status,
        detail=outcome.detail,
        next_delay_s=delay_s,
    )
    return sent


def _learned(outcome: Outcome) -> Record:
    """What the attempts to come must know of this one."""
    learned: Record = {"is_uploaded": True} if outcome.is_uploaded else {}
    return learned | ({"fallback": PAYLOAD_TOO_LARGE} if outcome.wants_link else {})


def _delivery(parcel: Record, mailroom: Mailroom) -> Delivery:
    job = Job.from_dict(parcel["job"])
    store, mesh = mailroom.store, None
    if parcel["artifact"] is not None:
        artifact = Artifact(**parcel["artifact"])
        mesh = MeshFile(
            partial(store.read, artifact), job.file_name, job.format, artifact.size, artifact.sha256
        )
    linked_at_s = parcel.get("linked_at_s", job.accepted_at_s)
    link = mailroom.links.url(job.job_id, job.file_name, linked_at_s) if mesh else None
    fallback = _fallback(parcel, mesh, mailroom.settings) if link and job.webhook_format != "link" else None
    return Delivery(
        job_id=job.job_id,
        session_id=job.session_id,
        asset_id=job.asset_id,
        url=job.webhook_url,
        form="link" if fallback else job.webhook_format,
        event=JobEvent.from_json(parcel["event"]).to_json(link),
        mesh=mesh,
        upload_url=job.upload_url,
        is_uploaded=parcel.get("is_uploaded", False),
        fallback=fallback,
        has_link=link is not None,
    )


def _fallback(parcel: Record, mesh: MeshFile | None, settings: Settings) -> str | None:
    """Why a link goes out instead of the file; None when the file does."""
    if mesh is not None and mesh.size > settings.webhook_max_inline_bytes:
        return MAX_INLINE_BYTES
    return parcel.get("fallback")
