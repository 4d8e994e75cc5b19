"""Admission control: turns a submission into a Job, or refuses it.

All that can be refused before work begins is refused here. Knows no routes and no job queue.
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

from ai_engine.api.request_body import Picture, RequestHeaders, Submission
from ai_engine.api.request_schema import JobRequest
from ai_engine.errors import FileExpired, ImageUrlForbidden, InvalidField
from ai_engine.job import Job
from ai_engine.outbound.addresses import AddressForbidden, AddressPolicy
from ai_engine.settings import Settings
from ai_engine.storage.store import ArtifactStore

MAX_KEY_CHARS = 255
_TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True)
class Admission:
    """Checks submissions against the address policies, and makes the jobs that they ask for."""

    settings: Settings
    downloads: AddressPolicy
    webhooks: AddressPolicy
    store: ArtifactStore
    clock: Callable[[], float] = field(default=time.time, repr=False)

    def admit(self, submission: Submission) -> Job:
        """The job that is asked for, without a picture that came inside the request; writes nothing.

        Raises:
            InvalidField: an address may not be used, or the idempotency key is malformed.
        """
        request, headers = submission.request, submission.headers
        job_id = _job_id(headers)
        self._check_addresses(request)
        picture_sha256 = submission.picture.sha256 if submission.picture else ""
        digest = _sha256(f"{request.model_dump_json(exclude_defaults=True)} {picture_sha256}")
        return replace(
            self._job(job_id, request),
            request_sha256=digest,
            owner=headers.owner,
            traceparent=sane_traceparent(headers.traceparent),
        )

    def keep_picture(self, job: Job, picture: Picture | None) -> Job:
        """The job with the picture that came inside its request, which is in the store when this returns.

        Raises:
            StoreUnavailable: the picture can't be kept now.
        """
        if picture is None:
            return job
        picture.file.seek(0)

        def write(path: Path) -> None:
            with path.open("wb") as file:
                shutil.copyfileobj(picture.file, file)

        # By its content: a later request under the same key must not harm the first one's.
        name = f"picture-{picture.sha256[:16]}"
        return replace(job, image=self.store.put(job.job_id, name, write, sha256=picture.sha256))

    def retry(self, job: Job) -> Job:
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

    def _check_addresses(self, request: JobRequest) -> None:
        if request.webhook_url is not None:
            _check(self.webhooks, "webhook_url", request.webhook_url, "webhook_url_forbidden")
        if request.upload_url is not None:
            _check(self.webhooks, "upload_url", request.upload_url, "upload_url_forbidden")
        if request.webhook_format == "link" and self.settings.public_url is None:
            raise InvalidField("webhook_format", "this service has no PUBLIC_URL to link to", code="no_links")
        if request.image_url is not None:
            _check(self.downloads, "image_url", request.image_url, ImageUrlForbidden.code)

    def _job(self, job_id: str, request: JobRequest) -> Job:
        return Job(
            job_id=job_id,
            session_id=request.session_id,
            asset_id=request.asset_id,
            image_url=request.image_url,
            image=None,
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
            request_sha256="",
        )


def sane_traceparent(value: str | None) -> str | None:
    """A W3C trace context header of version 00 as it came; None when it is no such thing."""
    found = _TRACEPARENT.fullmatch(value) if value else None
    is_usable = found is not None and int(found["trace"], 16) != 0 and int(found["span"], 16) != 0
    return value if is_usable else None


def _job_id(headers: RequestHeaders) -> str:
    key = headers.idempotency_key
    if key is None:
        return uuid.uuid4().hex
    if not (0 < len(key) <= MAX_KEY_CHARS and key.isprintable()):
        raise InvalidField(
            "Idempotency-Key", f"1 to {MAX_KEY_CHARS} printable characters", code="invalid_key"
        )
    # Each owner has keys of their own: no caller learns, or takes, what another one uses.
    owner = "" if headers.owner is None else f" of {headers.owner}"
    return _sha256(f"idempotency key{owner} {key}")[:32]


def _check(policy: AddressPolicy, name: str, url: str, code: str) -> None:
    try:
        policy.check_url(url)
    except AddressForbidden as error:
        raise InvalidField(name, str(error), code=code) from error


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
