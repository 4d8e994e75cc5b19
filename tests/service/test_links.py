"""Meshes that do not travel inside the webhook: links, and uploads to a presigned URL."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from typing import Any

from standardwebhooks import Webhook

from service.conftest import SECRET
from service.house import Delivered, House, Outside, wait_for
from service.test_deliveries import wait_for_last


def delivered_to(outside: Outside, path: str, count: int = 1) -> list[Delivered]:
    return wait_for(lambda: len(seen := outside.posts(path)) == count and seen, f"{path} has {count}")


def artifact_of(event: str | bytes) -> dict[str, Any]:
    return json.loads(event)["data"]["artifact"]


def test_a_link_leads_to_the_very_file_and_is_its_own_permission(house: House, outside: Outside) -> None:
    house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url("/link"), webhook_format="link")
    (post,) = delivered_to(outside, "/link")

    Webhook(SECRET).verify(post.body.decode(), post.headers)
    artifact = artifact_of(post.body)
    with urllib.request.urlopen(artifact["url"], timeout=60) as answer:
        data = answer.read()
        assert answer.headers["content-disposition"] == 'attachment; filename="a1.stl"'
    assert (len(data), hashlib.sha256(data).hexdigest()) == (artifact["size"], artifact["sha256"])

    path = artifact["url"].removeprefix(f"http://127.0.0.1:{house.port}")
    forged = house.ask("GET", path.replace("expires=1", "expires=2"))
    assert (forged.status, forged.json["code"]) == (403, "link_invalid")
    assert house.ask("GET", path.partition("?")[0]).json["code"] == "link_invalid"


def test_every_form_tells_where_the_file_is(house: House, outside: Outside) -> None:
    for form in ("multipart", "binary"):
        path = f"/told-{form}"
        house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url(path), webhook_format=form)
        (post,) = delivered_to(outside, path)
        event = post.parts["event"] if form == "multipart" else post.headers["x-generation-event"]
        assert artifact_of(event)["url"].startswith(f"http://127.0.0.1:{house.port}/files/")


def test_a_receiver_that_finds_the_body_too_large_gets_a_link(house: House, outside: Outside) -> None:
    outside.answers["/small"] = [(413, {})]
    job_id = house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url("/small"))

    attempts = wait_for_last(house, job_id, "accepted")

    assert [(one["status"], one["form"]) for one in attempts] == [(413, "multipart"), (200, "link")]
    assert attempts[0]["detail"] == "the receiver answered 413, a link follows"
    large, small = outside.posts("/small")
    assert "x-delivery-fallback" not in large.headers
    assert small.headers["x-delivery-fallback"] == "payload_too_large"
    assert "url" in artifact_of(small.body)


def test_a_mesh_is_put_to_a_presigned_url_and_the_webhook_carries_the_event(
    house: House, outside: Outside
) -> None:
    outside.answers["/bucket/a.stl?sign=1"] = [(503, {})]
    job_id = house.submit(
        image_url=outside.url("/a.png"),
        upload_url=outside.url("/bucket/a.stl?sign=1"),
        webhook_url=outside.url("/uploaded"),
    )

    attempts = wait_for_last(house, job_id, "accepted")

    assert [one["status"] for one in attempts] == [503, 200]
    assert attempts[0]["detail"] == "the file could not be uploaded: the upload's server answered 503"
    _, put = outside.posts("/bucket/a.stl?sign=1")
    (told,) = outside.posts("/uploaded")
    assert (put.method, put.headers["content-type"]) == ("PUT", "model/stl")
    assert "transfer-encoding" not in put.headers
    assert hashlib.sha256(put.body).hexdigest() == artifact_of(told.body)["sha256"]


def test_an_upload_needs_no_webhook(house: House, outside: Outside) -> None:
    job_id = house.submit(image_url=outside.url("/a.png"), upload_url=outside.url("/bucket/b.stl"))

    (attempt,) = wait_for_last(house, job_id, "accepted")

    assert attempt["detail"] == "uploaded"
    assert len(outside.posts("/bucket/b.stl")) == 1


def test_an_upload_of_a_job_that_failed_tells_the_webhook_alone(house: House, outside: Outside) -> None:
    house.submit(
        image_url=outside.url("/none"),
        upload_url=outside.url("/bucket/c.stl"),
        webhook_url=outside.url("/sad"),
    )

    (told,) = delivered_to(outside, "/sad")

    assert json.loads(told.body)["data"]["error"]["code"] == "image_download_failed"
    assert not outside.posts("/bucket/c.stl")


def test_an_upload_url_is_checked_at_the_door(house: House) -> None:
    answer = house.ask(
        "POST",
        "/generate-3d",
        {
            "session_id": "s",
            "asset_id": "a",
            "image_url": "https://1.1.1.1/a.png",
            "upload_url": "http://169.254.169.254/x",
        },
    )

    (error,) = answer.json["errors"]
    assert (answer.status, error["field"], error["code"]) == (422, "upload_url", "upload_url_forbidden")
