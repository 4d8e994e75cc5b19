"""A mesh goes straight into an S3-compatible bucket, by a URL that its owner signed beforehand."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator

import pytest
from support.s3_server import S3Server

from service.house import House, Outside
from service.test_deliveries import wait_for_last


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.close()


def test_the_object_is_the_mesh_with_its_content_type(house: House, outside: Outside, s3: S3Server) -> None:
    bucket = s3.new_bucket()
    url = s3.presigned_put(bucket, "meshes/cup.stl", "model/stl")
    job_id = house.submit(image_url=outside.url("/a.png"), upload_url=url)

    (attempt,) = wait_for_last(house, job_id, "accepted")

    content_type, content = s3.get(bucket, "meshes/cup.stl")
    assert (attempt["status"], attempt["detail"]) == (200, "uploaded")
    assert content_type == "model/stl"
    assert hashlib.sha256(content).hexdigest() == house.job(job_id)["artifact"]["sha256"]


def test_signed_headers_reach_the_bucket(house: House, outside: Outside, s3: S3Server) -> None:
    bucket = s3.new_bucket()
    url = s3.presigned_put(bucket, "meshes/typed.stl", "application/vnd.ms-pki.stl")
    job_id = house.submit(
        image_url=outside.url("/a.png"),
        upload_url=url,
        upload_headers={"Content-Type": "application/vnd.ms-pki.stl"},
    )

    wait_for_last(house, job_id, "accepted")

    assert s3.get(bucket, "meshes/typed.stl")[0] == "application/vnd.ms-pki.stl"
    assert house.job(job_id)["upload"]["state"] == "uploaded"


@pytest.mark.parametrize(
    ("status", "num_puts"), [(400, 2), (401, 2), (403, 2), (404, 2), (410, 1), (411, 1), (501, 1), (302, 1)]
)
def test_an_upload_that_can_not_work_is_given_up_and_the_webhook_has_the_file(
    house: House, outside: Outside, status: int, num_puts: int
) -> None:
    outside.answers[f"/put-{status}"] = [(status, {})] * 9
    job_id = house.submit(
        image_url=outside.url("/a.png"),
        upload_url=outside.url(f"/put-{status}"),
        webhook_url=outside.url(f"/hook-{status}"),
    )

    attempts = wait_for_last(house, job_id, "accepted")

    (told,) = outside.posts(f"/hook-{status}")
    event = json.loads(told.body)
    assert len(outside.posts(f"/put-{status}")) == num_puts
    assert [attempt["status"] for attempt in attempts] == [status] * num_puts + [200]
    assert (event["data"]["upload"]["state"], event["data"]["upload"]["status"]) == ("given_up", status)
    assert told.headers["x-delivery-fallback"] == "upload_failed"
    with urllib.request.urlopen(event["data"]["artifact"]["url"]) as answer:
        assert hashlib.sha256(answer.read()).hexdigest() == event["data"]["artifact"]["sha256"]


def test_an_upload_without_a_webhook_is_dead_and_the_job_says_why(house: House, outside: Outside) -> None:
    outside.answers["/put-alone"] = [(403, {})] * 9
    job_id = house.submit(image_url=outside.url("/a.png"), upload_url=outside.url("/put-alone"))

    attempts = wait_for_last(house, job_id, "dead")

    assert [attempt["state"] for attempt in attempts] == ["failed", "dead"]
    assert house.job(job_id)["upload"] == {
        "state": "given_up",
        "status": 403,
        "detail": "the file could not be uploaded: the upload's server answered 403",
    }


def test_one_redirect_of_an_upload_is_followed(house: House, outside: Outside) -> None:
    outside.answers["/put-moved"] = [(307, {"Location": "/put-here"})]
    job_id = house.submit(image_url=outside.url("/a.png"), upload_url=outside.url("/put-moved"))

    wait_for_last(house, job_id, "accepted")

    (put,) = outside.posts("/put-here")
    assert (put.method, put.headers["content-type"]) == ("PUT", "model/stl")
    assert hashlib.sha256(put.body).hexdigest() == house.job(job_id)["artifact"]["sha256"]
