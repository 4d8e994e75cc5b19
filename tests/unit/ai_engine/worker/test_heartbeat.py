from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from ai_engine.job_queue.database import Database
from ai_engine.job_queue.worker_leases import Leases
from ai_engine.monitoring.counters import Counters
from ai_engine.monitoring.job_metrics import JobMetrics
from ai_engine.storage.data_folder import DataFolder
from ai_engine.worker.heartbeat import LOST_LEASE_STATUS, Heartbeat


@pytest.fixture
def database(each_database_url: str) -> Iterator[Database]:
    with closing(Database(each_database_url)) as opened:
        yield opened


def heartbeat_of(executor_id: str, database: Database, lease_s: float = 60.0) -> Heartbeat:
    leases = Leases(database)
    leases.take(executor_id, "machine:cpu")
    return Heartbeat(leases, executor_id, lease_s, JobMetrics(Counters(database)), DataFolder([]))


def test_a_beat_says_how_much_of_the_weights_is_read(database: Database) -> None:
    heartbeat = heartbeat_of("one", database)
    heartbeat.note_loaded(0.25)

    heartbeat._beat()

    assert Leases(database).workers()[0].loaded == 0.25


def test_a_worker_that_was_declared_dead_leaves(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", leave)
    heartbeat = heartbeat_of("one", database)
    Leases(database).bury_stale("another", -1.0)

    with pytest.raises(SystemExit) as left:
        heartbeat._beat()

    assert left.value.code == LOST_LEASE_STATUS


def test_a_worker_declares_no_other_dead_in_its_own_first_lease_and_does_after_it(database: Database) -> None:
    Leases(database).take("silent", "machine:cuda")

    heartbeat_of("new", database, lease_s=60.0)._beat()
    assert all(worker.is_alive for worker in Leases(database).workers())

    old = heartbeat_of("old", database, lease_s=0.0)
    old._beat()
    assert not any(worker.is_alive for worker in Leases(database).workers() if worker.executor_id != "old")
