"""Connections to the job database, SQLite or Postgres, and its clock."""

from __future__ import annotations

import sqlite3
import time

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


def open_engine(database_url: str) -> sa.Engine:
    """Connections to the job database."""
    if not database_url.startswith("sqlite"):
        url = sa.make_url(database_url).set(drivername="postgresql+psycopg")
        return sa.create_engine(url, pool_size=2, pool_pre_ping=True)
    return sa.create_engine(database_url, connect_args={"timeout": 30})


def make_tables(engine: sa.Engine, metadata: sa.MetaData) -> None:
    """Makes the tables that are not there.

    Processes that open a new database at once race for each table: all but one are refused it, and look again.
    """
    for _ in range(LOST_RACES):
        try:
            metadata.create_all(engine)
            return
        except (sa.exc.ProgrammingError, sa.exc.IntegrityError, sa.exc.OperationalError):
            continue
    metadata.create_all(engine)


def clock_of(engine: sa.Engine) -> sa.ColumnElement[float]:
    """The database's own clock, in seconds since 1970."""
    return _NOW_S[engine.dialect.name]
