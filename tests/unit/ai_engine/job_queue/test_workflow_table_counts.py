from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ai_engine.job_queue.database import Database
from ai_engine.job_queue.dbos_setup import open_database
from ai_engine.job_queue.workflow_table import OwnerDepth, QueueDepth, WorkflowTable
from ai_engine.settings import Settings

ROW = "INSERT INTO workflow_status (workflow_uuid, status, queue_name, created_at, updated_at, authenticated_user) "


@pytest.fixture
def path(tmp_path: Path) -> Path:
    settings = Settings(data_dir=tmp_path)
    open_database(settings).close()
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        for n in range(30):
            status = ("ENQUEUED", "PENDING", "SUCCESS")[n % 3]
            owner = "shop" if n < 15 else None
            database.execute(f"{ROW} VALUES (?, ?, 'pipeline', ?, 0, ?)", (f"j{n}", status, 1000 * n, owner))
        database.execute(f"{ROW} VALUES ('d', 'DELAYED', 'webhook', 0, 0, NULL)")
    return tmp_path / "jobs.sqlite"


@pytest.fixture
def rows(path: Path) -> Iterator[WorkflowTable]:
    with closing(Database(f"sqlite:///{path}")) as database:
        yield WorkflowTable(database)


def test_open_entries_are_counted_by_queue_and_state_with_their_oldest(rows: WorkflowTable) -> None:
    depths = sorted(rows.depths(), key=lambda depth: depth.state)

    assert depths == [
        QueueDepth("pipeline", "ENQUEUED", 10, 0.0),
        QueueDepth("pipeline", "PENDING", 10, 1.0),
    ]
    assert (rows.num_delayed(["webhook", "delivery"]), rows.num_delayed(["pipeline"])) == (1, 0)


def test_an_owner_has_the_open_entries_that_are_theirs(rows: WorkflowTable) -> None:
    assert rows.num_open_of("shop", ["pipeline"]) == 10
    assert rows.num_open_of("press", ["pipeline"]) == 0
    assert sorted(rows.by_owner(["pipeline"]), key=repr) == [
        OwnerDepth("pipeline", "ENQUEUED", "", 5),
        OwnerDepth("pipeline", "ENQUEUED", "shop", 5),
        OwnerDepth("pipeline", "PENDING", "", 5),
        OwnerDepth("pipeline", "PENDING", "shop", 5),
    ]
    assert rows.by_owner(["delivery"]) == []


def test_counting_goes_by_the_index_of_open_entries_and_never_through_the_whole_table(
    rows: WorkflowTable, path: Path
) -> None:
    asked: list[str] = []
    database = sqlite3.connect(path)
    from sqlalchemy import event

    event.listen(rows._database._engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    rows.depths()
    rows.num_open_of("shop", ["pipeline"])
    rows.num_delayed(["webhook"])
    rows.by_owner(["pipeline"])

    for statement in asked:
        values = ("x",) * statement.count("?")
        plan = " ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", values))
        assert "idx_workflow_status_in_flight" in plan or "idx_workflow_status_delayed" in plan, plan
    assert len(asked) == 4
    database.close()
