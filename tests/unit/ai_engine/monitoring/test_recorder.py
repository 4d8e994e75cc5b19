from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.sample_job import job

from ai_engine.job import Job, JobStatus
from ai_engine.job_queue.database import Database
from ai_engine.monitoring.otel import OtelTracer
from ai_engine.monitoring.recorder import open_recorder, open_tracer
from ai_engine.monitoring.tracing import NoTracer
from ai_engine.settings import Settings
from ai_engine.stage_result import JobResult

ENDPOINT = {"otel_exporter_otlp_endpoint": "http://127.0.0.1:9/"}


class Heard(NoTracer):
    def __init__(self) -> None:
        self.jobs: list[str] = []

    def job(self, job: Job, status: JobStatus, result: JobResult, ended_at_s: float) -> None:
        self.jobs.append(f"{job.job_id} {status}")


def settings(tmp_path: Path, **changes: Any) -> Settings:
    return Settings(data_dir=tmp_path, **changes)


def test_the_end_of_a_job_is_counted_and_traced_once_however_often_it_is_seen(tmp_path: Path) -> None:
    wished, heard, ended = settings(tmp_path), Heard(), job()
    with closing(Database(wished.jobs_database_url)) as database:
        recorder = replace(open_recorder(wished, database), tracer=heard)

        for _ in range(2):
            recorder.close_job(ended, JobStatus.SUCCEEDED, JobResult(), 5.0)

    assert heard.jobs == [f"{ended.job_id} {JobStatus.SUCCEEDED}"]


def test_traces_go_nowhere_unless_an_endpoint_is_set(tmp_path: Path) -> None:
    assert isinstance(open_tracer(settings(tmp_path)), NoTracer)
    tracer = open_tracer(settings(tmp_path, **ENDPOINT))
    assert isinstance(tracer, OtelTracer)


def test_without_the_package_the_service_goes_on_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "ai_engine.monitoring.otel", None)
    assert isinstance(open_tracer(settings(tmp_path, **ENDPOINT)), NoTracer)
    assert "requirements-otel.txt" in caplog.text
