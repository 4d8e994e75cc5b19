"""The asking side of the job engine, on a real database; `tests/service` has the working side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dbos import WorkflowStatus
from service.house import free_port
from support.open_queues import opened_queue
from support.postgres_server import PostgresServer
from support.sample_job import job

from ai_engine.errors import (
    FileNotReady,
    InvalidField,
    JobNotFound,
    KeyReused,
    NoWebhook,
    QueueFull,
    StartupError,
)
from ai_engine.job import Job, JobStatus
from ai_engine.job_queue.dbos_setup import DeliveryPlace, delivery_options, open_database
from ai_engine.job_queue.entries import EntryId
from ai_engine.job_queue.job_index import JobFilter
from ai_engine.job_queue.queue import JobQueue
from ai_engine.job_queue.records import result_of
from ai_engine.job_queue.worker_leases import WorkerState
from ai_engine.settings import Settings
from ai_engine.stage_result import JobResult


@pytest.fixture
def connected(tmp_path: Path, each_database_url: str) -> Iterator[Callable[..., JobQueue]]:
    with ExitStack() as opened:

        def connect(**settings: Any) -> JobQueue:
            wished = Settings(data_dir=tmp_path, database_url=each_database_url, **settings)
            return opened.enter_context(opened_queue(wished))

        yield connect


def test_a_submitted_job_can_be_read_back_by_another_process(connected: Callable[..., JobQueue]) -> None:
    asked = job()

    submitted = connected().submit(asked)
    record = connected().get(asked.job_id)

    assert (submitted.is_new, submitted.queue_position, submitted.eta_s) == (True, 1, None)
    assert record.summary.job == asked
    assert (record.summary.status, record.stage, record.progress, record.summary.result) == (
        JobStatus.QUEUED,
        "queue",
        0.0,
        None,
    )


def test_the_same_request_under_one_id_is_one_job_and_another_is_refused(
    connected: Callable[..., JobQueue],
) -> None:
    engine, asked = connected(), job()

    first, again = engine.submit(asked), engine.submit(asked)

    assert (first.is_new, again.is_new) == (True, False)
    with pytest.raises(KeyReused):
        engine.submit(job(job_id=asked.job_id, request_sha256="1" * 64))


def test_a_full_queue_has_no_room(connected: Callable[..., JobQueue]) -> None:
    engine = connected(max_queued_jobs=2)
    engine.check_room()
    engine.submit(job())
    engine.submit(job())

    with pytest.raises(QueueFull) as refused:
        engine.check_room()
    assert refused.value.retry_after_s is not None


def test_a_full_queue_still_takes_one_job_of_an_owner_who_has_none_open(
    connected: Callable[..., JobQueue],
) -> None:
    engine = connected(max_queued_jobs=2)
    for _ in range(2):
        engine.submit(job(owner="shop"))

    engine.check_room("press")
    engine.submit(job(owner="press"))

    for owner in ("shop", "press", None):
        with pytest.raises(QueueFull):
            engine.check_room(owner)


def test_the_wait_is_reckoned_from_what_jobs_took_and_shared_by_the_workers(
    connected: Callable[..., JobQueue],
) -> None:
    engine, done = connected(), job()
    engine.submit(done)
    end(
        engine,
        done,
        JobResult({"queue": 99.0, "download": 1.0, "denoise": 6.0, "decode": 2.0, "finish": 3.0}),
    )

    assert connected().submit(job()).eta_s == 8 + 4, "on the device, and besides"
    for slot in ("machine:cuda:0", "machine:cuda:1"):
        engine._leases.take(slot, slot)
        engine._leases.describe(slot, WorkerState.READY)
    assert connected().submit(job()).eta_s == 2 * 8 / 2 + 4


def end(engine: JobQueue, job: Job, result: JobResult) -> None:
    """The job's row as it is when a worker has done the job."""
    written = engine._client._serializer.serialize(result.to_dict())
    as_done = (
        f"UPDATE {engine._rows._table.fullname} SET status = 'SUCCESS', completed_at = 1, output = :output"
    )
    with engine._rows._database.write() as connection:
        connection.execute(
            sa.text(f"{as_done} WHERE workflow_uuid = :job_id"), {"output": written, "job_id": job.job_id}
        )


def test_a_waiting_job_can_be_cancelled_once_and_for_all(connected: Callable[..., JobQueue]) -> None:
    engine, asked = connected(), job()
    engine.submit(asked)

    engine.cancel(engine.summary(asked.job_id))
    engine.cancel(engine.summary(asked.job_id))

    record = engine.get(asked.job_id)
    assert record.summary.status == JobStatus.CANCELLED
    assert record.summary.result is not None
    assert record.summary.result.failure is not None
    assert record.summary.ended_at_s is not None


def test_what_is_no_job_is_not_found(connected: Callable[..., JobQueue]) -> None:
    engine = connected()

    for job_id in ("", "x" * 5000, "a'; drop table workflow_status; --", "%"):
        with pytest.raises(JobNotFound):
            engine.get(job_id)


def test_the_database_file_lets_readers_and_writers_work_at_once(tmp_path: Path) -> None:
    open_database(Settings(data_dir=tmp_path)).close()

    assert (tmp_path / "jobs.sqlite").read_bytes()[18:20] == b"\x02\x02", "write-ahead log"


@pytest.mark.parametrize("is_running", [True, False], ids=["wrong password", "no server"])
def test_a_database_that_cant_be_reached_is_named_with_the_reason_and_without_the_password(
    postgres: PostgresServer, is_running: bool
) -> None:
    port = postgres.port if is_running else free_port()
    settings = Settings(database_url=f"postgresql://postgres:hunter2@127.0.0.1:{port}/jobs")

    with pytest.raises(StartupError) as refused:
        open_database(settings)

    told = str(refused.value)
    assert told.startswith(f"the job database postgresql://127.0.0.1:{port}/jobs can't be opened: ")
    assert ("password authentication failed" if is_running else "Connection refused") in told
    assert "hunter2" not in told


def test_every_attempt_of_a_delivery_has_one_id_and_waits_its_time() -> None:
    first, second = EntryId("j", 1), EntryId("j", 2)
    place = DeliveryPlace("delivery", "/hook.example.com", None)

    assert delivery_options(first, 0.0, place)["workflow_id"] == "j:deliver:1"
    assert "delay_seconds" not in delivery_options(first, 0.0, place)
    assert delivery_options(second, 5.0, place)["delay_seconds"] == 5.0


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("CANCELLED", "cancelled"),
        ("MAX_RECOVERY_ATTEMPTS_EXCEEDED", "worker_lost"),
        ("ERROR", "internal"),
        ("PENDING", None),
        ("ENQUEUED", None),
    ],
)
def test_however_the_engine_ended_a_job_there_is_a_code_for_it(status: str, code: str | None) -> None:
    row = WorkflowStatus()
    row.status = status  # type: ignore[assignment]

    result = result_of(row)

    assert (result and result.failure and result.failure.code) == code


def test_a_submission_that_fails_half_way_leaves_nothing_behind(
    connected: Callable[..., JobQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = connected()

    def broken(*_: Any) -> None:
        raise RuntimeError("the database went away")

    with monkeypatch.context() as patch:
        patch.setattr(engine._client, "enqueue_in_transaction", broken)
        with pytest.raises(RuntimeError):
            engine.submit(job())

    assert engine.jobs(JobFilter(), 10).jobs == []


def test_the_list_is_newest_first_and_comes_in_pages_that_neither_skip_nor_repeat(
    connected: Callable[..., JobQueue],
) -> None:
    engine = connected()
    jobs = [job(accepted_at_s=float(1000 + n // 2)) for n in range(7)]
    for one in jobs:
        engine.submit(one)

    pages: list[list[Job]] = []
    cursor = None
    while cursor is not None or not pages:
        page = engine.jobs(JobFilter(), 3, cursor)
        pages.append([known.job for known in page.jobs])
        cursor = page.next_cursor

    newest_first = sorted(jobs, key=lambda one: (one.accepted_at_s, one.job_id), reverse=True)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [one for page in pages for one in page] == newest_first


def test_the_list_can_be_of_one_session_one_owner_or_one_status(connected: Callable[..., JobQueue]) -> None:
    engine = connected()
    waiting = job(session_id="mine", owner="anna")
    stopped = job(session_id="yours", owner="anna")
    for one in (waiting, stopped, job(session_id="yours", owner="bert")):
        engine.submit(one)
    engine.cancel(engine.summary(stopped.job_id))

    def listed(**wanted: Any) -> set[str]:
        return {known.job.job_id for known in engine.jobs(JobFilter(**wanted), 10).jobs}

    assert listed(session_id="mine") == {waiting.job_id}
    assert listed(owner="anna") == {waiting.job_id, stopped.job_id}
    assert listed(status=JobStatus.CANCELLED) == {stopped.job_id}
    assert listed(owner="anna", status=JobStatus.QUEUED) == {waiting.job_id}
    assert listed(status=JobStatus.SUCCEEDED) == listed(session_id="nobody's") == set()


@pytest.mark.parametrize("cursor", ["?", "äöü", "bm9uZQ", "MSAyIDM", "a" * 255])
def test_a_cursor_that_is_none_of_ours_is_refused(connected: Callable[..., JobQueue], cursor: str) -> None:
    with pytest.raises(InvalidField):
        connected().jobs(JobFilter(), 10, cursor)


def test_the_latest_attempt_counts_whichever_one_is_named(connected: Callable[..., JobQueue]) -> None:
    engine, first = connected(), job()
    second = first.again(2.0)
    third = second.again(3.0)
    for attempt in (first, third, second):
        engine.submit(attempt)

    assert {engine.last_attempt(attempt).job.attempt for attempt in (first, second, third)} == {3}


def test_a_job_without_a_webhook_or_without_an_end_is_not_delivered_again(
    connected: Callable[..., JobQueue],
) -> None:
    engine, quiet, queued = connected(), job(), job(webhook_url="https://example.com/hook")
    engine.submit(quiet)
    engine.submit(queued)

    with pytest.raises(NoWebhook):
        engine.redeliver(engine.summary(quiet.job_id))
    with pytest.raises(FileNotReady):
        engine.redeliver(engine.summary(queued.job_id))
