"""The routes in this process, without a worker."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from service.house import cut_out_png, wait_for

from ai_engine.api.app import create_app
from ai_engine.compatible.endpoints import add_compatible
from ai_engine.settings import Settings

IMAGE = base64.b64encode(cut_out_png()).decode()


def opened(folder: Path, names: str, **settings: str) -> TestClient:
    given = Settings.model_validate({"data_dir": folder, "compatible_routes": names, **settings})
    app = create_app(given)
    add_compatible(app, given.compatible_routes)
    return TestClient(app)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with opened(tmp_path, "meshes,hunyuan3d", image_max_bytes="5000") as one:
        wait_for(lambda: one.app.state.service.is_connected, "the database is open")  # type: ignore[attr-defined]
        yield one


def test_only_the_named_routes_are_there(tmp_path: Path) -> None:
    with opened(tmp_path, "hunyuan3d") as one:
        wait_for(lambda: one.app.state.service.is_connected, "the database is open")  # type: ignore[attr-defined]
        assert one.get("/v1/meshes").status_code == 404
        assert one.get("/status/0").status_code == 404
        assert one.get("/status/0").json()["error_code"] == 1


def test_no_setting_means_no_such_routes() -> None:
    assert Settings().compatible_routes == ()
    assert Settings.model_validate({"compatible_routes": " meshes , hunyuan3d "}).compatible_routes == (
        "meshes",
        "hunyuan3d",
    )
    with pytest.raises(ValidationError, match="meshes"):
        Settings.model_validate({"compatible_routes": "comfy"})


def test_they_stand_in_no_document(client: TestClient) -> None:
    assert not {"/v1/meshes", "/generate", "/send"} & client.get("/openapi.json").json()["paths"].keys()


def test_a_job_that_waits_is_processing_and_queued(client: TestClient) -> None:
    uid = client.post("/send", json={"image": IMAGE}).json()["uid"]

    assert client.get(f"/status/{uid}").json() == {"status": "processing"}
    mesh = client.get(f"/v1/meshes/{uid}").json()
    assert (mesh["status"], mesh["progress"], mesh["completed_at"]) == ("queued", 0, None)
    assert client.get("/v1/meshes").json() == {"object": "list", "data": [], "has_more": False}


def test_before_the_database_is_open_the_answer_is_later_in_their_form(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path))
    add_compatible(app, ("meshes", "hunyuan3d"))
    client = TestClient(app)  # not entered: nothing is opened

    for path, field in (("/v1/meshes", "detail"), ("/status/0", "text")):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "starting" in answer.json()[field]


@pytest.mark.parametrize("path", ["/v1/meshes", "/generate", "/send"])
def test_bodies_have_the_limits_of_the_api(client: TestClient, path: str) -> None:
    field = "input_image" if path == "/v1/meshes" else "image"
    large = base64.b64encode(cut_out_png() + b"\0" * 6000).decode()

    assert client.post(path, json={field: large}).status_code == 422
    assert client.post(path, json={field: "A" * 200_000}).status_code == 413
    assert client.post(path, content=b"<a/>", headers={"Content-Type": "text/xml"}).status_code == 415
    assert client.post(path, content=b"[]", headers={"Content-Type": "application/json"}).status_code == 422


def test_a_form_of_another_origins_page_is_refused(client: TestClient) -> None:
    files = {"image": ("a.png", cut_out_png(), "image/png")}

    answer = client.post("/v1/meshes", files=files, headers={"Origin": "https://evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (403, "cross_origin")
