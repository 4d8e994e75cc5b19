"""The door: the bytes of a request become a Job, or are refused. All that can be refused is refused here.

Knows no routes and no job engine.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ai_engine.addresses import AddressForbidden, AddressPolicy
from ai_engine.artifacts import ArtifactStore
from ai_engine.errors import BodyTooLarge, FileExpired, ImageUrlForbidden, InvalidField, JobError
from ai_engine.job import MAX_REQUEST_BYTES, Artifact, Job, JobRequest
from ai_engine.settings import Settings

MAX_KEY_CHARS = 255
_BASE64_GROWTH = 4 / 3
_TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True)
class Sender:
    """What a request's headers say besides its body."""

    owner: str | None = None
    """The name of the caller's key."""
    idempotency_key: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True)
class Door:
    """Checks requests."""

    settings: Settings
    downloads: AddressPolicy
    webhooks: AddressPolicy
    store: ArtifactStore
    clock: Callable[[], float] = field(default=time.time, repr=False)

    @property
    def max_body_bytes(self) -> int:
        """The largest body that is read: a request with an embedded picture."""
        return MAX_REQUEST_BYTES + int(self.settings.image_max_bytes * _BASE64_GROWTH)

    def admit(self, body: bytes, sender: Sender) -> Job:
        """The job that the request asks for. An embedded picture is on disk when this returns.

        Raises:
            pydantic.ValidationError: fields are missing, unknown or out of bounds.
            InvalidField: an address may not be used, or the embedded picture is none.
            BodyTooLarge: more than 64 kB, and it is not an embedded picture that takes the room.
        """
        request = JobRequest.model_validate_json(body)
        is_embedded = request.image_url[:5].lower() == "data:"
        if len(body) > MAX_REQUEST_BYTES and not is_embedded:
            raise BodyTooLarge(f"A request without a picture in it has {MAX_REQUEST_BYTES} bytes at most.")
        job_id = _job_id(sender)
        if request.webhook_url is not None:
            _check(self.webhooks, "webhook_url", request.webhook_url, "webhook_url_forbidden")
        if request.upload_url is not None:
            _check(self.webhooks, "upload_url", request.upload_url, "upload_url_forbidden")
        if request.webhook_format == "link" and self.settings.public_url is None:
            raise InvalidField("webhook_format", "this service has no PUBLIC_URL to link to", code="no_links")
        if not is_embedded:
            _check(self.downloads, "image_url", request.image_url, ImageUrlForbidden.code)
        image = self._embedded_picture(job_id, request.image_url) if is_embedded else None
        job = self._job(job_id, request, image)
        return replace(job, owner=sender.owner, traceparent=sane_traceparent(sender.traceparent))

    def again(self, job: Job) -> Job:
        """The next attempt at `job`, with its own copy of a picture that came inside the request.

        Raises:
            FileExpired: that picture is no longer kept.
        """
        attempt = job.again(self.clock())
        if job.image is None:
            return attempt
        picture = job.image
        if not self.store.has(picture):
            raise FileExpired("The picture is no longer kept; send the request again.")
        name = picture.uri.rpartition("/")[2]

        def write(path: Path) -> None:
            shutil.copyfile(self.store.path(picture), path)

        return replace(attempt, image=self.store.put(attempt.job_id, name, write))

    def _job(self, job_id: str, request: JobRequest, image: Artifact | None) -> Job:
        return Job(
            job_id=job_id,
            session_id=request.session_id,
            asset_id=request.asset_id,
            image_url=None if image else request.image_url,
            image=image,
            webhook_url=request.webhook_url,
            upload_url=request.upload_url,
            webhook_format=request.webhook_format or self.settings.webhook_format,
            options=request.options(),
            print_options=request.print_options(),
            remove_background=request.remove_background,
            format=request.format,
            priority=request.priority,
            timeout_s=request.timeout_s or self.settings.job_timeout_s,
            accepted_at_s=self.clock(),
            request_sha256=_sha256(request.model_dump_json()),
        )

    def _embedded_picture(self, job_id: str, url: str) -> Artifact:
        # Only here: picture code takes a while to import, and most requests bring a URL.
        from ai_engine.download import DownloadLimits, fetch_image
        from ai_engine.guarded_http import GuardedClient

        try:
            limits = DownloadLimits(max_bytes=self.settings.image_max_bytes)
            data = fetch_image(url, http=GuardedClient(self.downloads), limits=limits)
        except JobError as error:
            raise InvalidField("image_url", error.detail, code=error.code) from error
        # Named by its content: the same key with another picture is refused, and must not harm the first.
        return self.store.put_bytes(job_id, f"picture-{hashlib.sha256(data).hexdigest()[:16]}", data)


def sane_traceparent(value: str | None) -> str | None:
    """A W3C trace context header of version 00 as it came; None when it is no such thing."""
    found = _TRACEPARENT.fullmatch(value) if value else None
    is_usable = found is not None and int(found["trace"], 16) != 0 and int(found["span"], 16) != 0
    return value if is_usable else None


def _job_id(sender: Sender) -> str:
    key = sender.idempotency_key
    if key is None:
        return uuid.uuid4().hex
    if not (0 < len(key) <= MAX_KEY_CHARS and key.isprintable()):
        raise InvalidField(
            "Idempotency-Key", f"1 to {MAX_KEY_CHARS} printable characters", code="invalid_key"
        )
    # Each owner has keys of their own: nobody learns, or takes, what another one uses.
    owner = "" if sender.owner is None else f" of {sender.owner}"
    return _sha256(f"idempotency key{owner} {key}")[:32]


def _check(policy: AddressPolicy, name: str, url: str, code: str) -> None:
    try:
        policy.check_url(url)
    except AddressForbidden as error:
        raise InvalidField(name, str(error), code=code) from error


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
