"""A service with two keys, as it stands on the internet: who gets in, and who sees what."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
from support.open_queues import opened_queue

from ai_engine.job import PictureSource
from ai_engine.job_queue.on_demand import CutOutTask
from ai_engine.settings import Settings
from ai_engine.web.api_keys import new_key, setting_entry
from service.house import Answer, House, Outside, wait_for

SHOP, PRESS = new_key(), new_key()
OPEN = ("/health", "/livez", "/readyz")


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """An API with keys, and no worker: what is queued stays queued."""
    settings = {
        "API_KEYS": f"{setting_entry('shop', SHOP)},{setting_entry('press', PRESS)}",
        "HOST": "0.0.0.0",
        "PROFILE": "development",
        "MAX_OPEN_JOBS_PER_KEY": "3",
        "MAX_OPEN_STREAMS_PER_KEY": "2",
        "REQUESTS_PER_MINUTE": "100000",
        "CORS_ORIGINS": "https://app.example.com",
    }
    house = House(tmp_path_factory.mktemp("guarded"), settings)
    house.start("api")
    wait_for(house.is_open, "the port is open")
    wait_for(lambda: house.ask("GET", "/jobs/none", headers=bearer(SHOP)).status == 404, "it is connected")
    yield house
    house.close()


def submit(house: House, outside: Outside, key: str, **headers: str) -> Answer:
    request = {"session_id": "s", "asset_id": "a", "image_url": outside.url("/a.png")}
    return house.ask("POST", "/generate-3d", request, bearer(key) | headers)


def opened_stream(house: House, path: str, key: str, *, may_be_refused: bool = False) -> Any:
    """The connection of a stream that has begun."""
    connection = HTTPConnection("127.0.0.1", house.port, timeout=60)
    connection.request("GET", path, headers=bearer(key))
    answer = connection.getresponse()
    if answer.status == 429 and may_be_refused:
        connection.close()
        return None
    assert answer.status == 200
    answer.readline()
    return connection


@pytest.fixture
def job_id(guarded: House, outside: Outside) -> Iterator[str]:
    """A job of the shop, open during the test."""
    answer = submit(guarded, outside, SHOP)
    assert answer.status == 202, answer.body
    yield answer.json["job_id"]
    guarded.ask("DELETE", f"/jobs/{answer.json['job_id']}", headers=bearer(SHOP))


@pytest.mark.parametrize(
    "headers", [{}, bearer("aie_guess"), {"Authorization": "Basic c2hvcDo="}, bearer("")]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/generate-3d"),
        ("GET", "/jobs/0"),
        ("DELETE", "/jobs/0"),
        ("GET", "/jobs/0/mesh"),
        ("GET", "/jobs/0/preview.png"),
        ("GET", "/jobs/0/events"),
    ],
)
def test_without_a_right_key_nothing_is_told(
    guarded: House, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = guarded.ask(method, path, headers=headers)

    assert (answer.status, answer.json["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_route_that_is_described_needs_a_key_but_those_that_are_open(guarded: House) -> None:
    described = guarded.ask("GET", "/openapi.json").json["paths"]

    answers = {
        path: guarded.ask(
            "POST" if "get" not in operations else "GET",
            path.replace("{job_id}", "0").replace("{cut_out_id}", "0"),
        ).status
        for path, operations in described.items()
    }
    assert set(OPEN) <= set(answers)
    unlocked = {path for path, status in answers.items() if status != 401}
    assert unlocked <= {
        *OPEN,
        "/",
        "/licences",
        "/matting-models",
        "/models",
        "/files/{job_id}/{file_name}",
    }, answers


def test_a_key_in_the_query_lets_nobody_in(guarded: House) -> None:
    assert guarded.ask("GET", f"/jobs/0?key={SHOP}&access_token={SHOP}").status == 401


def test_a_job_is_there_for_its_key_alone(guarded: House, job_id: str) -> None:
    seen = guarded.ask("GET", f"/jobs/{job_id}", headers=bearer(SHOP))
    assert (seen.status, seen.json["status"]) == (200, "queued")

    for method, path in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/mesh"),
        ("GET", "/preview.png"),
        ("GET", "/events"),
    ]:
        answer = guarded.ask(method, f"/jobs/{job_id}{path}", headers=bearer(PRESS))
        nobody = guarded.ask(method, f"/jobs/{'0' * 32}{path}", headers=bearer(PRESS))
        assert (answer.status, answer.json["code"]) == (404, "not_found")
        assert answer.body.replace(job_id.encode(), b"") == nobody.body.replace(b"0" * 32, b"")
    assert guarded.ask("GET", f"/jobs/{job_id}", headers=bearer(SHOP)).json["status"] == "queued"


def test_two_owners_may_use_the_same_idempotency_key(guarded: House, outside: Outside) -> None:
    mine = submit(guarded, outside, SHOP, **{"Idempotency-Key": "1"})
    again = submit(guarded, outside, SHOP, **{"Idempotency-Key": "1"})
    theirs = submit(guarded, outside, PRESS, **{"Idempotency-Key": "1"})
    for key, answer in ((SHOP, mine), (PRESS, theirs)):
        guarded.ask("DELETE", answer.json["location"] if "location" in answer.json else answer.json["status_url"],
                    headers=bearer(key))  # fmt: skip

    assert (mine.status, again.status, theirs.status) == (202, 200, 202)
    assert mine.json["job_id"] == again.json["job_id"] != theirs.json["job_id"]


def test_one_key_can_not_fill_the_queue_and_may_go_on_when_a_job_is_over(
    guarded: House, outside: Outside
) -> None:
    jobs = [submit(guarded, outside, SHOP).json["job_id"] for _ in range(3)]
    refused = submit(guarded, outside, SHOP)
    other = submit(guarded, outside, PRESS)
    guarded.ask("DELETE", f"/jobs/{jobs.pop()}", headers=bearer(SHOP))
    after = submit(guarded, outside, SHOP)
    for key, job_id in [(SHOP, job_id) for job_id in [*jobs, after.json["job_id"]]] + [
        (PRESS, other.json["job_id"])
    ]:
        guarded.ask("DELETE", f"/jobs/{job_id}", headers=bearer(key))

    assert (refused.status, refused.json["code"]) == (429, "too_many_jobs")
    assert int(refused.headers["retry-after"]) >= 1
    assert (other.status, after.status) == (202, 202)


def test_one_key_can_not_hold_every_stream_and_may_open_another_when_one_is_closed(
    guarded: House, outside: Outside, job_id: str
) -> None:
    path, theirs = f"/jobs/{job_id}/events", submit(guarded, outside, PRESS).json["job_id"]
    with closing(opened_stream(guarded, path, SHOP)):
        with closing(opened_stream(guarded, path, SHOP)):
            refused = guarded.ask("GET", path, headers=bearer(SHOP))
            opened_stream(guarded, f"/jobs/{theirs}/events", PRESS).close()
        wait_for(lambda: opened_stream(guarded, path, SHOP, may_be_refused=True), "its place is free").close()

    assert (refused.status, refused.json["code"]) == (429, "too_many_streams")
    assert int(refused.headers["retry-after"]) >= 1
    guarded.ask("DELETE", f"/jobs/{theirs}", headers=bearer(PRESS))


def test_probes_are_answered_without_a_key(guarded: House) -> None:
    assert [guarded.ask("GET", path).status for path in OPEN] == [200, 200, 503]


def test_pages_of_the_named_origin_may_ask_and_no_others(guarded: House) -> None:
    wishes = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    named, other = (
        guarded.ask("OPTIONS", "/generate-3d", headers={"Origin": origin} | wishes)
        for origin in ("https://app.example.com", "https://evil.example")
    )

    assert (named.status, named.headers["access-control-allow-origin"]) == (200, "https://app.example.com")
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-credentials" not in named.headers


def test_unless_it_is_asked_for_no_other_page_may_use_the_api(house: House) -> None:
    answer = house.ask("GET", "/health", headers={"Origin": "https://app.example.com"})

    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "server" not in answer.headers


def test_the_log_names_the_caller_and_never_the_key(guarded: House, job_id: str) -> None:
    guarded.ask("GET", f"/jobs/{job_id}?secret=hunter2", headers=bearer(SHOP) | {"X-Request-ID": "find-me"})

    (line,) = wait_for(
        lambda: [line for line in guarded.log("api") if line.get("request_id") == "find-me"], "it is logged"
    )
    assert (line["caller"], line["status"], line["path"]) == ("shop", 200, f"/jobs/{job_id}")
    text = guarded.log_path("api").read_text()
    assert not [secret for secret in (SHOP, PRESS, "hunter2", "aie_") if secret in text]


def test_a_cut_out_is_there_for_its_key_alone(guarded: House, job_id: str) -> None:
    source = PictureSource(uuid.uuid4().hex, "https://example.com/a.png", None, None, None, None, "auto")
    with opened_queue(Settings(data_dir=guarded.folder / "data")) as queue:
        queue.cut_outs.submit(CutOutTask(source, "shop", 0.0, 0.0))
    path = f"/cut-outs/{source.entry_id}"
    begins_with_it = {"session_id": "s", "asset_id": "a", "cut_out_id": source.entry_id}

    statuses = [
        guarded.ask("GET", f"{path}{rest}", headers=headers).status
        for rest in ("", "/cutout.png")
        for headers in ({}, bearer(PRESS), bearer(SHOP))
    ]
    stolen = guarded.ask("POST", "/generate-3d", begins_with_it, bearer(PRESS))

    assert statuses == [401, 404, 409] * 2
    assert stolen.json["errors"][0]["code"] == "cut_out_unknown"
    assert "There is no cut-out" in stolen.json["errors"][0]["detail"]
