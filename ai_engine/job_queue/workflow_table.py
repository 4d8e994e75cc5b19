"""Queries on DBOS's own table of workflows: places in the queue, counts, rows that have ended.

The engine offers lists of rows, no counts; reads by the indexes it keeps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ai_engine.job_queue.database import Database
from ai_engine.job_queue.entries import ACTIVE, EngineStatus

_METADATA = sa.MetaData()
_FILES_GONE = sa.Table("ai_engine_files_gone", _METADATA, sa.Column("job_id", sa.Text, primary_key=True))
"""The jobs whose files were taken away while their rows are kept."""
_COLUMNS = (
    "workflow_uuid",
    "name",
    "queue_name",
    "status",
    "priority",
    "created_at",
    "completed_at",
    "executor_id",
    "authenticated_user",
    "queue_partition_key",
)
WAITING = EngineStatus.ENQUEUED.value
RUNNING = EngineStatus.PENDING.value
_OPEN = f"status IN ('{WAITING}', '{RUNNING}')"
_IS_OPEN = sa.text(_OPEN)
_WAITS = sa.text(f"{_OPEN} AND status = '{WAITING}'")
_RUNS = sa.text(f"{_OPEN} AND status = '{RUNNING}'")
_IS_DELAYED = sa.text(f"status = '{EngineStatus.DELAYED.value}'")
"""With the words of the engine's partial indexes, and no parameters: SQLite would look through all rows otherwise."""
_ACTIVE = [status.value for status in ACTIVE]


@dataclass(frozen=True)
class QueueDepth:
    """How many entries of a queue are in one state."""

    queue: str
    state: str
    num_entries: int
    oldest_at_s: float
    """When the oldest of them was submitted, in seconds since 1970."""


@dataclass(frozen=True)
class OwnerDepth:
    """How many entries of a queue one owner has in one state."""

    queue: str
    state: str
    owner: str
    """Empty where keys are off."""
    num_entries: int


@dataclass(frozen=True)
class RunningRow:
    """An entry of a queue that a worker has."""

    workflow_id: str
    executor_id: str
    queue: str
    owner: str | None


def fair_place(among_own: int, others: Iterable[int]) -> int:
    """The place of an entry that is `among_own`-th of its partition, beside `others` in each of the rest.

    Partitions take turns, so at most as many of each other one come first.
    """
    return among_own + sum(min(among_own, number) for number in others)


@dataclass(frozen=True)
class EndedRow:
    """A workflow that is over."""

    workflow_id: str
    ended_at_ms: int
    """Since 1970."""


def _is_one_of(queue_name: sa.ColumnElement[str], queues: Collection[str]) -> sa.ColumnElement[bool]:
    """True for a queue of one of these names, where a % stands for any text."""
    exact = [name for name in queues if "%" not in name]
    patterns = [queue_name.like(name) for name in queues if "%" in name]
    return sa.or_(queue_name.in_(exact), *patterns)


def workflow_status(database: Database) -> sa.TableClause:
    """DBOS's own table with the columns that are read here."""
    return sa.table("workflow_status", *map(sa.column, _COLUMNS), schema=database.dbos_schema)


class WorkflowTable:
    """The engine's table of workflows, which `open_database` made, and the notes whose files are gone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._table = workflow_status(database)
        database.make_tables(_METADATA)

    def queue_of(self, workflow_id: str) -> str | None:
        """The queue that a workflow was put into; None where there is no such workflow, or it was in none."""
        query = sa.select(self._table.c.queue_name).where(self._table.c.workflow_uuid == workflow_id)
        with self._database.read() as connection:
            return connection.execute(query).scalar()

    def num_waiting(self, *queues: str) -> int:
        """How many wait in the queues."""
        with self._database.read() as connection:
            return int(connection.execute(self._count(*queues)).scalar_one())

    def place(self, workflow_id: str, queue: str) -> int:
        """The number of workflows that come first in the queue, this one included; 0 when it does not wait."""
        row = self._table.c
        order = (row.priority, row.created_at, row.workflow_uuid)
        mine = sa.select(row.queue_partition_key, *order).where(
            row.workflow_uuid == workflow_id, *self._waiting(queue)
        )
        with self._database.read() as connection:
            found = connection.execute(mine).first()
            if found is None:
                return 0
            own = self._count(queue).where(
                row.queue_partition_key == found[0], sa.tuple_(*order) <= sa.tuple_(*found[1:])
            )
            among_own = int(connection.execute(own).scalar_one())
        others = self.waiting_by_partition(queue)
        del others[found[0]]
        return fair_place(among_own, others.values())

    def waiting_by_partition(self, *queues: str) -> Counter[str]:
        """How many wait in each partition of the queues."""
        partition = sa.func.coalesce(self._table.c.queue_partition_key, "")
        query = sa.select(partition, sa.func.count()).where(*self._waiting(*queues)).group_by(partition)
        with self._database.read() as connection:
            return Counter({row[0]: row[1] for row in connection.execute(query)})

    def latest_successes(self, name: str, most: int, queue: str | None = None) -> Sequence[str]:
        """The ids of the workflows of this name, and queue, that came to their end last, the latest first."""
        row = self._table.c
        query = sa.select(row.workflow_uuid).where(
            row.completed_at.is_not(None), row.name == name, row.status == EngineStatus.SUCCESS.value
        )
        if queue is not None:
            query = query.where(row.queue_name == queue)
        with self._database.read() as connection:
            ordered = query.order_by(row.completed_at.desc()).limit(most)
            return list(connection.execute(ordered).scalars())

    def active(self, name: str) -> set[str]:
        """The ids of the workflows of this name that wait or are worked on."""
        row = self._table.c
        query = sa.select(row.workflow_uuid).where(row.status.in_(_ACTIVE), row.name == name)
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def ended_before(
        self, moment_ms: int, most: int, *, after: EndedRow | None = None, with_files: str | None = None
    ) -> Sequence[EndedRow]:
        """Up to `most` workflows that ended before the moment, the earliest first, from behind `after` on.

        `with_files`: only those of this name whose files were not taken away.
        """
        row = self._table.c
        order = sa.tuple_(row.completed_at, row.workflow_uuid)
        query = sa.select(row.workflow_uuid, row.completed_at).where(
            row.completed_at < moment_ms, row.status.not_in(_ACTIVE)
        )
        if after is not None:
            query = query.where(order > sa.tuple_(after.ended_at_ms, after.workflow_id))
        if with_files is not None:
            gone = sa.select(_FILES_GONE.c.job_id).where(_FILES_GONE.c.job_id == row.workflow_uuid)
            query = query.where(row.name == with_files, sa.not_(gone.exists()))
        with self._database.read() as connection:
            found = connection.execute(query.order_by(row.completed_at, row.workflow_uuid).limit(most))
            return [EndedRow(*values) for values in found]

    def owners(self, queues: Collection[str]) -> list[str]:
        """The workers that have something of these queues, by their executor ids."""
        row = self._table.c
        query = sa.select(row.executor_id).where(
            _is_one_of(row.queue_name, queues), _RUNS, row.executor_id.is_not(None)
        )
        with self._database.read() as connection:
            return list(connection.execute(query.distinct()).scalars())

    def existing_ids(self, workflow_ids: Collection[str]) -> set[str]:
        """Those of the ids that there are rows of."""
        query = sa.select(self._table.c.workflow_uuid).where(self._table.c.workflow_uuid.in_(workflow_ids))
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def note_files_gone(self, job_id: str) -> None:
        """Notes that the job's files were taken away."""
        with self._database.write() as connection:
            connection.execute(sa.delete(_FILES_GONE).where(_FILES_GONE.c.job_id == job_id))
            connection.execute(sa.insert(_FILES_GONE).values(job_id=job_id))

    def forget(self, job_ids: Collection[str]) -> None:
        """Drops the notes about jobs whose rows are gone."""
        with self._database.write() as connection:
            connection.execute(sa.delete(_FILES_GONE).where(_FILES_GONE.c.job_id.in_(job_ids)))

    def depths(self) -> Sequence[QueueDepth]:
        """How many entries of each queue wait or run; those that are 0 are left out."""
        row = self._table.c
        query = (
            sa.select(row.queue_name, row.status, sa.func.count(), sa.func.min(row.created_at))
            .where(_IS_OPEN, row.queue_name.is_not(None))
            .group_by(row.queue_name, row.status)
        )
        with self._database.read() as connection:
            return [QueueDepth(one[0], one[1], one[2], one[3] / 1000) for one in connection.execute(query)]

    def by_owner(self, queues: Collection[str]) -> Sequence[OwnerDepth]:
        """How many entries of these queues each owner has, waiting or running; those that are 0 are left out."""
        row = self._table.c
        owner = sa.func.coalesce(row.authenticated_user, "")
        query = (
            sa.select(row.queue_name, row.status, owner, sa.func.count())
            .where(_IS_OPEN, _is_one_of(row.queue_name, queues))
            .group_by(row.queue_name, row.status, owner)
        )
        with self._database.read() as connection:
            return [OwnerDepth(*one) for one in connection.execute(query)]

    def running(self, queues: Collection[str], most: int) -> Sequence[RunningRow]:
        """Up to `most` entries of these queues that workers have, the oldest first."""
        row = self._table.c
        query = (
            sa.select(row.workflow_uuid, row.executor_id, row.queue_name, row.authenticated_user)
            .where(_is_one_of(row.queue_name, queues), _RUNS, row.executor_id.is_not(None))
            .order_by(row.created_at)
            .limit(most)
        )
        with self._database.read() as connection:
            return [RunningRow(*one) for one in connection.execute(query)]

    def num_delayed(self, queues: Collection[str]) -> int:
        """How many entries of `queues` are to begin later."""
        query = (
            sa.select(sa.func.count())
            .select_from(self._table)
            .where(_IS_DELAYED, self._table.c.queue_name.in_(queues))
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def num_open_of(self, owner: str, queues: Collection[str]) -> int:
        """How many of this owner's entries wait or run in `queues`."""
        row = self._table.c
        query = (
            sa.select(sa.func.count())
            .select_from(self._table)
            .where(_IS_OPEN, _is_one_of(row.queue_name, queues), row.authenticated_user == owner)
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def _count(self, *queues: str) -> sa.Select[int]:
        return sa.select(sa.func.count()).select_from(self._table).where(*self._waiting(*queues))

    def _waiting(self, *queues: str) -> list[sa.ColumnElement[bool] | sa.TextClause]:
        return [_is_one_of(self._table.c.queue_name, queues), _WAITS]
