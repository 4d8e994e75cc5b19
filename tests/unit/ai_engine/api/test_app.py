"""The API in this process, on a real database, without a worker."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import current_default_thread_limiter
from fastapi.testclient import TestClient
from service.house import cut_out_png

import main
from ai_engine.api.app import create_app
from ai_engine.errors import StartupError
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.worker_leases import Leases
from ai_engine.settings import Settings
from ai_engine.web.api_keys import new_key, setting_entry
from ai_engine.worker.process import run_worker

ROOT = Path(__file__).resolve().parents[4]
REQUEST = {"session_id": "s", "asset_id": "a", "image_url": "http://127.0.0.1:8001/a.png"}
HEAVY = (
    "torch",
    "transformers",
    "rembg",
    "onnxruntime",
    "numba",
    "hy3dgen",
    "safetensors",
    "scipy",
    "numpy",
    "PIL",
    "cv2",
    "httpcore2",
)
Open = Callable[..., TestClient]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the API with other settings than the default ones, and closes it after the test."""
    clients = []

    def open_api(**settings: Any) -> TestClient:
        client = TestClient(
            create_app(Settings(data_dir=tmp_path, **settings)), raise_server_exceptions=False
        )
        client.__enter__()
        clients.append(client)
        ends_at = time.monotonic() + 60
        while not client.app.state.service.is_connected:  # type: ignore[attr-defined]
            assert time.monotonic() < ends_at, "the database did not open"
            time.sleep(0.01)
        return client

    yield open_api
    for client in clients:
        client.__exit__(None, None, None)


def test_the_api_process_loads_no_model_code() -> None:
    code = (
        "import sys, main, uvicorn\n"
        "from ai_engine.api.app import create_app\n"
        "from ai_engine.settings import Settings\n"
        "create_app(Settings()).openapi()\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )

    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert printed.stdout.strip() == "[]"


def test_a_full_queue_refuses_more_and_says_when_to_come_back(opened: Open) -> None:
    client = opened(max_queued_jobs=2)

    positions = [client.post("/generate-3d", json=REQUEST).json()["queue_position"] for _ in range(2)]
    answer = client.post("/generate-3d", json=REQUEST)

    assert positions == [1, 2]
    assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/readyz").json() == {"status": "starting"}


def test_the_numbers_say_whose_requests_were_refused_and_why(opened: Open) -> None:
    shop = new_key()
    client = opened(api_keys=setting_entry("shop", shop), max_queued_jobs=1, requests_per_minute=5)
    own = {"Authorization": f"Bearer {shop}"}
    for _ in range(6):
        client.post("/generate-3d", json=REQUEST, headers=own)
    client.post("/generate-3d", json=REQUEST)

    counts = client.app.state.access.refusals.take()  # type: ignore[attr-defined]
    client.app.state.service.metrics.add_refusals(counts)  # type: ignore[attr-defined]

    assert counts == {("shop", "queue_full"): 4, ("shop", "rate_limited"): 1}
    text = client.app.state.service.metrics.exposition("")[0].decode()  # type: ignore[attr-defined]
    assert 'ai_engine_requests_refused_total{code="queue_full",owner="shop"} 4.0' in text


def test_a_queued_job_says_so_and_can_be_cancelled(opened: Open) -> None:
    client = opened()
    job_id = client.post("/generate-3d", json=REQUEST).json()["job_id"]

    queued = client.get(f"/jobs/{job_id}").json()
    mesh = client.get(f"/jobs/{job_id}/mesh")
    cancelled = client.delete(f"/jobs/{job_id}").json()

    assert (queued["status"], queued["stage"], queued["progress"]) == ("queued", "queue", 0.0)
    assert (mesh.status_code, mesh.json()["code"]) == (409, "not_ready")
    assert (cancelled["status"], cancelled["error"]["code"]) == ("cancelled", "cancelled")


def test_the_seed_is_drawn_at_the_door_and_shown(opened: Open) -> None:
    client = opened()
    job_id = client.post("/generate-3d", json=REQUEST).json()["job_id"]

    seed = client.get(f"/jobs/{job_id}").json()["options"]["seed"]

    assert 0 <= seed < 2**53


def test_a_page_whose_name_leads_to_this_machine_can_not_ask(opened: Open) -> None:
    client = opened()

    answers = [
        client.post("/generate-3d", json=REQUEST, headers={"Host": "evil.example:8000"}),
        client.get("/jobs", headers={"Host": "evil.example:8000"}),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(403, "host_unknown")] * 2
    assert client.get("/livez", headers={"Host": "evil.example"}).status_code == 200


def test_addresses_of_this_machine_are_shut_in_production_unless_opened(opened: Open) -> None:
    client = opened(profile="production", allowed_private_download_hosts="127.0.0.1:8001")

    allowed = client.post("/generate-3d", json=REQUEST)
    refused = client.post("/generate-3d", json=REQUEST | {"webhook_url": "http://127.0.0.1:8001/hook"})

    assert allowed.status_code == 202
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["code"] == "webhook_url_forbidden"


def test_a_bug_is_answered_as_a_problem_without_its_stack(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = opened()
    monkeypatch.setattr("ai_engine.api.job_routes.view_of", lambda record: 1 / 0)
    job_id = client.post("/generate-3d", json=REQUEST).json()["job_id"]

    answer = client.get(f"/jobs/{job_id}")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["content-type"] == "application/problem+json"
    assert "division" not in answer.text


def test_the_description_of_the_api_names_every_route_and_field(opened: Open) -> None:
    described = opened().get("/openapi.json").json()

    assert {"/generate-3d", "/jobs/{job_id}", "/jobs/{job_id}/mesh", "/health", "/readyz"} <= set(
        described["paths"]
    )
    body = described["components"]["schemas"]["JobRequest"]
    assert all("description" in field for field in body["properties"].values())


@contextmanager
def all_shared_threads_taken(client: TestClient) -> Iterator[None]:
    """Holds every thread that requests share, as slow names or a hanging store would."""
    holders = [object() for _ in range(40)]

    async def take() -> None:
        limiter = current_default_thread_limiter()
        assert limiter.total_tokens == len(holders)
        for holder in holders:
            await limiter.acquire_on_behalf_of(holder)

    async def give_back() -> None:
        for holder in holders:
            current_default_thread_limiter().release_on_behalf_of(holder)

    assert client.portal is not None
    client.portal.call(take)
    try:
        yield
    finally:
        client.portal.call(give_back)


@pytest.mark.parametrize("path", ["/readyz", "/health", "/livez"])
def test_probes_are_answered_while_all_shared_threads_are_taken(opened: Open, path: str) -> None:
    client = opened()
    with ThreadPoolExecutor(2) as callers, all_shared_threads_taken(client):
        probe, other = callers.submit(client.get, path), callers.submit(client.get, "/jobs")

        assert probe.result(60).status_code in (200, 503)
        assert "status" in probe.result().json()
        assert not other.done(), "another request waits for a thread"


def test_before_the_database_is_open_health_answers_and_jobs_are_told_to_wait(tmp_path: Path) -> None:
    client = TestClient(create_app(Settings(data_dir=tmp_path)))  # never entered: nothing connects

    assert client.get("/health").json() == {"status": "ok", "gpu": False, "model": None}
    assert client.get("/livez").status_code == 200
    assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (503, {"status": "starting"})
    answer = client.post("/generate-3d", json=REQUEST)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


def test_a_worker_whose_model_is_missing_says_which_file_and_callers_see_failed(
    opened: Open, tmp_path: Path
) -> None:
    client = opened()
    settings = Settings(
        data_dir=tmp_path, matting_model="u2net", matting_home=tmp_path, model_variant="stand-in"
    )

    with pytest.raises(StartupError, match=r"u2net\.onnx"):
        run_worker(settings, threading.Event())

    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}
    assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (503, {"status": "failed"})


def test_a_worker_that_loads_is_not_ready_and_tells_how_far_it_is(opened: Open, tmp_path: Path) -> None:
    client = opened()
    database = Database(Settings(data_dir=tmp_path).jobs_database_url)
    leases = Leases(database)
    leases.take("one", "machine:cuda")

    said = [client.get("/readyz")]
    for share in (0.4367, 1.0):
        leases.note_loaded("one", share)
        said.append(client.get("/readyz"))

    database.close()
    assert [answer.json() for answer in said] == [
        {"status": "loading"},
        {"status": "loading", "progress": 0.437},
        {"status": "warming up"},
    ]
    assert {answer.status_code for answer in said} == {503}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "http", "PORT:"),
        ("WEBHOOK_SECRET", "hunter2", "whsec_"),
        ("WEBHOOK_SECRET", "whsec_!", "base64"),
        ("WEBHOOK_SECRET", "whsec_abc", "24 are needed"),
        ("ALLOWED_PRIVATE_WEBHOOK_HOSTS", "http://10.0.0.5:80", "host:port"),
        ("ALLOWED_PRIVATE_WEBHOOK_HOSTS", "no-port", "no-port"),
        ("DEVICE", "tpu", "DEVICE:"),
    ],
)
def test_a_setting_that_can_not_be_used_keeps_the_service_from_starting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)

    status = main.main(["api"])

    printed = capsys.readouterr().err
    assert status == os.EX_CONFIG
    assert said in printed
    assert "hunter2" not in printed


def test_the_list_of_jobs_shows_its_bounds_by_name(opened: Open) -> None:
    client = opened()

    for query, field in {"limit=0": "limit", "status=done": "status", "cursor=%3F": "cursor"}.items():
        answer = client.get(f"/jobs?{query}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_cancelled_job_is_run_again_as_a_new_one_and_only_once_at_a_time(opened: Open) -> None:
    client = opened()
    first = client.post("/generate-3d", json=REQUEST | {"seed": 7}).json()["job_id"]
    client.delete(f"/jobs/{first}")

    again = client.post(f"/jobs/{first}/retry")
    twice = client.post(f"/jobs/{first}/retry")

    second = again.json()["job_id"]
    assert (again.status_code, twice.status_code) == (202, 200)
    assert second == twice.json()["job_id"] != first
    job = client.get(again.headers["location"]).json()
    assert (job["attempt"], job["retry_of"], job["options"]["seed"]) == (2, first, 7)
    client.delete(f"/jobs/{second}")
    third = client.post(f"/jobs/{first}/retry").json()["job_id"]
    assert client.get(f"/jobs/{third}").json()["attempt"] == 3
    assert [one["job_id"] for one in client.get("/jobs").json()["jobs"]] == [third, second, first]


def test_a_retry_brings_its_own_copy_of_an_embedded_picture(opened: Open, tmp_path: Path) -> None:
    client = opened()
    request = REQUEST | {"image_url": f"data:image/png;base64,{base64.b64encode(cut_out_png()).decode()}"}
    first = client.post("/generate-3d", json=request).json()["job_id"]
    client.delete(f"/jobs/{first}")
    second = client.post(f"/jobs/{first}/retry").json()["job_id"]
    shutil.rmtree(tmp_path / "jobs" / first)
    client.delete(f"/jobs/{second}")

    assert client.post(f"/jobs/{second}/retry").status_code == 202
    for attempt in (second, client.get("/jobs").json()["jobs"][0]["job_id"]):
        shutil.rmtree(tmp_path / "jobs" / attempt)
        client.delete(f"/jobs/{attempt}")
    assert client.post(f"/jobs/{first}/retry").json()["code"] == "expired"


def test_a_waiting_job_has_no_cut_out_and_nothing_to_deliver_again(opened: Open) -> None:
    client = opened()
    job_id = client.post("/generate-3d", json=REQUEST).json()["job_id"]

    cutout = client.get(f"/jobs/{job_id}/cutout.png")
    redelivered = client.post(f"/jobs/{job_id}/redeliver")

    assert (cutout.status_code, cutout.json()["code"]) == (409, "not_ready")
    assert (redelivered.status_code, redelivered.json()["code"]) == (409, "no_webhook")


def test_the_licences_tell_of_code_and_models_and_say_when_no_worker_has_told_yet(opened: Open) -> None:
    told = opened(matting_model="birefnet-general").get("/licences").json()

    assert told["code"]["licence"] == "Apache License 2.0"
    assert told["matting_model"]["licence"] == "MIT License"
    assert (told["shape_model"], told["slicer"]) == (None, None)


def test_whoever_comes_again_with_a_key_is_answered_though_the_queue_is_full(opened: Open) -> None:
    client = opened(max_queued_jobs=1)
    mine, other = {"Idempotency-Key": "mine"}, {"Idempotency-Key": "other"}

    first = client.post("/generate-3d", json=REQUEST, headers=mine)
    again = client.post("/generate-3d", json=REQUEST, headers=mine)
    new = client.post("/generate-3d", json=REQUEST, headers=other)

    assert (first.status_code, again.status_code, new.status_code) == (202, 200, 429)
    assert first.json()["job_id"] == again.json()["job_id"]


def test_a_link_needs_no_key_and_everything_else_of_a_job_does(opened: Open) -> None:
    key = new_key()
    client = opened(api_keys=setting_entry("shop", key), link_secret="mine", public_url="http://mesh.test")
    mine = {"Authorization": f"Bearer {key}"}
    job_id = client.post("/generate-3d", json=REQUEST, headers=mine).json()["job_id"]
    links = client.app.state.service.links  # type: ignore[attr-defined]

    def asked(job: str) -> str:
        path = links.url(job, "a.stl", time.time()).removeprefix("http://mesh.test")
        return client.get(path).json()["code"]

    assert asked(job_id) == "not_ready", "the link is let in, and there is no mesh yet"
    assert asked("0" * 32) == "expired"
    assert (
        client.get(f"/files/{job_id}/a.stl?expires=9999999999&signature=x").json()["code"] == "link_invalid"
    )
    for method, route in [
        ("GET", f"/jobs/{job_id}"),
        ("GET", "/jobs"),
        ("GET", f"/jobs/{job_id}/mesh"),
        ("GET", f"/jobs/{job_id}/cutout.png"),
        ("POST", f"/jobs/{job_id}/retry"),
        ("POST", f"/jobs/{job_id}/redeliver"),
    ]:
        assert client.request(method, route).status_code == 401
        assert client.request(method, route, headers=mine).status_code != 401


def test_the_list_and_retries_are_of_ones_own_jobs_alone(opened: Open) -> None:
    shop, press = new_key(), new_key()
    client = opened(api_keys=f"{setting_entry('shop', shop)},{setting_entry('press', press)}")
    mine, other = ({"Authorization": f"Bearer {key}"} for key in (shop, press))
    job_id = client.post("/generate-3d", json=REQUEST, headers=mine).json()["job_id"]
    client.delete(f"/jobs/{job_id}", headers=mine)

    assert client.post(f"/jobs/{job_id}/retry", headers=other).status_code == 404
    again = client.post(f"/jobs/{job_id}/retry", headers=mine).json()["job_id"]

    assert client.get("/jobs", headers=other).json()["jobs"] == []
    assert [job["job_id"] for job in client.get("/jobs", headers=mine).json()["jobs"]] == [again, job_id]
