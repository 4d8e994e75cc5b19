"""The slicer of each worker, by its announcement: API and workers may be different machines."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from ai_engine.job_queue.database import Database
from ai_engine.job_queue.worker_leases import FORGOTTEN_S, Leases
from ai_engine.slicing.offer import SlicerOffer, common_offer

_METADATA = sa.MetaData()
_SLICER = sa.Table(
    "ai_engine_slicer",
    _METADATA,
    sa.Column("executor_id", sa.Text, primary_key=True),
    sa.Column("offer", sa.Text, nullable=False),
    sa.Column("announced_s", sa.Float, nullable=False),
)


class Slicers:
    """The table of announcements."""

    def __init__(self, database: Database, leases: Leases) -> None:
        self._database, self._leases = database, leases
        database.make_tables(_METADATA)

    def announce(self, executor_id: str, offer: SlicerOffer) -> None:
        """Notes what this worker can slice with, and forgets old announcements of workers that do not live."""
        now_s = self._database.now_s
        is_old = _SLICER.c.announced_s < now_s - FORGOTTEN_S
        row = sa.insert(_SLICER).values(executor_id=executor_id, offer=offer.to_json(), announced_s=now_s)
        is_dead = _SLICER.c.executor_id.not_in(self._living())
        with self._database.write() as connection:
            connection.execute(sa.delete(_SLICER).where(is_old, is_dead))
            connection.execute(row)

    def common(self) -> SlicerOffer | None:
        """What every living worker can slice with; while none lives, the last one; None when none has ever said."""
        query = sa.select(_SLICER.c.executor_id, _SLICER.c.offer).order_by(_SLICER.c.announced_s.desc())
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        living = self._living()
        counted = [row for row in rows if row.executor_id in living] or rows[:1]
        return common_offer([SlicerOffer.from_json(row.offer) for row in counted]) if counted else None

    def _living(self) -> Collection[str]:
        return {worker.executor_id for worker in self._leases.workers() if worker.is_alive}
