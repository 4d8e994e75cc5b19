"""What the routes work with: the connection to the job database."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from ai_engine.api.dependencies import Connection
from ai_engine.errors import StartupError
from ai_engine.job_queue import database
from ai_engine.settings import Settings


def test_a_process_has_one_pool_of_connections_beside_dbos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    engine = database._engine

    def open_engine(url: str) -> sa.Engine:
        opened.append(url)
        return engine(url)

    monkeypatch.setattr(database, "_engine", open_engine)

    Connection.open(Settings(data_dir=tmp_path)).close()

    assert len(opened) == 1


def test_a_database_that_cant_be_opened_leaves_no_connection(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"no database" * 500)

    with pytest.raises(StartupError, match="can't be opened"):
        Connection.open(Settings(data_dir=tmp_path))
