"""How each job's delivery stands: a small row per job, to list and filter by. The attempts are the job engine's.

Written when an attempt is queued and when it has ended. Knows no queue and no workflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from ai_engine.job import Job
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.job_index import Place, page_of

DeliveryStatus = Literal["waiting", "accepted", "dead"]
"""waiting: an attempt is due, now or later. dead: no attempt follows (dead letter)."""
_METADATA = sa.MetaData()
_DELIVERY = sa.Table(
    "ai_engine_delivery",
    _METADATA,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("accepted_s", sa.Float, nullable=False),
    sa.Column("session_id", sa.Text, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("entry", sa.Integer, nullable=False),
    sa.Index("ai_engine_delivery_by_time", "accepted_s", "job_id"),
    sa.Index("ai_engine_delivery_by_status", "status", "accepted_s", "job_id"),
    sa.Index("ai_engine_delivery_by_owner", "owner", "status", "accepted_s", "job_id"),
)


@dataclass(frozen=True)
class DeliveryFilter:
    """Which deliveries are asked for; None leaves a thing open."""

    status: DeliveryStatus | None = None
    session_id: str | None = None
    owner: str | None = None
    """The name of the API key whose jobs are meant."""


@dataclass(frozen=True)
class IndexedDelivery:
    """One row of the list."""

    place: Place
    status: DeliveryStatus
    entry: int
    """The latest attempt's number in the job engine."""


class DeliveryIndex:
    """The table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.make_tables(_METADATA)

    def note(self, job: Job, entry: int, status: DeliveryStatus) -> None:
        """Notes how the job's delivery stands after entry number `entry`; a later entry's note is kept."""
        row = _DELIVERY.c
        known = sa.update(_DELIVERY).where(row.job_id == job.job_id, row.entry <= entry)
        with self._database.write() as connection:
            if connection.execute(known.values(entry=entry, status=status)).rowcount:
                return
        new = sa.insert(_DELIVERY).values(
            job_id=job.job_id,
            accepted_s=job.accepted_at_s,
            session_id=job.session_id,
            owner=job.owner,
            status=status,
            entry=entry,
        )
        try:
            with self._database.write() as connection:
                connection.execute(new)
        except sa.exc.IntegrityError:
            pass  # A later entry's note stands, or this one's, written by another process.

    def page(
        self, wanted: DeliveryFilter, limit: int, after: Place | None = None
    ) -> Sequence[IndexedDelivery]:
        """Up to `limit` deliveries, of the newest job first, of those behind the one at `after`."""
        row = _DELIVERY.c
        query = sa.select(row.accepted_s, row.job_id, row.status, row.entry)
        for column, value in (
            (row.status, wanted.status),
            (row.session_id, wanted.session_id),
            (row.owner, wanted.owner),
        ):
            query = query if value is None else query.where(column == value)
        with self._database.read() as connection:
            found = connection.execute(page_of(query, _DELIVERY, limit, after)).all()
        return [IndexedDelivery(Place(one[0], one[1]), one[2], one[3]) for one in found]

    def forget(self, job_ids: Sequence[str]) -> None:
        """Deletes the rows of these jobs."""
        with self._database.write() as connection:
            connection.execute(sa.delete(_DELIVERY).where(_DELIVERY.c.job_id.in_(job_ids)))
