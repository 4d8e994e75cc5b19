"""The table beside the job engine, on a real database whose jobs come and go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.sample_job import job

from ai_engine.job import Artifact, DecodedShape, JobStatus
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.dbos_setup import open_database
from ai_engine.job_queue.job_index import JobFilter, JobIndex, Place
from ai_engine.job_queue.queue import JobQueue, open_queue
from ai_engine.settings import Settings


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(open_database(Settings(data_dir=tmp_path))) as database:
        yield database


@pytest.fixture
def engine(tmp_path: Path, database: Database) -> Iterator[JobQueue]:
    with closing(open_queue(Settings(data_dir=tmp_path), database)) as engine:
        yield engine


@pytest.fixture
def index(engine: JobQueue, database: Database) -> JobIndex:
    return JobIndex(database)


def ids(index: JobIndex, status: JobStatus | None = None) -> list[str]:
    return [place.job_id for place in index.page(JobFilter(status=status), 10)]


def test_a_cursor_brings_back_the_very_place_it_was_made_of() -> None:
    place = Place(1790000000.1234567, "ab" * 16)

    assert Place.of_cursor(place.to_cursor()) == place


def test_a_job_that_ended_is_listed_by_whether_it_has_a_mesh(
    engine: JobQueue, index: JobIndex, tmp_path: Path
) -> None:
    good, bad = job(), job()
    for one in (good, bad):
        engine.submit(one)
        index.note_end(one.job_id, has_failed=one is bad)
    database = sa.create_engine(Settings(data_dir=tmp_path).jobs_database_url)
    with database.begin() as connection:  # as a worker leaves them
        connection.execute(sa.text("UPDATE workflow_status SET status = 'SUCCESS'"))
    database.dispose()

    assert ids(index, JobStatus.SUCCEEDED) == [good.job_id]
    assert ids(index, JobStatus.FAILED) == [bad.job_id]
    assert ids(index, JobStatus.QUEUED) == []


def test_a_row_without_a_job_is_not_listed_and_gives_way_to_a_new_job(
    engine: JobQueue, index: JobIndex
) -> None:
    one = job()
    engine.submit(one)
    engine._client.delete_workflows([one.job_id])

    assert ids(index) == []
    engine.submit(one)
    assert ids(index) == [one.job_id]


def test_what_is_forgotten_is_not_listed(engine: JobQueue, index: JobIndex) -> None:
    kept, gone = job(), job()
    engine.submit(kept)
    engine.submit(gone)

    index.forget([gone.job_id])

    assert ids(index) == [kept.job_id]


def test_the_variants_of_a_job_are_listed_and_forgotten_with_their_rows(
    engine: JobQueue, index: JobIndex
) -> None:
    first = job()
    mesh = Artifact(f"{first.job_id}/mesh.npz", "0" * 64, 9)
    variants = [job(decoded=DecodedShape(first.job_id, mesh, None, {})) for _ in range(2)]
    for one in (first, *variants):
        engine.submit(one)

    def listed() -> set[str]:
        return {place.job_id for place in index.page(JobFilter(variant_of=first.job_id), 10)}

    assert listed() == {one.job_id for one in variants}
    index.forget([variants[0].job_id])
    assert listed() == {variants[1].job_id}
    assert index.page(JobFilter(variant_of=variants[1].job_id), 10) == []
