"""What an operator reads, over HTTP in this process and without a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from service.house import wait_for

from ai_engine.api.app import create_app
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.worker_leases import Leases, WorkerState
from ai_engine.job_queue.workflow_table import QueueDepth
from ai_engine.monitoring.counters import Counters, Figure, WorkerFigures
from ai_engine.monitoring.job_metrics import JOBS
from ai_engine.monitoring.operations import _queues
from ai_engine.settings import Settings
from ai_engine.web.api_keys import new_key, setting_entry

KEYS = {name: new_key() for name in ("shop", "press", "boss")}
REQUEST = {"session_id": "s", "asset_id": "a", "image_url": "http://127.0.0.1:8001/a.png"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    keys = ",".join(setting_entry(name, key) for name, key in KEYS.items())
    settings = {"data_dir": tmp_path, "api_keys": keys, "operators": "boss, nobody"}
    app = create_app(Settings.model_validate(settings))
    with TestClient(app) as one:
        wait_for(lambda: app.state.service.is_connected, "the database is open")
        yield one


def ask(client: TestClient, path: str, key: str, method: str = "GET", **content: Any) -> Any:
    headers = {"Authorization": f"Bearer {KEYS[key]}"}
    return client.request(method, path, headers=headers, **content)


def database(client: TestClient) -> Database:
    found: Database = client.app.state.service.connection.database  # type: ignore[attr-defined]
    return found


def test_only_operators_read_how_the_service_stands(client: TestClient) -> None:
    assert client.get("/operations").status_code == 401
    refused = ask(client, "/operations", "shop")
    assert (refused.status_code, refused.json()["code"]) == (403, "operators_only")
    assert ask(client, "/operations", "boss").status_code == 200


def test_without_keys_everybody_is_an_operator(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    with TestClient(app) as one:
        wait_for(lambda: app.state.service.is_connected, "the database is open")
        said = one.get("/operations").json()
    assert (said["queues"][0]["model"], said["workers"], said["failures"]) == ("default", [], [])


def test_an_operator_sees_and_stops_everybodys_jobs_and_others_their_own(client: TestClient) -> None:
    ids = {
        key: ask(client, "/generate-3d", key, "POST", json=REQUEST).json()["job_id"]
        for key in ("shop", "press", "boss")
    }

    def listed(key: str) -> set[str]:
        return {job["job_id"] for job in ask(client, "/jobs", key).json()["jobs"]}

    assert listed("boss") == set(ids.values())
    assert listed("shop") == {ids["shop"]}
    assert ask(client, f"/jobs/{ids['press']}", "shop").status_code == 404
    assert ask(client, f"/jobs/{ids['press']}", "boss", "DELETE").status_code == 202
    (queue,) = ask(client, "/operations", "boss").json()["queues"]
    assert (queue["model"], queue["queued"], queue["running"]) == ("default", 2, 0)
    assert 0 <= queue["oldest_waiting_s"] < 600


def test_workers_have_their_device_and_failures_their_codes(client: TestClient) -> None:
    leases, counters = Leases(database(client)), Counters(database(client))
    leases.take("host:cuda:0@1#a", "host:cuda:0@1")
    leases.describe("host:cuda:0@1#a", WorkerState.READY, model_id="v2-0", licence="", has_gpu=True)
    counters.put_worker(WorkerFigures("host:cuda:0@1#a", 12.0, 0.75, 9_000_000_000))
    counters.add(
        {
            Figure.of(JOBS, outcome="failed", code="no_foreground"): 2,
            Figure.of(JOBS, outcome="failed", code="image_invalid"): 5,
            Figure.of(JOBS, outcome="succeeded", code=""): 9,
        }
    )

    said = ask(client, "/operations", "boss").json()

    (worker,) = said["workers"]
    assert (worker["worker"], worker["state"], worker["is_alive"]) == ("host:cuda:0@1", "ready", True)
    assert (worker["busy_share"], worker["memory_peak_bytes"], worker["jobs"]) == (0.75, 9_000_000_000, [])
    assert said["failures"] == [{"code": "image_invalid", "jobs": 5}, {"code": "no_foreground", "jobs": 2}]
    assert said["disk"]["free_bytes"] > 0
    assert said["disk"]["needed_bytes"] == Settings().min_free_disk_bytes


def test_each_model_has_its_queue_served_or_not() -> None:
    depths = [
        QueueDepth("jobs", "ENQUEUED", 3, 100.0),
        QueueDepth("pipeline", "ENQUEUED", 1, 90.0),
        QueueDepth("jobs.old", "PENDING", 2, 50.0),
        QueueDepth("jobs.new", "ENQUEUED", 4, 60.0),
        QueueDepth("delivery", "ENQUEUED", 9, 10.0),
    ]

    found = {one.model: one for one in _queues(depths, ["new", "idle"], 110.0)}

    assert list(found) == ["default", "idle", "new", "old"]
    assert (found["default"].queued, found["default"].oldest_waiting_s) == (4, 20.0)
    assert (found["old"].running, found["old"].oldest_waiting_s) == (2, None)
    assert (found["new"].queued, found["idle"].queued) == (4, 0)
