"""Webhook client: signs and sends a delivery, and says when to retry (backoff). Knows no job engine and no stages.

What is signed is always the JSON event; the file's sha256 and size stand in it. The file is streamed from its
store with an exact Content-Length, so memory stays flat whatever its size.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from standardwebhooks import Webhook

from ai_engine.outbound.addresses import AddressForbidden
from ai_engine.outbound.client import Answer, GuardedClient, RedirectForbidden, redirect_url
from ai_engine.outbound.deadline import TransferFailed
from ai_engine.webhooks.body import Delivery, MeshFile, RequestBody, carries_file, request_body
from ai_engine.webhooks.upload import REPEATED, Upload, is_doubtful, is_hopeless

BYTES_PER_MB = 1_000_000
GONE = 410
TOO_LARGE = 413
_AFTER_TOO_LARGE = {True: ", a link follows", False: ", and no PUBLIC_URL is set to send a link instead"}
_BUSY = frozenset({429, 503})


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended."""

    is_accepted: bool
    is_final: bool
    """No further attempt makes sense."""
    status: int | None
    """The receiver's HTTP status, when there was one."""
    detail: str
    """One sentence; nothing of what the receiver sent but its status."""
    retry_after_s: float = 0.0
    """How long the receiver wants to be left alone."""
    is_uploaded: bool = False
    """True when the file lies where it was to be PUT."""
    is_upload: bool = False
    """True if the attempt ended with the upload: the webhook was not called."""
    is_doubtful: bool = False
    """The upload's server refused the request itself: one more attempt, no whole schedule."""
    wants_link: bool = False
    """The file is too large for this receiver: a link may pass."""


@dataclass(frozen=True)
class WebhookClient:
    """Makes one attempt of a delivery."""

    http: GuardedClient
    signers: Sequence[Webhook] = ()
    """One per secret; none: deliveries are not signed."""
    timeout_s: float = 30.0
    timeout_s_per_mb: float = 1.0
    max_retry_after_s: float = 3600.0
    clock: Callable[[], float] = field(default=time.time, repr=False)

    def send(self, delivery: Delivery, attempt: int) -> Outcome:
        """How attempt number `attempt`, counted from 1, went. Raises nothing for what receivers do.

        Raises:
            FileNotFoundError: the mesh file is not there any more.
            StoreUnavailable: it can't be had now.
        """
        is_uploaded = delivery.is_uploaded
        if delivery.upload is not None and delivery.mesh is not None and not is_uploaded:
            uploaded = self._upload(delivery.upload, delivery.mesh)
            if not uploaded.is_accepted or delivery.url is None:
                return uploaded
            is_uploaded = True
        assert delivery.url is not None
        body = request_body(delivery)
        headers = body.headers | self.headers(delivery, attempt)
        answer = self._post(delivery.url, body, headers)
        is_too_large = answer.status == TOO_LARGE and carries_file(delivery)
        more = _AFTER_TOO_LARGE[delivery.has_link] if is_too_large else ""
        return replace(
            answer,
            detail=answer.detail + more,
            is_uploaded=is_uploaded,
            wants_link=is_too_large and delivery.has_link,
        )

    def _post(self, url: str, body: RequestBody, headers: dict[str, str]) -> Outcome:
        try:
            answer = self._exchange("POST", url, body, headers)
        except AddressForbidden as error:
            return Outcome(False, True, None, f"the webhook's URL is not allowed: {error}")
        except TransferFailed as error:
            return Outcome(False, False, error.status, str(error))
        return self._judge(answer, "the receiver")

    def _upload(self, upload: Upload, mesh: MeshFile) -> Outcome:
        put = replace(self._put(upload, mesh), is_upload=True)
        detail = "uploaded" if put.is_accepted else f"the file could not be uploaded: {put.detail}"
        return replace(put, detail=detail, is_uploaded=put.is_accepted)

    def _put(self, upload: Upload, mesh: MeshFile) -> Outcome:
        """How the PUT went, a redirect that keeps method and body followed once."""
        try:
            answer = self._put_once(upload.url, upload, mesh)
            if answer.status in REPEATED:
                answer = self._put_elsewhere(redirect_url(upload.url, answer), upload, mesh)
        except RedirectForbidden as error:
            return Outcome(False, True, None, f"the upload's server redirects to a forbidden URL: {error}")
        except AddressForbidden as error:
            return Outcome(False, True, None, f"the upload's URL is not allowed: {error}")
        except TransferFailed as error:
            return Outcome(False, not error.is_retryable, error.status, str(error))
        judged = self._judge(answer, "the upload's server")
        if judged.is_accepted:
            return judged
        return replace(judged, is_final=is_hopeless(answer.status), is_doubtful=is_doubtful(answer.status))

    def _put_elsewhere(self, url: str, upload: Upload, mesh: MeshFile) -> Answer:
        try:
            return self._put_once(url, upload, mesh)
        except AddressForbidden as error:
            raise RedirectForbidden(*error.args) from error

    def _put_once(self, url: str, upload: Upload, mesh: MeshFile) -> Answer:
        return self._exchange("PUT", url, RequestBody({}, mesh.size, mesh.read()), upload.headers)

    def _exchange(self, method: str, url: str, body: RequestBody, headers: Mapping[str, str]) -> Answer:
        return self.http.send(
            method,
            url,
            body.chunks,
            headers=headers,
            deadline_s=self.timeout_s + self.timeout_s_per_mb * body.length / BYTES_PER_MB,
            content_length=body.length,
        )

    def headers(self, delivery: Delivery, attempt: int) -> dict[str, str]:
        """What every form carries besides its body."""
        now = datetime.fromtimestamp(int(self.clock()), UTC)
        headers = {
            "webhook-id": delivery.event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "X-Delivery-Attempt": str(attempt),
            # Unless it says otherwise the job is the trace: its id has the 32 hex digits of one.
            "traceparent": delivery.traceparent or f"00-{delivery.job_id}-{secrets.token_hex(8)}-00",
        }
        if delivery.fallback is not None:
            headers["X-Delivery-Fallback"] = delivery.fallback
        signatures = [
            signer.sign(msg_id=delivery.event_id, timestamp=now, data=delivery.event.text)
            for signer in self.signers
        ]
        return headers | ({"webhook-signature": " ".join(signatures)} if signatures else {})

    def _judge(self, answer: Answer, who: str) -> Outcome:
        if answer.is_success:
            return Outcome(True, True, answer.status, "accepted")
        wait_s = 0.0
        if answer.status in _BUSY:
            wait_s = min(
                retry_after_s(answer.headers.get("retry-after"), self.clock()), self.max_retry_after_s
            )
        detail = f"{who} answered {answer.status}"
        return Outcome(False, answer.status == GONE, answer.status, detail, wait_s)


def next_delay_s(
    outcome: Outcome, attempt: int, delays_s: Sequence[float], jitter: Callable[[float, float], float]
) -> float | None:
    """Seconds until the attempt after number `attempt`; None when there is none.

    Never sooner than the receiver asked for, but at once when a link is to go where the file was too large.
    `jitter(low, high)` draws a number between the two.
    """
    if outcome.wants_link:
        return 0.0
    if outcome.is_accepted or outcome.is_final or attempt >= len(delays_s):
        return None
    return max(delays_s[attempt] * jitter(0.8, 1.2), outcome.retry_after_s)


def retry_after_s(value: str | None, now_s: float) -> float:
    """The seconds a Retry-After header means, as a number or as a date; 0 when it can't be read."""
    if not value:
        return 0.0
    if value.strip().isascii() and value.strip().isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_s)
    except (ValueError, TypeError, OverflowError):
        return 0.0
