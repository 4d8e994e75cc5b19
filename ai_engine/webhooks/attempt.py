"""One attempt of a delivery: from what the queue keeps to the request, and what came of it."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, replace
from functools import partial

from standardwebhooks import Webhook

from ai_engine.errors import StoreUnavailable
from ai_engine.logs import event
from ai_engine.outbound.client import GuardedClient
from ai_engine.outbound.policies import webhook_policy
from ai_engine.settings import Settings
from ai_engine.storage.store import ArtifactStore
from ai_engine.webhooks.body import Delivery, MeshFile
from ai_engine.webhooks.sender import BYTES_PER_MB, Outcome, WebhookClient, next_delay_s
from ai_engine.webhooks.signed_links import Links
from ai_engine.webhooks.task import DeliveryOutcome, DeliveryTask
from ai_engine.webhooks.upload import DOUBTFUL_ATTEMPTS, UPLOADED, Upload, UploadFacts

PAYLOAD_TOO_LARGE = "payload_too_large"
MAX_INLINE_BYTES = "max_inline_bytes"
UPLOAD_FAILED = "upload_failed"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeliveryContext:
    """What deliveries are made with; one per worker."""

    client: WebhookClient
    store: ArtifactStore
    links: Links
    settings: Settings


def open_client(settings: Settings) -> WebhookClient:
    """The webhook client, as the settings say.

    Raises:
        StartupError: the setting with the allowed hosts can't be read.
    """
    return WebhookClient(
        http=GuardedClient(webhook_policy(settings), connect_timeout_s=settings.webhook_connect_timeout_s),
        signers=[Webhook(secret) for secret in settings.webhook_secrets],
        timeout_s=settings.webhook_timeout_s,
        timeout_s_per_mb=settings.webhook_timeout_s_per_mb,
        max_retry_after_s=settings.webhook_max_retry_after_s,
    )


def attempt_delivery(
    context: DeliveryContext, task: DeliveryTask, attempt: int, traceparent: str
) -> DeliveryOutcome:
    """Makes attempt number `attempt`, counted from 1, and draws when the next one is due."""
    delivery = replace(_delivery(task, context), traceparent=traceparent)
    at_s, began = time.time(), time.monotonic()
    number = attempt - task.num_postponed
    event(logger, "delivery started", job_id=delivery.job_id, attempt=number)
    answer = _send(context.client, delivery, number)
    num_attempts, delays_s = attempt - task.attempts_before, context.settings.webhook_delays_s
    delay_s = next_delay_s(answer, num_attempts, delays_s, random.uniform)
    upload = UPLOADED if answer.is_uploaded else _find_upload_failure(answer, num_attempts, delay_s)
    if upload and upload.state == "given_up":
        delay_s = 0.0 if delivery.url is not None else None
    outcome = DeliveryOutcome(
        is_accepted=answer.is_accepted,
        status=answer.status,
        detail=answer.detail,
        at_s=at_s,
        next_delay_s=delay_s,
        form=delivery.form,
        upload=upload,
        fallback=PAYLOAD_TOO_LARGE if answer.wants_link else None,
        is_slow=time.monotonic() - began > _usual_s(delivery, context.settings),
    )
    _log(delivery.job_id, number, outcome)
    return outcome


def _usual_s(delivery: Delivery, settings: Settings) -> float:
    """Seconds up to which an attempt counts as quick: half its timeout at most, and more for a large file."""
    size_mb = delivery.mesh.size / BYTES_PER_MB if delivery.mesh else 0.0
    quick_s = min(settings.webhook_slow_s, settings.webhook_timeout_s / 2)
    return quick_s + settings.webhook_timeout_s_per_mb * size_mb


def _find_upload_failure(answer: Outcome, num_attempts: int, delay_s: float | None) -> UploadFacts | None:
    """What is said of the upload if this attempt at it was the last; None if it was not, or was none."""
    is_last = delay_s is None or (answer.is_doubtful and num_attempts >= DOUBTFUL_ATTEMPTS)
    return UploadFacts("given_up", answer.detail, answer.status) if answer.is_upload and is_last else None


def _send(client: WebhookClient, delivery: Delivery, attempt: int) -> Outcome:
    """How the attempt went; a fault on our side is an outcome too, for without one no attempt would follow."""
    try:
        return client.send(delivery, attempt)
    except FileNotFoundError:
        return Outcome(False, True, None, "the mesh file is not there any more")
    except StoreUnavailable:
        return Outcome(False, False, None, "the mesh file can't be reached")
    except Exception:
        logger.exception("delivery broke", extra={"event_fields": {"job_id": delivery.job_id}})
        return Outcome(False, False, None, "something went wrong on our side")


def _log(job_id: str, attempt: int, outcome: DeliveryOutcome) -> None:
    event(
        logger,
        f"delivery {outcome.state}",
        job_id=job_id,
        attempt=attempt,
        status=outcome.status,
        detail=outcome.detail,
        next_delay_s=outcome.next_delay_s,
    )


def _delivery(task: DeliveryTask, context: DeliveryContext) -> Delivery:
    job, mesh = task.job, _mesh_file(task, context.store)
    link = context.links.url(job.job_id, job.file_name_in(job.format), task.linked_at_s) if mesh else None
    upload = None if task.has_given_up_upload else Upload.of(job)
    fallback = _fallback(task, mesh, context.settings, has_link=link is not None)
    return Delivery(
        job_id=job.job_id,
        session_id=job.session_id,
        asset_id=job.asset_id,
        url=job.webhook_url,
        form="link" if fallback and link else job.webhook_format,
        event=task.event.write(
            link,
            urls=_links(task, context.links) if link else {},
            upload=task.upload or (UPLOADED if upload and mesh else None),
        ),
        mesh=mesh,
        upload=upload,
        is_uploaded=task.is_uploaded,
        fallback=fallback,
        has_link=link is not None,
    )


def _links(task: DeliveryTask, links: Links) -> dict[str, str]:
    """Where the files in all formats are had, and the G-code, by filename."""
    names = [*map(task.job.file_name_in, task.job.formats), task.job.file_name_in("gcode")]
    found = {name: links.url(task.job.job_id, name, task.linked_at_s) for name in names}
    return {name: url for name, url in found.items() if url is not None}


def _mesh_file(task: DeliveryTask, store: ArtifactStore) -> MeshFile | None:
    job, artifact = task.job, task.artifact
    if artifact is None:
        return None
    return MeshFile(
        partial(store.read, artifact),
        job.file_name_in(job.format),
        job.format,
        artifact.size,
        artifact.sha256,
    )


def _fallback(task: DeliveryTask, mesh: MeshFile | None, settings: Settings, *, has_link: bool) -> str | None:
    """Why the file goes in another way than was asked for; None when it goes in that one."""
    if mesh is None:
        return None
    if has_link and task.job.webhook_format != "link":
        if mesh.size > settings.webhook_max_inline_bytes:
            return MAX_INLINE_BYTES
        if task.fallback is not None:
            return task.fallback
    return UPLOAD_FAILED if task.has_given_up_upload else None
