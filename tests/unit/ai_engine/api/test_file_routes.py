from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient

from ai_engine.api.file_routes import file_answer
from ai_engine.job import Artifact
from ai_engine.storage.store import LocalStore
from ai_engine.web.problems import install_problem_handlers

DATA = bytes(range(250)) * 2000


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


@pytest.fixture
def artifact(store: LocalStore) -> Artifact:
    return store.put_bytes("job", "mesh.stl", DATA)


@pytest.fixture
def client(store: LocalStore, artifact: Artifact) -> TestClient:
    app = FastAPI()
    install_problem_handlers(app)

    @app.head("/mesh")
    @app.get("/mesh")
    def mesh(request: Request) -> Response:
        return file_answer(request, store, artifact, media_type="model/stl", filename="a1.stl")

    return TestClient(app)


def test_the_whole_file_comes_with_its_length_name_and_sha256(client: TestClient, artifact: Artifact) -> None:
    answer = client.get("/mesh")

    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["content-type"] == "model/stl"
    assert answer.headers["content-disposition"] == 'attachment; filename="a1.stl"'
    assert answer.headers["etag"] == f'"{artifact.sha256}"'


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=499990-", 499_990, 500_000),
        ("bytes=499990-999999", 499_990, 500_000),
        ("bytes=-5", 499_995, 500_000),
        ("bytes=-900000", 0, 500_000),
        ("bytes=0-", 0, 500_000),
    ],
)
def test_a_part_comes_alone(client: TestClient, asked: str, start: int, stop: int) -> None:
    answer = client.get("/mesh", headers={"Range": asked})

    assert (answer.status_code, answer.content) == (206, DATA[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/500000"
    assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=5-4",
        "bytes=-",
        "bytes=a-b",
        "lines=1-2",
        "bytes=0-1,5-6",
        "bytes 0-1",
        "",
        "bytes=٣-٤",
        f"bytes={'9' * 5000}-",
        f"bytes=0-{'9' * 5000}",
        f"bytes=-{'9' * 5000}",
    ],
)
def test_what_is_no_part_is_answered_by_the_whole_file(client: TestClient, asked: str) -> None:
    answer = client.get("/mesh", headers={b"Range": asked.encode()})

    assert (answer.status_code, len(answer.content)) == (200, len(DATA))


@pytest.mark.parametrize("asked", ["bytes=500000-", "bytes=600000-700000", "bytes=-0"])
def test_a_part_beyond_the_end_is_refused(client: TestClient, asked: str) -> None:
    answer = client.get("/mesh", headers={"Range": asked})

    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */500000")
    assert answer.json()["code"] == "range_not_satisfiable"


def test_a_part_of_another_version_is_answered_by_the_whole_file(
    client: TestClient, artifact: Artifact
) -> None:
    same = client.get("/mesh", headers={"Range": "bytes=0-4", "If-Range": f'"{artifact.sha256}"'})
    other = client.get("/mesh", headers={"Range": "bytes=0-4", "If-Range": '"another"'})

    assert (same.status_code, other.status_code) == (206, 200)


@pytest.mark.parametrize("listed", ['"{}"', 'W/"{}"', '"x", "{}"', "*"])
def test_who_has_the_file_already_is_told_so(client: TestClient, artifact: Artifact, listed: str) -> None:
    answer = client.get("/mesh", headers={"If-None-Match": listed.format(artifact.sha256)})

    assert (answer.status_code, answer.content) == (304, b"")


def test_head_tells_the_length_and_sends_nothing(client: TestClient) -> None:
    answer = client.head("/mesh")

    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "500000", b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_file_that_is_not_kept_any_more_is_gone(client: TestClient, store: LocalStore, method: str) -> None:
    store.remove("job")

    for headers in ({}, {"If-None-Match": "*"}, {"Range": "bytes=0-1"}):
        assert client.request(method, "/mesh", headers=headers).status_code == 410
