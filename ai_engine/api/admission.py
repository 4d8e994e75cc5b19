"""The door: a submission becomes a Job, or is refused. All that can be refused is refused here.

Knows no routes and no job engine.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from ai_engine.api.request_body import Submission
from ai_engine.api.request_schema import JobRequest, JobWishes
from ai_engine.errors import FileExpired, ImageUrlForbidden, InvalidField, JobError, UnreadableImage
from ai_engine.job import Job
from ai_engine.outbound.addresses import AddressForbidden, AddressPolicy
from ai_engine.settings import Settings
from ai_engine.storage.store import READ_BYTES, ArtifactStore

MAX_KEY_CHARS = 255
_TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True)
class Sender:
    """What a request's headers say besides its body."""

    owner: str | None = None
    """The name of the caller's key."""
    idempotency_key: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True)
class Admission:
    """A request that may become a job."""

    job: Job
    """Without the picture."""
    picture: BinaryIO | None
    """The one that came with the request."""
    picture_sha256: str
    """Empty where none came."""


@dataclass(frozen=True)
class Door:
    """Checks requests."""

    settings: Settings
    downloads: AddressPolicy
    webhooks: AddressPolicy
    store: ArtifactStore
    clock: Callable[[], float] = field(default=time.time, repr=False)

    def check(self, submission: Submission, sender: Sender) -> Admission:
        """The job that is asked for; nothing is written.

        Raises:
            InvalidField: an address may not be used, or the picture is none.
        """
        wishes = submission.wishes
        job_id = _job_id(sender)
        self._check_addresses(wishes)
        picture = self._picture(submission)
        picture_sha256 = _file_sha256(picture) if picture else ""
        asked = f"{wishes.model_dump_json(exclude_defaults=True)} {picture_sha256}"
        job = replace(
            self._job(job_id, wishes),
            request_sha256=_sha256(asked),
            owner=sender.owner,
            traceparent=sane_traceparent(sender.traceparent),
        )
        return Admission(job, picture, picture_sha256)

    def admit(self, admission: Admission) -> Job:
        """The job; a picture that came with the request is in the store when this returns.

        Raises:
            StoreUnavailable: the picture can't be kept now.
        """
        job, picture = admission.job, admission.picture
        if picture is None:
            return job
        picture.seek(0)

        def write(path: Path) -> None:
            with path.open("wb") as file:
                shutil.copyfileobj(picture, file)

        # By its content: a later request under the same key must not harm the first one's.
        name = f"picture-{admission.picture_sha256[:16]}"
        return replace(job, image=self.store.put(job.job_id, name, write))

    def _check_addresses(self, wishes: JobWishes) -> None:
        if wishes.webhook_url is not None:
            _check(self.webhooks, "webhook_url", wishes.webhook_url, "webhook_url_forbidden")
        if wishes.upload_url is not None:
            _check(self.webhooks, "upload_url", wishes.upload_url, "upload_url_forbidden")
        if wishes.webhook_format == "link" and self.settings.public_url is None:
            raise InvalidField("webhook_format", "this service has no PUBLIC_URL to link to", code="no_links")
        if isinstance(wishes, JobRequest) and not wishes.has_embedded_picture:
            _check(self.downloads, "image_url", wishes.image_url, ImageUrlForbidden.code)

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

    def _job(self, job_id: str, wishes: JobWishes) -> Job:
        """The job without its picture."""
        return Job(
            job_id=job_id,
            session_id=wishes.session_id,
            asset_id=wishes.asset_id,
            image_url=_image_url(wishes),
            image=None,
            webhook_url=wishes.webhook_url,
            upload_url=wishes.upload_url,
            webhook_format=wishes.webhook_format or self.settings.webhook_format,
            options=wishes.options(),
            print_options=wishes.print_options(),
            remove_background=wishes.remove_background,
            format=wishes.format,
            priority=wishes.priority,
            timeout_s=wishes.timeout_s or self.settings.job_timeout_s,
            accepted_at_s=self.clock(),
            request_sha256="",
        )

    def _picture(self, submission: Submission) -> BinaryIO | None:
        """The picture that came with the request."""
        if submission.picture is not None:
            return _checked(submission.picture)
        wishes = submission.wishes
        assert isinstance(wishes, JobRequest)
        return self._embedded_picture(wishes.image_url) if wishes.has_embedded_picture else None

    def _embedded_picture(self, url: str) -> BinaryIO:
        # Only here: picture code takes a while to import, and most requests bring a URL.
        from ai_engine.images.download import fetch_image
        from ai_engine.images.formats import DownloadLimits
        from ai_engine.outbound.client import GuardedClient

        try:
            limits = DownloadLimits(max_bytes=self.settings.image_max_bytes)
            data = fetch_image(url, http=GuardedClient(self.downloads), limits=limits)
        except JobError as error:
            raise InvalidField("image_url", error.detail, code=error.code) from error
        return io.BytesIO(data)


def _image_url(wishes: JobWishes) -> str | None:
    if isinstance(wishes, JobRequest) and not wishes.has_embedded_picture:
        return wishes.image_url
    return None


def _checked(picture: BinaryIO) -> BinaryIO:
    from ai_engine.images.formats import MAGIC_BYTES, NO_PICTURE, picture_format

    if picture_format(picture.read(MAGIC_BYTES)) is None:
        raise InvalidField("image", NO_PICTURE, code=UnreadableImage.code)
    return picture


def _file_sha256(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(READ_BYTES):
        digest.update(piece)
    return digest.hexdigest()


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
