"""The job index: a small row per job beside the job engine's own, to list (keyset pagination) and filter by.

A row is written in the same transaction that queues the job, so that neither is without the other. How a job
stands is read from the engine's table; only whether a finished one brought a mesh is noted here, by the worker,
before the job ends. Knows no queue and no workflow.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from ai_engine.errors import InvalidField
from ai_engine.job import Job, JobStatus
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.entries import BROKEN, WAITING, EngineStatus
from ai_engine.job_queue.workflow_table import workflow_status

_METADATA = sa.MetaData()
_JOB = sa.Table(
    "ai_engine_job",
    _METADATA,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("accepted_s", sa.Float, nullable=False),
    sa.Column("session_id", sa.Text, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("first_id", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("has_failed", sa.Boolean),
    sa.Index("ai_engine_job_by_time", "accepted_s", "job_id"),
    sa.Index("ai_engine_job_by_session", "session_id", "accepted_s", "job_id"),
    sa.Index("ai_engine_job_by_owner", "owner", "accepted_s", "job_id"),
    sa.Index("ai_engine_job_by_attempt", "first_id", "attempt"),
)
_VARIANT = sa.Table(
    "ai_engine_variant",
    _METADATA,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("variant_of", sa.Text, nullable=False, index=True),
)
"""The jobs that finish another one's mesh again."""
_STATES: dict[JobStatus, Collection[EngineStatus]] = {
    JobStatus.QUEUED: WAITING,
    JobStatus.RUNNING: {EngineStatus.PENDING},
    JobStatus.CANCELLED: {EngineStatus.CANCELLED},
    JobStatus.FAILED: BROKEN,
}
_ENDED = EngineStatus.SUCCESS.value
"""The engine's word for a job that came to its end, with a mesh or with a typed failure."""


@dataclass(frozen=True)
class Place:
    """A job's place in the list."""

    accepted_s: float
    job_id: str

    def to_cursor(self) -> str:
        """This place as a caller carries it to the next page."""
        return base64.urlsafe_b64encode(f"{self.accepted_s!r} {self.job_id}".encode()).decode().rstrip("=")

    @classmethod
    def of_cursor(cls, cursor: str) -> Place:
        """The place that `to_cursor` wrote down.

        Raises:
            ValueError: it did not write this.
        """
        try:
            text = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode(
                "ascii"
            )
            moment, job_id = text.split(" ")
            place = cls(float(moment), job_id)
        except (binascii.Error, UnicodeError) as error:
            raise ValueError("not a cursor of ours") from error
        if not (math.isfinite(place.accepted_s) and job_id.isalnum()):
            raise ValueError("not a cursor of ours")
        return place


def place_of(cursor: str | None) -> Place | None:
    """The place in a list that a caller's cursor names.

    Raises:
        InvalidField: the cursor is none of ours.
    """
    try:
        return Place.of_cursor(cursor) if cursor else None
    except ValueError as error:
        raise InvalidField("cursor", "not a next_cursor of this service", code="invalid_cursor") from error


def page_of(query: sa.Select[Any], table: sa.Table, limit: int, after: Place | None) -> sa.Select[Any]:
    """`query` for up to `limit` rows behind `after` (keyset pagination), the job accepted last first.

    `table` has the columns accepted_s and job_id.
    """
    accepted_s, job_id = table.c.accepted_s, table.c.job_id
    if after is not None:
        query = query.where(sa.tuple_(accepted_s, job_id) < sa.tuple_(after.accepted_s, after.job_id))
    return query.order_by(accepted_s.desc(), job_id.desc()).limit(limit)


@dataclass(frozen=True)
class JobFilter:
    """Which jobs are asked for; None leaves a thing open."""

    session_id: str | None = None
    status: JobStatus | None = None
    owner: str | None = None
    """The name of the API key whose jobs are meant."""
    variant_of: str | None = None
    """The job whose mesh they finish again."""


class JobIndex:
    """The table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = workflow_status(database)
        database.make_tables(_METADATA)

    @contextmanager
    def entering(self, job: Job) -> Iterator[sa.Connection]:
        """The open transaction in which `job` has its row; it is written when the block ends well."""
        with self._database.write() as connection:
            # A row that outlived its job in the engine, when one was deleted and not yet the other, gives way.
            connection.execute(sa.delete(_JOB).where(_JOB.c.job_id == job.job_id))
            row = sa.insert(_JOB).values(
                job_id=job.job_id,
                accepted_s=job.accepted_at_s,
                session_id=job.session_id,
                owner=job.owner,
                first_id=job.first_id,
                attempt=job.attempt,
            )
            connection.execute(row)
            if job.variant_of is not None:
                connection.execute(sa.delete(_VARIANT).where(_VARIANT.c.job_id == job.job_id))
                of = {"job_id": job.job_id, "variant_of": job.variant_of}
                connection.execute(sa.insert(_VARIANT).values(of))
            yield connection
            if self._database.dbos_schema is None:
                self._order(connection, job)

    def _order(self, connection: sa.Connection, job: Job) -> None:
        """Gives the job a time of its own, behind all others: with Python 3.11 the engine writes whole seconds into
        SQLite, and takes jobs of one second in the order of their ids.
        """
        connection.execute(self._order_statement, {"job_id": job.job_id})

    @cached_property
    def _order_statement(self) -> sa.Update:
        # Built once: to build it takes longer than to execute it.
        row = self._rows.c
        now_ms = sa.cast(self._database.now_s * 1000, sa.BigInteger)
        latest_ms = sa.select(sa.func.max(row.created_at)).scalar_subquery()
        update = sa.update(self._rows).where(row.workflow_uuid == sa.bindparam("job_id"))
        return update.values(created_at=sa.func.max(now_ms, latest_ms + 1))

    def note_end(self, job_id: str, *, has_failed: bool) -> None:
        """Notes how the job ended; to be called before the engine knows that it did."""
        row = sa.update(_JOB).where(_JOB.c.job_id == job_id).values(has_failed=has_failed)
        with self._database.write() as connection:
            connection.execute(row)

    def page(self, wanted: JobFilter, limit: int, after: Place | None = None) -> Sequence[Place]:
        """Up to `limit` jobs, newest first, of those that were accepted before the one at `after`."""
        job = _JOB.c
        query = (
            sa.select(job.accepted_s, job.job_id)
            .join(self._rows, self._rows.c.workflow_uuid == job.job_id)
            .where(*self._conditions(wanted))
        )
        with self._database.read() as connection:
            return [Place(*row) for row in connection.execute(page_of(query, _JOB, limit, after))]

    def last_attempt(self, first_id: str) -> str | None:
        """The id of the latest attempt of the job whose first one is `first_id`; None when none is known."""
        job = _JOB.c
        query = (
            sa.select(job.job_id)
            .join(self._rows, self._rows.c.workflow_uuid == job.job_id)
            .where(job.first_id == first_id)
            .order_by(job.attempt.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            return connection.execute(query).scalar()

    def forget(self, job_ids: Sequence[str]) -> None:
        """Takes the rows of these jobs out; for whoever deletes them from the job engine."""
        with self._database.write() as connection:
            for table in (_JOB, _VARIANT):
                connection.execute(sa.delete(table).where(table.c.job_id.in_(job_ids)))

    def _conditions(self, wanted: JobFilter) -> list[sa.ColumnElement[bool]]:
        conditions = []
        if wanted.session_id is not None:
            conditions.append(_JOB.c.session_id == wanted.session_id)
        if wanted.owner is not None:
            conditions.append(_JOB.c.owner == wanted.owner)
        if wanted.variant_of is not None:
            variants = sa.select(_VARIANT.c.job_id).where(_VARIANT.c.variant_of == wanted.variant_of)
            conditions.append(_JOB.c.job_id.in_(variants))
        if wanted.status is not None:
            conditions.append(self._stands(wanted.status))
        return conditions

    def _stands(self, status: JobStatus) -> sa.ColumnElement[bool]:
        state = self._rows.c.status
        is_in_state = state.in_([word.value for word in _STATES.get(status, ())])
        if status not in (JobStatus.SUCCEEDED, JobStatus.FAILED):
            return is_in_state
        has_failed = sa.func.coalesce(_JOB.c.has_failed, sa.false())
        return is_in_state | ((state == _ENDED) & (has_failed == (status == JobStatus.FAILED)))
