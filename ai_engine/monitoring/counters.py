"""Counters in the job database, so that one scrape of any API process covers all workers.

Counters are rows that only grow, so reading them costs the same after ten jobs and after a million. Knows no jobs
and no Prometheus.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ai_engine.job_queue.database import Database

KEPT_S = 3 * 24 * 3600.0
"""How long it is remembered that an event was counted: longer than any worker looks back."""

_METADATA = sa.MetaData()
_FIGURE = sa.Table(
    "ai_engine_figure",
    _METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("labels", sa.Text, primary_key=True),
    sa.Column("value", sa.Float, nullable=False),
)
_COUNTED = sa.Table(
    "ai_engine_counted",
    _METADATA,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("at_s", sa.Float, nullable=False, index=True),
)
_WORKER = sa.Table(
    "ai_engine_worker_figure",
    _METADATA,
    sa.Column("executor_id", sa.Text, primary_key=True),
    sa.Column("busy_s", sa.Float, nullable=False),
    sa.Column("busy_share", sa.Float, nullable=False),
    sa.Column("memory_peak_bytes", sa.BigInteger),
    sa.Column("at_s", sa.Float, nullable=False),
)
_ADD = sa.text(
    "INSERT INTO ai_engine_figure (name, labels, value) VALUES (:name, :labels, :value) "
    "ON CONFLICT (name, labels) DO UPDATE SET value = ai_engine_figure.value + excluded.value"
)
_COUNT = sa.text(
    "INSERT INTO ai_engine_counted (event_id, at_s) VALUES (:event_id, 1e12) ON CONFLICT (event_id) DO NOTHING"
)


@dataclass(frozen=True, order=True)
class Figure:
    """The name of a number: what is counted, and of which kind."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, name: str, **labels: str) -> Figure:
        """The number of this name and kind."""
        return cls(name, tuple(sorted(labels.items())))


@dataclass(frozen=True)
class WorkerFigures:
    """The device figures of one worker."""

    executor_id: str
    busy_s: float
    """Seconds that jobs had the device since the worker started."""
    busy_share: float
    """Of the last minute, 0 to 1."""
    memory_peak_bytes: int | None
    """The most of the device's memory that was in use; None where there is none of its own."""


class Counters:
    """The tables of numbers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._now_s = database.now_s
        database.make_tables(_METADATA)

    def add(self, amounts: Mapping[Figure, float]) -> None:
        """Adds to the numbers; those that were not there begin at 0."""
        with self._database.write() as connection:
            _add(connection, amounts)

    def add_once(self, event_id: str, amounts: Mapping[Figure, float]) -> bool:
        """Adds to the numbers unless this event was counted before; True when it was not."""
        with self._database.write() as connection:
            if connection.execute(_COUNT, {"event_id": event_id}).rowcount == 0:
                return False
            noted = sa.update(_COUNTED).where(_COUNTED.c.event_id == event_id).values(at_s=self._now_s)
            connection.execute(noted)
            connection.execute(sa.delete(_COUNTED).where(_COUNTED.c.at_s < self._now_s - KEPT_S))
            _add(connection, amounts)
        return True

    def all(self) -> Mapping[Figure, float]:
        """Every number."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(_FIGURE)).all()
        return {Figure.of(row.name, **json.loads(row.labels)): row.value for row in rows}

    def put_worker(self, worker: WorkerFigures) -> None:
        """Replaces what is known of a worker, and forgets workers that wrote nothing for long."""
        row = sa.insert(_WORKER).values(
            executor_id=worker.executor_id,
            busy_s=worker.busy_s,
            busy_share=worker.busy_share,
            memory_peak_bytes=worker.memory_peak_bytes,
            at_s=self._now_s,
        )
        is_past = sa.or_(_WORKER.c.executor_id == worker.executor_id, _WORKER.c.at_s < self._now_s - KEPT_S)
        with self._database.write() as connection:
            connection.execute(sa.delete(_WORKER).where(is_past))
            connection.execute(row)

    def workers(self) -> Sequence[WorkerFigures]:
        """The last figures of each worker, dead ones included."""
        columns = [column for column in _WORKER.c if column.name != "at_s"]
        with self._database.read() as connection:
            return [WorkerFigures(**row) for row in connection.execute(sa.select(*columns)).mappings()]


def _add(connection: sa.Connection, amounts: Mapping[Figure, float]) -> None:
    # In order, so that two processes never wait for each other's rows.
    rows = [
        {"name": figure.name, "labels": json.dumps(dict(figure.labels)), "value": amounts[figure]}
        for figure in sorted(amounts)
    ]
    if rows:
        connection.execute(_ADD, rows)
