from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ai_engine.api.app import create_app
from ai_engine.settings import Settings


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(create_app(Settings(data_dir=tmp_path)))


def test_the_page_and_all_that_it_names_come_from_this_server(client: TestClient) -> None:
    page = client.get("/docs")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 4
    assert {client.get(path).status_code for path in named} == {200}
    assert "unsafe" not in page.headers["content-security-policy"]
    assert client.get("/docs/absent.js").status_code == 404


def test_what_assistants_are_told_names_routes_and_fields_that_there_are(client: TestClient) -> None:
    text, document = client.get("/llms.txt").text, client.get("/openapi.json").json()

    assert text.startswith("# AI Engine\n\n> ")
    routes = re.findall(r"`(GET|POST|DELETE) (/[^`]*)`", text)
    assert len(routes) >= 8
    assert [route for route in routes if route[0].lower() not in document["paths"].get(route[1], {})] == []
    fields = set(re.findall(r"`(height_mm|format|webhook_url|image_url|session_id|asset_id)`", text))
    assert fields <= set(document["components"]["schemas"]["JobRequest"]["properties"])


def test_both_can_be_turned_off(tmp_path: Path) -> None:
    closed = TestClient(create_app(Settings(data_dir=tmp_path, studio=False)))
    assert {closed.get(path).status_code for path in ("/docs", "/docs/start.js", "/llms.txt")} == {404}
