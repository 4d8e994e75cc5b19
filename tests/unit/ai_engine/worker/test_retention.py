"""Rounds of clearing away, on real databases and a real disk; the clock is given."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from dbos import DBOSClient
from support.sample_job import job

from ai_engine.errors import JobNotFound
from ai_engine.job import Artifact, PictureSource
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.dbos_setup import (
    APPLICATION,
    DELIVERY_QUEUE,
    DeliveryPlace,
    delivery_options,
    open_database,
)
from ai_engine.job_queue.entries import EntryId
from ai_engine.job_queue.on_demand import CutOutTask, PreviewTask
from ai_engine.job_queue.queue import JobQueue, open_queue
from ai_engine.job_queue.workflow_table import WorkflowTable
from ai_engine.settings import Settings
from ai_engine.storage.store import LocalStore
from ai_engine.worker import retention as retention_module
from ai_engine.worker.retention import ROW_OUTLIVES_FILES_S, Retention, Swept

HOUR_S = 3600.0
KEPT_S = 168 * HOUR_S
NOTHING = Swept(0, 0, 0)
WAITING = DeliveryPlace(DELIVERY_QUEUE, "/hook.example.com", None)


@dataclass
class Place:
    """A service's database and files, without its processes."""

    engine: JobQueue
    client: DBOSClient
    rows: WorkflowTable
    store: LocalStore
    retention: Retention

    def ended_job(self) -> tuple[str, Artifact]:
        """A job that has just ended, and a file of it."""
        asked = job()
        self.engine.submit(asked)
        self.engine.cancel(self.engine.summary(asked.job_id))
        return asked.job_id, self.store.put_bytes(asked.job_id, "mesh.stl", b"triangles")

    def sweep(self, later_s: float) -> Swept:
        return self.retention.sweep(time.time() + later_s)

    def has_row(self, job_id: str) -> bool:
        try:
            self.engine.get(job_id)
        except JobNotFound:
            return False
        return True


@pytest.fixture
def place(tmp_path: Path, each_database_url: str) -> Iterator[Place]:
    settings = Settings(data_dir=tmp_path, database_url=each_database_url)
    with closing(open_database(settings)) as database, closing(open_queue(settings, database)) as engine:
        client = DBOSClient(system_database_url=each_database_url, application_name=APPLICATION)
        rows, store = WorkflowTable(database), LocalStore(tmp_path / "jobs")
        yield Place(engine, client, rows, store, Retention(rows, store, KEPT_S, client.delete_workflows))
        client.destroy()


def test_files_of_cut_outs_go_after_a_day(place: Place) -> None:
    source = PictureSource(uuid.uuid4().hex, "https://example.com/a.png", None, None, None, None, "auto")
    place.engine.cut_outs.submit(CutOutTask(source, None, 0.0, 0.0))
    artifact = place.store.put_bytes(source.entry_id, "cutout.png", b"pixels")
    assert place.sweep(25 * HOUR_S) == NOTHING, "it is not over"

    place.engine.cut_outs.cancel(source.entry_id)

    assert place.sweep(23 * HOUR_S) == NOTHING
    assert place.sweep(25 * HOUR_S) == Swept(1, 0, 0)
    assert not place.store.has(artifact)
    assert place.sweep(KEPT_S + 25 * HOUR_S) == Swept(0, 1, 0)


def test_files_go_when_their_time_is_over_and_the_row_a_day_later(place: Place) -> None:
    job_id, artifact = place.ended_job()
    place.engine.previews.ask(PreviewTask(job_id, artifact, is_z_up=False), None)
    place.client.cancel_workflow(f"{job_id}:preview")

    assert place.sweep(KEPT_S - HOUR_S) == NOTHING
    assert place.store.has(artifact)

    assert place.sweep(KEPT_S + HOUR_S) == Swept(1, 0, 0)
    assert place.sweep(KEPT_S + 2 * HOUR_S) == NOTHING
    assert (place.store.has(artifact), place.has_row(job_id)) == (False, True)

    assert place.sweep(KEPT_S + ROW_OUTLIVES_FILES_S + HOUR_S) == Swept(0, 2, 0)
    assert place.client.list_workflows() == []


def test_a_job_with_a_waiting_delivery_stays_whole_until_the_delivery_is_over(place: Place) -> None:
    job_id, artifact = place.ended_job()
    place.client.enqueue(delivery_options(EntryId(job_id, 1), 0.0, WAITING), {}, 1)
    place.client.cancel_workflow(f"{job_id}:deliver:1")
    place.client.enqueue(delivery_options(EntryId(job_id, 2), 3600.0, WAITING), {}, 2)

    assert place.sweep(10 * KEPT_S) == NOTHING
    assert (place.store.has(artifact), place.has_row(job_id)) == (True, True)

    place.client.cancel_workflow(f"{job_id}:deliver:2")
    assert place.sweep(10 * KEPT_S) == Swept(1, 3, 0)
    assert place.client.list_workflows() == []


def test_a_job_that_waits_or_runs_stays_however_old_it_is(place: Place) -> None:
    asked = job()
    place.engine.submit(asked)
    picture = place.store.put_bytes(asked.job_id, "picture", b"pixels")
    os.utime(place.store.path(picture), (0, 0))
    os.utime(place.store.path(picture).parent, (0, 0))

    assert place.sweep(10 * KEPT_S) == NOTHING
    assert (place.store.has(picture), place.has_row(asked.job_id)) == (True, True)


def test_files_without_a_job_go_when_they_are_old(place: Place) -> None:
    orphan = place.store.put_bytes(uuid.uuid4().hex, "picture", b"pixels")
    stranger = place.store.put_bytes("notes-of-somebody", "notes", b"keep")

    assert place.sweep(KEPT_S - HOUR_S) == NOTHING
    assert place.sweep(KEPT_S + HOUR_S) == Swept(0, 0, 1)
    assert (place.store.has(orphan), place.store.has(stranger)) == (False, True)


def test_more_jobs_than_fit_a_batch_go_in_one_round_past_those_that_stay(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_module, "BATCH", 2)
    jobs = [place.ended_job() for _ in range(7)]
    for job_id, _ in jobs[:3]:
        place.client.enqueue(delivery_options(EntryId(job_id, 1), 3600.0, WAITING), {}, 1)

    assert place.sweep(10 * KEPT_S) == Swept(4, 4, 0)
    assert [place.store.has(artifact) for _, artifact in jobs] == [True] * 3 + [False] * 4


def test_an_idempotency_key_can_be_used_anew_when_its_row_is_gone(place: Place) -> None:
    job_id, _ = place.ended_job()
    place.sweep(10 * KEPT_S)

    again = place.engine.submit(job(job_id=job_id, request_sha256="1" * 64))

    assert again.is_new
    place.engine.cancel(place.engine.summary(job_id))
    place.store.put_bytes(job_id, "mesh.stl", b"triangles")
    assert place.sweep(KEPT_S + HOUR_S) == Swept(1, 0, 0), "the note about its namesake is gone too"


def test_a_round_that_broke_off_is_finished_by_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, artifact = place.ended_job()

    def break_off(_: str) -> None:
        raise OSError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(WorkflowTable, "note_files_gone", lambda self, job_id: break_off(job_id))
        with pytest.raises(OSError, match="killed here"):
            place.sweep(KEPT_S + HOUR_S)

    assert place.sweep(KEPT_S + HOUR_S) == Swept(1, 0, 0)
    assert (place.store.has(artifact), place.has_row(job_id)) == (False, True)


def test_what_a_job_told_of_its_progress_goes_with_its_row(place: Place, each_database_url: str) -> None:
    job_id, _ = place.ended_job()
    database = Database(each_database_url)
    names = ("workflow_uuid", "key", "value", "offset", "function_id")
    streams = sa.table("streams", *map(sa.column, names), schema=database.dbos_schema)
    with database.write() as connection:
        connection.execute(
            sa.insert(streams).values(dict(zip(names, (job_id, "progress", "1", 0, 1), strict=True)))
        )

    place.sweep(10 * KEPT_S)

    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(streams)).scalar() == 0
    database.close()
