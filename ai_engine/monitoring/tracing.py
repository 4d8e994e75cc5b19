"""Traces: one per job, a span per step of it and per delivery, by OpenTelemetry where that is installed and wanted.

A job's trace is the one its request named; else the job's id is the trace's. The ids follow from the job alone, so
that spans of several workers and of a worker's successor meet in one tree, and the webhook carries them on in
`traceparent` whether anything is recorded here or not.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from ai_engine.job import Job, JobStatus
from ai_engine.stage_result import JobResult

_TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True)
class Trace:
    """Where a job stands in its trace: W3C Trace Context, in lower-case hex."""

    trace_id: str
    job_span_id: str
    parent_id: str | None
    """The caller's span; None where the request named none."""
    is_recorded: bool
    """What the caller wishes."""

    @classmethod
    def of(cls, job: Job) -> Trace:
        """The job's trace."""
        job_span_id = hashlib.sha256(f"span of job {job.job_id}".encode()).hexdigest()[:16]
        if job.traceparent is None:
            return cls(job.job_id, job_span_id, None, True)
        _, trace_id, parent_id, flags = job.traceparent.split("-")
        return cls(trace_id, job_span_id, parent_id, bool(int(flags, 16) & 1))

    def header(self, span_id: str, *, is_recorded: bool) -> str:
        """The `traceparent` that says: what comes next was caused by this span."""
        return f"00-{self.trace_id}-{span_id}-{int(self.is_recorded and is_recorded):02x}"


class Tracer(Protocol):
    """Records spans, or does not."""

    is_recording: bool

    def span(self, name: str, trace: Trace, **attributes: str | int) -> AbstractContextManager[str]:
        """A span below the job's, as long as the block; gives its id."""

    def job(self, job: Job, status: JobStatus, result: JobResult, ended_at_s: float) -> None:
        """The span of a whole job, once it is over."""

    def close(self) -> None:
        """Sends what was not sent yet."""


class NoTracer:
    """Records nothing; only the ids are made, for whoever records further down."""

    is_recording = False

    @contextmanager
    def span(self, name: str, trace: Trace, **attributes: str | int) -> Iterator[str]:
        """The id of a span that is not recorded."""
        yield secrets.token_hex(8)

    def job(self, job: Job, status: JobStatus, result: JobResult, ended_at_s: float) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def sane_traceparent(value: str | None) -> str | None:
    """A W3C trace context header of version 00 as it came; None when it is no such thing."""
    found = _TRACEPARENT.fullmatch(value) if value else None
    is_usable = found is not None and int(found["trace"], 16) != 0 and int(found["span"], 16) != 0
    return value if is_usable else None
