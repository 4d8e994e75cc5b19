"""Starting: what the API does not load, what it refuses with, and how full a queue may get."""

from __future__ import annotations

import subprocess
import sys

import pytest
from service.house import ROOT, House, wait_for

HEAVY = ("torch", "transformers", "rembg", "onnxruntime", "numba", "hy3dgen", "safetensors", "scipy")


def test_the_api_loads_no_model_code() -> None:
    code = (
        "import sys, main\n"
        "from ai_engine.api import create_app\n"
        "from ai_engine.settings import Settings\n"
        "create_app(Settings()).openapi()\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )

    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert printed.stdout.strip() == "[]"


def test_a_full_queue_refuses_more_and_says_when_to_come_back(tmp_path: object) -> None:
    house = House(tmp_path, {"MAX_QUEUED_JOBS": "2"})  # type: ignore[arg-type]
    house.start("api")
    try:
        wait_for(house.is_open, "the port is open")
        wait_for(lambda: house.ask("GET", "/jobs/none").status == 404, "the database is open")
        positions = []
        for _ in range(2):
            request = {"session_id": "s", "asset_id": "a", "image_url": "http://127.0.0.1:8001/a.png"}
            positions.append(house.ask("POST", "/generate-3d", request).json["queue_position"])
        answer = house.ask("POST", "/generate-3d", request)
    finally:
        house.close()

    assert positions == [1, 2]
    assert (answer.status, answer.json["code"]) == (429, "queue_full")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PORT": "http"}, "PORT:"),
        ({"WEBHOOK_SECRET": "hunter2"}, "whsec_"),
        ({"ALLOWED_PRIVATE_WEBHOOK_HOSTS": "no-port"}, "no-port"),
    ],
)
def test_a_setting_that_can_not_be_used_keeps_the_service_from_starting(
    tmp_path: object, settings: dict[str, str], said: str
) -> None:
    house = House(tmp_path, settings)  # type: ignore[arg-type]
    house.settings["LOG_FORMAT"] = "text"

    status = house.start("api").wait(60)

    assert status == 1
    log = house.log_path("api").read_text()
    assert said in log
    assert "Traceback" not in log
    assert "hunter2" not in log


def test_a_missing_checkpoint_is_told_in_the_log_by_its_path_and_to_callers_as_failed(tmp_path: object) -> None:
    house = House(tmp_path, {"MODEL_PATH": "models/no-such.safetensors"})  # type: ignore[arg-type]
    house.settings["MODEL_VARIANT"] = ""
    house.start("api")
    try:
        wait_for(house.is_open, "the port is open")
        assert house.start("worker").wait(120) == 1
        answer = house.ask("GET", "/readyz")
    finally:
        house.close()

    assert (answer.status, answer.json) == (503, {"status": "failed"})
    assert "no-such.safetensors" in house.log_path("worker").read_text()
