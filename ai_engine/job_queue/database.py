"""The job database, SQLite or Postgres: one pool of connections per process, its clock, its schema."""

from __future__ import annotations

import sqlite3
import time
from contextlib import AbstractContextManager

import sqlalchemy as sa

SUBSECONDS_SINCE = (3, 42)
"""The SQLite from which on `unixepoch('subsec')` is known; older ones answer it with NULL."""
LOST_RACES = 5
"""How often a process may find that another one just made the table it was about to make."""
_NOW_S: dict[str, sa.ColumnElement[float]] = {
    "sqlite": sa.literal_column("(julianday('now') - 2440587.5) * 86400.0", sa.Float),
    "postgresql": sa.literal_column("extract(epoch from clock_timestamp())::double precision", sa.Float),
}
"""Seconds since 1970 on the database's clock: the workers' own clocks may differ."""
_POOL = {"pool_size": 4, "max_overflow": 40}
"""Connections that are kept, and more for as long as they are needed: as many as threads that serve requests and
probes."""


def provide_unixepoch(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> None:
    """Gives every SQLite connection of this process `unixepoch('subsec')` where SQLite is older than 3.42.

    DBOS takes the time of a row from it on Python 3.12 and newer; Debian 12 ships SQLite 3.40.
    """
    is_missing = version < SUBSECONDS_SINCE
    if is_missing and not sa.event.contains(sa.Engine, "connect", _add_unixepoch):
        sa.event.listen(sa.Engine, "connect", _add_unixepoch)


def _add_unixepoch(connection: object, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.create_function("unixepoch", 1, _unixepoch)


def _unixepoch(when: object) -> float | int | None:
    """Seconds since 1970: a float for `subsec`, whole for `now`; NULL for what DBOS does not ask."""
    if when in ("subsec", "subsecond"):
        return time.time()
    return int(time.time()) if when == "now" else None


class Database:
    """The job database as one process has it open; all tables share its pool. DBOS has a pool of its own."""

    def __init__(self, url: str) -> None:
        """`url` is SQLAlchemy's, SQLite or Postgres; the first query connects."""
        self._engine = _engine(url)
        is_sqlite = self._engine.dialect.name == "sqlite"
        self.now_s: sa.ColumnElement[float] = _NOW_S[self._engine.dialect.name]
        """The database's own clock, in seconds since 1970."""
        self.dbos_schema = None if is_sqlite else "dbos"
        """Where DBOS keeps its tables."""

    def read(self) -> AbstractContextManager[sa.Connection]:
        """A connection for queries."""
        return self._engine.connect()

    def write(self) -> AbstractContextManager[sa.Connection]:
        """A connection in a transaction, which is committed when the block ends well."""
        return self._engine.begin()

    def make_tables(self, metadata: sa.MetaData) -> None:
        """Makes the tables that are not there.

        Processes that open a new database at once race for each table: all but one are refused it, and look again.
        """
        for _ in range(LOST_RACES):
            try:
                metadata.create_all(self._engine)
                return
            except (sa.exc.ProgrammingError, sa.exc.IntegrityError, sa.exc.OperationalError):
                continue
        metadata.create_all(self._engine)

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()


def _engine(url: str) -> sa.Engine:
    if url.startswith("sqlite"):
        return sa.create_engine(url, connect_args={"timeout": 30}, **_POOL)
    postgres = sa.make_url(url).set(drivername="postgresql+psycopg")
    return sa.create_engine(postgres, pool_pre_ping=True, **_POOL)
