from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.open_queues import opened_queue
from support.sample_job import job

from ai_engine.job_queue.database import Database
from ai_engine.job_queue.dbos_setup import PIPELINE_QUEUE, WEBHOOK_QUEUE
from ai_engine.job_queue.queue import JobQueue
from ai_engine.job_queue.workflow_table import WorkflowTable
from ai_engine.settings import Settings


@pytest.fixture
def engine(tmp_path: Path, each_database_url: str) -> Iterator[JobQueue]:
    with opened_queue(Settings(data_dir=tmp_path, database_url=each_database_url)) as queue:
        yield queue


@pytest.fixture
def rows(engine: JobQueue, each_database_url: str) -> Iterator[WorkflowTable]:
    with closing(Database(each_database_url)) as database:
        yield WorkflowTable(database)


def test_waiting_jobs_are_counted_and_others_are_not(engine: JobQueue, rows: WorkflowTable) -> None:
    jobs = [job() for _ in range(3)]
    for one in jobs:
        engine.submit(one)
    engine.cancel(engine.summary(jobs[0].job_id))

    assert rows.num_waiting(PIPELINE_QUEUE) == 2
    assert rows.num_waiting("another queue") == 0


def test_a_job_has_its_place_by_priority_and_then_by_its_time(engine: JobQueue, rows: WorkflowTable) -> None:
    first, second, urgent, patient = job(), job(), job(priority=-5), job(priority=5)
    for one in (patient, first, second, urgent):
        engine.submit(one)

    places = [rows.place(one.job_id, PIPELINE_QUEUE) for one in (urgent, first, second, patient)]

    assert (places[0], {places[1], places[2]}, places[3]) == (1, {2, 3}, 4)


def test_with_sqlite_jobs_of_the_same_second_have_their_places_as_they_came(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    jobs = [job() for _ in range(6)]
    with opened_queue(settings) as engine:
        for one in jobs:
            engine.submit(one)

        places = [engine.place(one.job_id) for one in jobs]

    assert [place and place.position for place in places] == [1, 2, 3, 4, 5, 6]


def test_a_job_that_does_not_wait_has_no_place(engine: JobQueue, rows: WorkflowTable) -> None:
    over = job()
    engine.submit(over)
    engine.cancel(engine.summary(over.job_id))

    assert rows.place(over.job_id, PIPELINE_QUEUE) == 0
    assert rows.place("no such job", PIPELINE_QUEUE) == 0


def test_only_who_works_on_something_is_its_owner(engine: JobQueue, rows: WorkflowTable) -> None:
    waiting, running = job(), job()
    for one in (waiting, running):
        engine.submit(one)
    work = sa.update(rows._table).where(rows._table.c.workflow_uuid == running.job_id)
    with rows._database.write() as connection:
        connection.execute(work.values(status="PENDING", executor_id="worker one"))

    assert rows.owners((PIPELINE_QUEUE, WEBHOOK_QUEUE)) == ["worker one"]
    assert rows.owners((WEBHOOK_QUEUE,)) == []


def test_a_count_looks_at_the_index_alone(rows: WorkflowTable) -> None:
    """Else it would grow with all jobs that ever were."""
    if rows._database.dbos_schema is not None:
        pytest.skip("an empty Postgres table is scanned whatever its indexes")
    query = rows._count(PIPELINE_QUEUE).compile(
        rows._database._engine, compile_kwargs={"literal_binds": True}
    )

    with rows._database.read() as connection:
        (plan,) = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()

    assert "COVERING INDEX idx_workflow_status_in_flight" in plan.detail


def test_the_place_counts_that_owners_take_turns(engine: JobQueue, rows: WorkflowTable) -> None:
    flood = [job(owner="shop", priority=-10) for _ in range(5)]
    own = [job(owner="press") for _ in range(2)]
    for one in (*flood, *own):
        engine.submit(one)

    assert [rows.place(one.job_id, PIPELINE_QUEUE) for one in own] == [2, 4]
    assert engine._estimates.total.add("press") == 3 + 3
    assert engine._estimates.total.add("a third") == 3
