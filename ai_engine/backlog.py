"""What waits and what runs in the job engine, counted in its own table by the index it keeps of open jobs.

The engine offers lists of rows, no counts. Reads only; knows one table and no job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ai_engine.lease import open_engine

WAITING = "ENQUEUED"
RUNNING = "PENDING"
_IS_OPEN = sa.text(f"status IN ('{WAITING}', '{RUNNING}')")
_IS_DELAYED = sa.text("status = 'DELAYED'")
"""Written out, as the conditions of the engine's partial indexes are: with parameters SQLite would scan the table."""


@dataclass(frozen=True)
class QueueDepth:
    """How many entries of a queue are in one state."""

    queue: str
    state: str
    num_entries: int
    oldest_at_s: float
    """When the oldest of them was submitted, in seconds since 1970."""


class Backlog:
    """The open entries of the job engine's queues."""

    def __init__(self, database_url: str) -> None:
        self._engine = open_engine(database_url)
        schema = None if self._engine.dialect.name == "sqlite" else "dbos"
        self._rows = sa.table(
            "workflow_status",
            *(sa.column(name) for name in ("queue_name", "status", "created_at", "authenticated_user")),
            schema=schema,
        )

    def depths(self) -> Sequence[QueueDepth]:
        """How many entries of each queue wait or run; those that are 0 are left out."""
        row = self._rows.c
        query = (
            sa.select(row.queue_name, row.status, sa.func.count(), sa.func.min(row.created_at))
            .where(_IS_OPEN, row.queue_name.is_not(None))
            .group_by(row.queue_name, row.status)
        )
        with self._engine.connect() as connection:
            return [QueueDepth(one[0], one[1], one[2], one[3] / 1000) for one in connection.execute(query)]

    def num_delayed(self, queue: str) -> int:
        """How many entries of `queue` are to begin later."""
        row = self._rows.c
        query = sa.select(sa.func.count()).select_from(self._rows).where(_IS_DELAYED, row.queue_name == queue)
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def num_open_of(self, owner: str, queue: str) -> int:
        """How many of this owner's entries wait or run in `queue`."""
        row = self._rows.c
        query = (
            sa.select(sa.func.count())
            .select_from(self._rows)
            .where(_IS_OPEN, row.queue_name == queue, row.authenticated_user == owner)
        )
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()
