from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ai_engine.api.app import create_app
from ai_engine.api.request_schema import JobRequest
from ai_engine.assistants.over_http import add_mcp
from ai_engine.settings import Settings
from ai_engine.web.api_keys import new_key, setting_entry

KEY = new_key()
ACCEPT = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


def ask(client: TestClient, method: str, **headers: str) -> Any:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}
    return client.post("/mcp", json=call, headers=ACCEPT | headers)


@pytest.fixture
def app(tmp_path: Path) -> Any:
    made = create_app(Settings.model_validate({"data_dir": tmp_path, "api_keys": setting_entry("shop", KEY)}))
    add_mcp(made)
    return made


def test_the_tools_say_what_a_request_may_say(app: Any) -> None:
    with TestClient(app) as client:
        text = ask(client, "tools/list", Authorization=f"Bearer {KEY}").text

    jobs = ("wait_for_mesh", "get_job", "cancel_job", "list_jobs")
    for name in ("generate_mesh", "finish_mesh", "check_mesh", *jobs):
        assert f'"{name}"' in text
    assert str(JobRequest.model_fields["height_mm"].description) in text


def test_a_caller_without_a_key_is_refused_as_by_the_api(app: Any) -> None:
    with TestClient(app) as client:
        answer = ask(client, "tools/list")

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_path_is_not_there_unless_it_is_added(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(data_dir=tmp_path))) as client:
        assert ask(client, "tools/list").status_code == 404
    assert not Settings().mcp
