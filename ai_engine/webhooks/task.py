"""A delivery between two attempts: the task that waits in the queue, and the outcome that one attempt leaves.

Dicts only where they enter or leave the job engine. Their keys are those of earlier versions, so that deliveries
which wait across an upgrade are finished. Sends nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ai_engine.job import Artifact, Job
from ai_engine.outbound.addresses import AddressForbidden, parse_url
from ai_engine.webhooks.event import JobEvent
from ai_engine.webhooks.upload import UPLOADED, UploadFacts

AttemptState = Literal["accepted", "failed", "dead"]


@dataclass(frozen=True)
class DeliveryOutcome:
    """How one attempt of a delivery ended."""

    is_accepted: bool
    status: int | None
    """The receiver's HTTP status, when there was one."""
    detail: str
    at_s: float
    """When the attempt was made, seconds since 1970."""
    next_delay_s: float | None
    """Until the next attempt; None when none follows."""
    form: str | None = None
    """How the mesh went, or would have gone: multipart, binary or link."""
    upload: UploadFacts | None = None
    """What became of the upload; None while that is open, or when there is none."""
    fallback: str | None = None
    """Why a link has to go out from now on."""
    is_slow: bool = False
    """True if the host took so long that its next attempt waits behind those of others."""
    is_postponed: bool = False
    """True if no attempt was made: the host was slow lately, and the attempt waits behind others now."""

    @classmethod
    def postponed(cls, at_s: float) -> DeliveryOutcome:
        """The outcome of an attempt that moves to the slow queue."""
        detail = "this host was slow lately: the attempt waits behind others"
        return cls(False, None, detail, at_s, 0.0, is_slow=True, is_postponed=True)

    @property
    def state(self) -> AttemptState:
        """accepted; failed: another attempt follows (retry); dead: none does (dead letter)."""
        if self.is_accepted:
            return "accepted"
        return "failed" if self.next_delay_s is not None else "dead"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as the job engine keeps them."""
        fields = asdict(self)
        learned = {name: fields.pop(name) for name in ("upload", "fallback", "is_slow", "is_postponed")}
        return fields | {"learned": {name: value for name, value in learned.items() if value}}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> DeliveryOutcome:
        """The outcome that `to_dict` wrote, in this version or an earlier one."""
        known = {name: value for name, value in fields.items() if name != "learned"}
        return cls(**_with_upload(known | fields.get("learned", {})))


@dataclass(frozen=True)
class NewTarget:
    """Where a redelivery goes in place of where the request said; None leaves a thing as it was."""

    webhook_url: str | None = None
    upload_url: str | None = None
    upload_headers: dict[str, str] = field(default_factory=dict)
    """Of `upload_url`: a new URL has none of the old one's."""


SAME_TARGET = NewTarget()


@dataclass(frozen=True)
class DeliveryTask:
    """What is to be delivered, and what earlier attempts learned about how."""

    job: Job
    event: JobEvent
    artifact: Artifact | None
    """The mesh file; None when the job has failed."""
    linked_at_s: float
    """When the links' time began, seconds since 1970."""
    attempts_before: int = 0
    """Attempts that do not count in the retry schedule: those made before a redelivery."""
    upload: UploadFacts | None = None
    """What became of the upload; None while that is open, or when there is none."""
    fallback: str | None = None
    is_slow: bool = False
    """True if the attempt waits in the slow queue."""
    num_postponed: int = 0
    """Entries of the queue that made no attempt, and count as none."""

    @property
    def host(self) -> str:
        """Host and port of what the next attempt sends to first; empty where there is nothing to send to."""
        is_upload_next = self.job.upload_url is not None and self.artifact is not None and self.upload is None
        url = self.job.upload_url if is_upload_next else self.job.webhook_url
        try:
            return parse_url(url).authority if url else ""
        except AddressForbidden:
            return ""

    @property
    def is_uploaded(self) -> bool:
        """True if the file lies where it was to be PUT."""
        return self.upload is not None and self.upload.state == "uploaded"

    @property
    def has_given_up_upload(self) -> bool:
        """True if the file goes with the webhook because it could not be uploaded."""
        return self.upload is not None and self.upload.state == "given_up"

    def after(self, outcome: DeliveryOutcome, attempt: int) -> DeliveryTask:
        """The task of the attempt that follows on number `attempt`, which ended with `outcome`.

        An upload that was given up has used up its own schedule, not the webhook's.
        """
        after = replace(
            self, upload=outcome.upload or self.upload, fallback=outcome.fallback or self.fallback
        )
        if outcome.is_postponed:
            return replace(
                after,
                is_slow=True,
                num_postponed=self.num_postponed + 1,
                attempts_before=self.attempts_before + 1,
            )
        if after.has_given_up_upload and not self.has_given_up_upload:
            return replace(after, is_slow=False, attempts_before=attempt)
        return replace(after, is_slow=outcome.is_slow)

    def host_of(self, outcome: DeliveryOutcome) -> str:
        """Host and port of what the attempt that ended with `outcome` waited for last."""
        is_uploaded_now = outcome.upload is not None and outcome.upload.state == "uploaded"
        is_webhook = is_uploaded_now and self.job.webhook_url is not None
        return replace(self, upload=outcome.upload).host if is_webhook else self.host

    def redelivery(self, num_attempts: int, now_s: float) -> DeliveryTask:
        """The same task with its retry schedule begun anew after `num_attempts`, and its links from `now_s` on.

        An upload that was given up is tried again.
        """
        upload = None if self.has_given_up_upload else self.upload
        return replace(self, attempts_before=num_attempts, linked_at_s=now_s, upload=upload, is_slow=False)

    def to(self, target: NewTarget) -> DeliveryTask:
        """The same task with another webhook or another upload: what was learned about the old one is forgotten."""
        task = self
        if target.webhook_url is not None:
            task = replace(task, job=replace(task.job, webhook_url=target.webhook_url), fallback=None)
        if target.upload_url is not None:
            job = replace(task.job, upload_url=target.upload_url, upload_headers=target.upload_headers)
            task = replace(task, job=job, upload=None)
        return task

    @property
    def has_receiver(self) -> bool:
        """True if there is a webhook, or a file and where to upload it."""
        has_upload = self.job.upload_url is not None and self.artifact is not None
        return self.job.webhook_url is not None or has_upload

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as the job engine keeps them."""
        return asdict(self) | {"job": self.job.to_dict(), "event": self.event.to_json()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> DeliveryTask:
        """The task that `to_dict` wrote, in this version or an earlier one."""
        job, artifact = Job.from_dict(fields["job"]), fields["artifact"]
        values = {
            "job": job,
            "event": JobEvent.from_json(fields["event"]),
            "artifact": Artifact(**artifact) if artifact else None,
            "linked_at_s": fields.get("linked_at_s", job.accepted_at_s),
        }
        return cls(**_with_upload(fields) | values)


def _with_upload(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with the upload as facts; an earlier version wrote `is_uploaded`."""
    rest = {name: value for name, value in fields.items() if name not in ("upload", "is_uploaded")}
    upload = UPLOADED if fields.get("is_uploaded") else None
    return rest | {"upload": UploadFacts(**fields["upload"]) if fields.get("upload") else upload}
