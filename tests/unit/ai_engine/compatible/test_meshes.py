"""What `/v1/meshes` makes of a request, in this process, without a worker."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from service.house import cut_out_png, wait_for

from ai_engine.api.app import create_app
from ai_engine.compatible.endpoints import add_compatible
from ai_engine.settings import Settings

IMAGE = base64.b64encode(cut_out_png()).decode()
FILE = ("a.png", cut_out_png(), "image/png")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    app = create_app(Settings(data_dir=tmp_path))
    add_compatible(app, ("meshes",))
    with TestClient(app) as one:
        wait_for(lambda: app.state.service.is_connected, "the database is open")
        yield one


def options(client: TestClient, mesh: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/jobs/{mesh['id']}").json()["options"]
    return found


def test_fields_of_json_and_of_a_form_ask_for_the_same_job(client: TestClient) -> None:
    fields = {"seed": 3, "num_inference_steps": 20, "guidance_scale": 5.5, "output_format": "obj"}
    said = {
        "prompt": "a chair",
        "negative_prompt": "blurry",
        "generator_device": "cuda",
        "model": "tencent/x",
    }

    by_json = client.post("/v1/meshes", json=fields | said | {"input_image": IMAGE}).json()
    texts = {name: str(value) for name, value in (fields | said).items()}
    by_form = client.post("/v1/meshes", data=texts, files={"image": FILE}).json()

    assert options(client, by_json) == options(client, by_form)
    asked = options(client, by_json)
    assert (asked["seed"], asked["num_inference_steps"], asked["guidance_scale"]) == (3, 20, 5.5)
    assert (by_json["format"], by_json["status"], by_json["object"]) == ("obj", "queued", "mesh")


@pytest.mark.parametrize("part", ["image", "image[]"])
def test_the_picture_of_a_form_has_either_name(client: TestClient, part: str) -> None:
    assert client.post("/v1/meshes", files={part: FILE}).json()["format"] == "glb"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "base64"),
        ({"input_image": IMAGE, "seed": [1, 2]}, "seed"),
        ({"input_image": IMAGE, "output_format": "usdz"}, "format"),
        ({"input_image": "http://169.254.169.254/a.png"}, "metadata service"),
        ({"input_image": IMAGE, "guidance_scale": 99}, "guidance_scale"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_a_sentence(
    client: TestClient, said: dict[str, Any], words: str
) -> None:
    answer = client.post("/v1/meshes", json=said)

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert words in answer.json()["detail"]


def test_two_pictures_are_one_too_many(client: TestClient) -> None:
    answer = client.post("/v1/meshes", files=[("image[]", FILE), ("image[]", FILE)])

    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


def test_an_idempotency_key_holds_here_too(client: TestClient) -> None:
    once, again = (
        client.post("/v1/meshes", json={"input_image": IMAGE}, headers={"Idempotency-Key": "k"}).json()
        for _ in range(2)
    )

    assert once["id"] == again["id"]


@pytest.mark.parametrize("mesh_id", ["0" * 32, "mesh-1", "%00"])
def test_a_mesh_that_is_not_known_is_not_found(client: TestClient, mesh_id: str) -> None:
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        answer = client.request(method, f"/v1/meshes/{mesh_id}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert client.get(f"/v1/meshes?after={mesh_id}").status_code == 404
