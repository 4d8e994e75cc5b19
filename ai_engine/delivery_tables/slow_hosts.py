"""Hosts that lately let a delivery attempt hang, per owner: their next attempts go to the slow queue (circuit breaker).

Per owner, so that no caller can slow down another one's deliveries. A database that is away costs the order of
deliveries, not a delivery.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import sqlalchemy as sa

from ai_engine.job_queue.database import Database

_METADATA = sa.MetaData()
_HOST = sa.Table(
    "ai_engine_slow_host",
    _METADATA,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("until_s", sa.Float, nullable=False),
)
NO_OWNER = ""
"""In place of the name of a key, where keys are off."""

logger = logging.getLogger(__name__)


class SlowHosts:
    """The table; each host stands in it for `memory_s` after its last slow attempt, or until a quick one."""

    def __init__(self, database: Database, memory_s: float) -> None:
        self._database, self._memory_s = database, memory_s
        self._now_s = database.now_s
        database.make_tables(_METADATA)

    def has(self, owner: str | None, host: str) -> bool:
        """True if an attempt of this owner's at this host was slow lately."""
        try:
            with self._database.read() as connection:
                found = connection.execute(sa.select(_HOST.c.host).where(*self._is(owner, host)))
                return found.first() is not None
        except sa.exc.SQLAlchemyError:
            logger.exception("the slow hosts could not be read")
            return False

    def note(self, owner: str | None, host: str, *, is_slow: bool) -> None:
        """Notes how the latest attempt of this owner's at this host was."""
        if not is_slow and not self.has(owner, host):
            return
        try:
            self._write(owner or NO_OWNER, host, is_slow=is_slow)
        except sa.exc.SQLAlchemyError:
            logger.exception("a slow host could not be noted")

    def count(self) -> Mapping[str, int]:
        """How many slow hosts each owner has; an owner without any is left out."""
        query = sa.select(_HOST.c.owner, sa.func.count()).where(_HOST.c.until_s > self._now_s)
        with self._database.read() as connection:
            rows = connection.execute(query.group_by(_HOST.c.owner)).all()
        return {row[0]: row[1] for row in rows}

    def _write(self, owner: str, host: str, *, is_slow: bool) -> None:
        """Replaces the host's row; drops those whose time is over, so that the table stays small."""
        is_it = sa.and_(_HOST.c.owner == owner, _HOST.c.host == host)
        with self._database.write() as connection:
            connection.execute(sa.delete(_HOST).where(is_it | (_HOST.c.until_s <= self._now_s)))
            if is_slow:
                until_s = self._now_s + self._memory_s
                connection.execute(sa.insert(_HOST).values(owner=owner, host=host, until_s=until_s))

    def _is(self, owner: str | None, host: str) -> tuple[sa.ColumnElement[bool], ...]:
        row = _HOST.c
        return row.owner == (owner or NO_OWNER), row.host == host, row.until_s > self._now_s
