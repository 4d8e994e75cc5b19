"""Rows of the job engine as values, without a database."""

from __future__ import annotations

from typing import Any

import pytest
from dbos import WorkflowStatus
from support.sample_job import job

from ai_engine.errors import InternalError, JobCancelled, NoForeground, WorkerLost
from ai_engine.job import Artifact, JobStatus
from ai_engine.job_queue.entries import EngineStatus, EntryId
from ai_engine.job_queue.records import (
    attempt_number,
    attempt_of,
    job_of,
    pedestal_of,
    result_of,
    stages_of,
    status_of,
    summary_of,
)
from ai_engine.stage import Stage
from ai_engine.stage_result import JobFailure, JobResult, StageResult
from ai_engine.webhooks.task import DeliveryOutcome

JOB = job()


def row(status: EngineStatus, **fields: Any) -> WorkflowStatus:
    one = WorkflowStatus()
    known: dict[str, Any] = {
        "workflow_id": JOB.job_id,
        "status": status.value,
        "input": {"args": (JOB.to_dict(),), "kwargs": {}},
        "output": None,
        "completed_at": None,
        "delay_until_epoch_ms": None,
    }
    for name, value in (known | fields).items():
        setattr(one, name, value)
    return one


def attempt(status: EngineStatus, **fields: Any) -> WorkflowStatus:
    return row(status, workflow_id=str(EntryId(JOB.job_id, 3)), **fields)


def test_the_job_of_a_row_is_the_one_that_was_submitted() -> None:
    assert job_of(row(EngineStatus.ENQUEUED)) == JOB


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (EngineStatus.ENQUEUED, JobStatus.QUEUED),
        (EngineStatus.DELAYED, JobStatus.QUEUED),
        (EngineStatus.PENDING, JobStatus.RUNNING),
        (EngineStatus.CANCELLED, JobStatus.CANCELLED),
        (EngineStatus.ERROR, JobStatus.FAILED),
        (EngineStatus.OUT_OF_ATTEMPTS, JobStatus.FAILED),
    ],
)
def test_each_status_of_the_engine_is_one_of_the_job(status: EngineStatus, expected: JobStatus) -> None:
    one = row(status)
    assert status_of(one, result_of(one)) == expected


def test_a_run_that_the_engine_ended_well_may_be_a_job_that_failed() -> None:
    good, bad = JobResult({"shape": 1.0}), JobResult(failure=JobFailure.of(NoForeground("nothing")))
    for result, expected in ((good, JobStatus.SUCCEEDED), (bad, JobStatus.FAILED)):
        one = row(EngineStatus.SUCCESS, output=result.to_dict())
        assert result_of(one) == result
        assert status_of(one, result_of(one)) == expected


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (EngineStatus.CANCELLED, JobCancelled.code),
        (EngineStatus.OUT_OF_ATTEMPTS, WorkerLost.code),
        (EngineStatus.ERROR, InternalError.code),
    ],
)
def test_what_the_engine_ended_itself_has_a_code(status: EngineStatus, code: str) -> None:
    result = result_of(row(status))
    assert result is not None
    assert result.failure is not None
    assert result.failure.code == code


def test_a_summary_has_an_end_only_when_the_job_has() -> None:
    over = summary_of(row(EngineStatus.SUCCESS, output=JobResult().to_dict(), completed_at=2500))
    assert (over.status, over.ended_at_s) == (JobStatus.SUCCEEDED, 2.5)
    assert summary_of(row(EngineStatus.PENDING, completed_at=2500)).ended_at_s is None


def test_an_attempt_is_counted_by_its_entry() -> None:
    assert attempt_number(attempt(EngineStatus.PENDING)) == 3


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (EngineStatus.PENDING, "sending"),
        (EngineStatus.CANCELLED, "replaced"),
        (EngineStatus.ERROR, "dead"),
        (EngineStatus.OUT_OF_ATTEMPTS, "dead"),
    ],
)
def test_an_attempt_that_left_no_outcome_has_the_state_of_its_entry(status: EngineStatus, state: str) -> None:
    assert attempt_of(attempt(status)).state == state


def test_an_attempt_that_waits_says_until_when() -> None:
    waiting = attempt_of(attempt(EngineStatus.DELAYED, delay_until_epoch_ms=4000))
    assert (waiting.state, waiting.at) == ("waiting", "1970-01-01T00:00:04Z")
    assert attempt_of(attempt(EngineStatus.ENQUEUED)).at is None


def test_an_attempt_that_was_made_is_what_its_outcome_says() -> None:
    outcome = DeliveryOutcome(True, 204, "ok", 9.0, None, form="binary")
    made = attempt_of(attempt(EngineStatus.SUCCESS, output=outcome.to_dict()))
    assert (made.attempt, made.state, made.status, made.at, made.form) == (
        3,
        "accepted",
        204,
        "1970-01-01T00:00:09Z",
        "binary",
    )


def test_a_pedestal_is_no_mesh_though_both_are_downloads() -> None:
    slab, mesh = (Artifact(f"{JOB.job_id}/{name}", "0" * 64, 9) for name in ("slab", "mesh"))
    steps: list[dict[str, Any]] = [
        {"function_name": "begin", "output": 1.5},
        {"function_name": "download", "output": StageResult(mesh, {}, pedestal=slab).to_dict()},
    ]
    assert (stages_of(steps), pedestal_of(steps)) == ({}, slab)

    steps.append({"function_name": "download", "output": StageResult(mesh, {}).to_dict()})

    assert stages_of(steps)[Stage.DOWNLOAD].artifact == mesh
    assert pedestal_of(steps) == slab
