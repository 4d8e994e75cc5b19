from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from ai_engine.job_queue.database import Database, _add_unixepoch, provide_unixepoch


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'a.sqlite'}"


def test_an_sqlite_older_than_3_42_answers_with_the_time_to_the_millisecond(url: str) -> None:
    provide_unixepoch((3, 40, 1))

    with closing(Database(url)) as database, database.write() as connection:
        before = time.time()
        now = connection.execute(sa.text("SELECT unixepoch('subsec')")).scalar_one()

        assert before <= now <= time.time()


def test_a_table_may_take_its_default_from_it(url: str) -> None:
    provide_unixepoch((3, 40, 1))
    with closing(Database(url)) as database, database.write() as connection:
        connection.execute(
            sa.text("CREATE TABLE t (n INTEGER, at INTEGER DEFAULT (unixepoch('subsec') * 1000))")
        )
        connection.execute(sa.text("INSERT INTO t (n) VALUES (1)"))

        at = connection.execute(sa.text("SELECT at FROM t")).scalar_one()

        assert abs(at / 1000 - time.time()) < 60


def test_a_newer_sqlite_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    listened: list[object] = []
    monkeypatch.setattr(sa.event, "contains", lambda *_: False)
    monkeypatch.setattr(sa.event, "listen", lambda *what: listened.append(what))

    provide_unixepoch((3, 42, 0))
    assert listened == []

    provide_unixepoch((3, 41, 2))
    assert listened == [(sa.Engine, "connect", _add_unixepoch)]


def test_what_is_not_asked_stays_unknown() -> None:
    connection = sqlite3.connect(":memory:")
    _add_unixepoch(connection, None)

    assert connection.execute("SELECT unixepoch('yesterday')").fetchone() == (None,)
    assert connection.execute("SELECT typeof(unixepoch('now'))").fetchone() == ("integer",)
