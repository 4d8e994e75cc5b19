"""A mesh goes straight into an S3-compatible bucket, by a URL that its owner signed beforehand."""

from __future__ import annotations

import hashlib
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
