"""Which trace a job belongs to, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from support.sample_job import job as sample_job

from ai_engine.errors import NoForeground
from ai_engine.job import Job, JobStatus
from ai_engine.monitoring.otel import OtelTracer
from ai_engine.monitoring.tracing import NoTracer, Trace, sane_traceparent
from ai_engine.stage import Stage
from ai_engine.stage_result import JobFailure, JobResult

CALLERS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
JOB = replace(sample_job(), job_id="f" * 32, accepted_at_s=1000.0)


def recorded(tell: Callable[[OtelTracer], None]) -> dict[str, ReadableSpan]:
    exporter = InMemorySpanExporter()
    tracer = OtelTracer(exporter)
    tell(tracer)
    tracer._provider.force_flush()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    tracer.close()
    return spans


def parent_id(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def whole_job(job: Job) -> dict[str, ReadableSpan]:
    def tell(tracer: OtelTracer) -> None:
        with tracer.span("download", Trace.of(job)):
            pass
        with tracer.span("cutout", Trace.of(job)):
            pass
        tracer.job(job, JobStatus.SUCCEEDED, JobResult(timings_s={"download": 0.5}), 1009.0)

    return recorded(tell)


def test_without_a_callers_trace_the_job_is_the_trace_and_its_span_the_root() -> None:
    spans = whole_job(JOB)

    assert set(spans) == {"job", "download", "cutout"}
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {JOB.job_id}
    assert spans["job"].parent is None
    assert {parent_id(spans[name]) for name in ("download", "cutout")} == {spans["job"].context.span_id}


def test_a_callers_trace_is_gone_on_with() -> None:
    spans = whole_job(replace(JOB, traceparent=CALLERS))

    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {
        "0af7651916cd43dd8448eb211c80319c"
    }
    assert f"{parent_id(spans['job']):016x}" == "b7ad6b7169203331"
    assert parent_id(spans["download"]) == spans["job"].context.span_id


def test_the_span_of_a_job_lasts_from_its_acceptance_to_its_end_and_tells_the_stages() -> None:
    span = whole_job(JOB)["job"]

    assert (span.start_time, span.end_time) == (1000 * 10**9, 1009 * 10**9)
    assert span.attributes is not None
    assert span.attributes["job.id"] == JOB.job_id
    assert span.attributes["job.seconds.download"] == 0.5
    assert span.status.status_code == StatusCode.UNSET


def test_a_caller_who_does_not_record_is_obeyed() -> None:
    assert whole_job(replace(JOB, traceparent=CALLERS[:-2] + "00")) == {}


def test_a_failure_is_known_by_its_code_and_its_words_stay_here() -> None:
    def tell(tracer: OtelTracer) -> None:
        with pytest.raises(NoForeground), tracer.span("cutout", Trace.of(JOB)):
            raise NoForeground("hunter2")
        failure = JobFailure("no_foreground", "", "hunter2", Stage.CUTOUT, False)
        tracer.job(JOB, JobStatus.FAILED, JobResult(failure=failure), 1001.0)

    for span in recorded(tell).values():
        assert (span.attributes or {})["error.type"] == "no_foreground"
        assert span.status.status_code == StatusCode.ERROR
        assert "hunter2" not in span.to_json()


def test_two_workers_give_the_job_the_same_span() -> None:
    assert Trace.of(JOB) == Trace.of(replace(JOB, accepted_at_s=5.0))
    assert Trace.of(JOB).job_span_id != Trace.of(replace(JOB, job_id="e" * 32)).job_span_id


def test_nothing_recorded_still_has_ids_to_pass_on() -> None:
    trace = Trace.of(replace(JOB, traceparent=CALLERS))
    with NoTracer().span("deliver", trace) as span_id:
        header = trace.header(span_id, is_recorded=False)

    assert header == f"00-0af7651916cd43dd8448eb211c80319c-{span_id}-00"
    assert sane_traceparent(header) == header


@pytest.mark.parametrize(
    "value",
    ["", "00", CALLERS + "x", CALLERS.upper(), "01" + CALLERS[2:], f"00-{'0' * 32}-b7ad6b7169203331-01",
     f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", CALLERS + "\n"],
)  # fmt: skip
def test_a_traceparent_that_is_none_is_left_out(value: str) -> None:
    assert sane_traceparent(value) is None
    assert sane_traceparent(CALLERS) == CALLERS
