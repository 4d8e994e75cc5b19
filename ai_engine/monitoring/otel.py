"""The only door to OpenTelemetry: spans with the ids that `tracing.py` gives them, sent in the background.

Imported only where traces are wanted; its packages are those of requirements-otel.txt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from ai_engine import __version__
from ai_engine.job import Job, JobStatus
from ai_engine.monitoring.tracing import Trace
from ai_engine.stage_result import JobResult

NANOSECONDS = 1_000_000_000
FLUSH_MS = 5000


def otlp_tracer(url: str) -> OtelTracer:
    """Sends spans by OTLP over HTTP to `url`; OTEL_EXPORTER_OTLP_HEADERS and the like are the exporter's own."""
    return OtelTracer(OTLPSpanExporter(endpoint=url))


class OtelTracer:
    """Records spans."""

    is_recording = True

    def __init__(self, exporter: SpanExporter) -> None:
        self._ids = _Ids()
        resource = Resource.create({"service.name": "ai-engine", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("ai_engine", __version__)

    @contextmanager
    def span(self, name: str, trace: Trace, **attributes: str | int) -> Iterator[str]:
        """A span below the job's, as long as the block; gives its id. An error in the block is noted on it."""
        parent = _inside(trace, trace.job_span_id)
        span = self._tracer.start_span(name, parent, attributes=dict(attributes))
        try:
            yield f"{span.get_span_context().span_id:016x}"
        except BaseException as error:
            # Its kind alone: the words may hold what is a caller's.
            _mark_failed(span, getattr(error, "code", type(error).__name__))
            raise
        finally:
            span.end()

    def job(self, job: Job, status: JobStatus, result: JobResult, ended_at_s: float) -> None:
        """The span of a whole job, once it is over: it begins when the job was accepted."""
        trace = Trace.of(job)
        attributes: dict[str, str | float] = {"job.id": job.job_id, "job.status": status.value}
        attributes |= {f"job.seconds.{stage}": seconds for stage, seconds in result.timings_s.items()}
        parent = _inside(trace, trace.parent_id) if trace.parent_id else Context()
        with self._ids.chosen(trace):
            span = self._tracer.start_span(
                "job", parent, attributes=attributes, start_time=int(job.accepted_at_s * NANOSECONDS)
            )
        if result.failure is not None:
            _mark_failed(span, result.failure.code)
        span.end(int(ended_at_s * NANOSECONDS))

    def close(self) -> None:
        """Sends what was not sent yet, for a few seconds at most."""
        self._provider.force_flush(FLUSH_MS)
        self._provider.shutdown()


class _Ids(IdGenerator):
    """Random ids, but for the span of a job, whose ids other spans and the receiver know before it is recorded."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._chosen: ContextVar[Trace | None] = ContextVar("chosen", default=None)

    @contextmanager
    def chosen(self, trace: Trace) -> Iterator[None]:
        """The next span is that of the job."""
        token = self._chosen.set(trace)
        try:
            yield
        finally:
            self._chosen.reset(token)

    def generate_span_id(self) -> int:
        """The id of a new span."""
        chosen = self._chosen.get()
        return int(chosen.job_span_id, 16) if chosen else self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        """The id of a new trace."""
        chosen = self._chosen.get()
        return int(chosen.trace_id, 16) if chosen else self._random.generate_trace_id()


def _inside(trace: Trace, span_id: str) -> Context:
    """The context of a span that another process has, or will record later."""
    flags = TraceFlags(TraceFlags.SAMPLED if trace.is_recorded else TraceFlags.DEFAULT)
    parent = SpanContext(int(trace.trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _mark_failed(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
