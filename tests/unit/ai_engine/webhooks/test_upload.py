"""Headers of an upload: what a signed URL needs, and nothing that could change the request."""

from __future__ import annotations

import pytest
from support.sample_job import job

from ai_engine.webhooks.upload import MAX_HEADERS, Upload, check_headers


def test_headers_that_signed_urls_need_are_taken_by_lower_case_name() -> None:
    asked = {
        "Content-Type": "application/octet-stream",
        "x-ms-blob-type": "BlockBlob",
        "Cache-Control": "private, max-age=60",
        "X-Amz-Server-Side-Encryption": "AES256",
        "x-goog-meta-order": "17",
    }

    assert check_headers(asked) == {name.lower(): value for name, value in asked.items()}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer x"},
        {"host": "example.com"},
        {"content-length": "3"},
        {"transfer-encoding": "chunked"},
        {"x-ms-version": "1"},
        {"x-amz-": "x"},
        {"x-amz-a\r\nhost": "x"},
        {"x-amz-acl": "a\r\nHost: b"},
        {"x-amz-acl": "a\n"},
        {"x-amz-acl": ""},
        {"x-amz-acl": " a"},
        {"x-amz-acl": "ä"},
        {"x-amz-acl": "a" * 2049},
        {"x-amz-acl": "a", "X-Amz-Acl": "b"},
        {f"x-amz-meta-{n}": "a" for n in range(MAX_HEADERS + 1)},
        {f"x-amz-meta-{n}": "a" * 2048 for n in range(4)},
    ],
    ids=repr,
)
def test_other_headers_control_characters_and_too_many_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"header|only|value"):
        check_headers(headers)


def test_a_content_type_of_the_callers_replaces_the_formats() -> None:
    plain = Upload.of(job(upload_url="https://e.com/put", format="glb"))
    signed = Upload.of(job(upload_url="https://e.com/put", upload_headers={"content-type": "text/plain"}))

    assert plain is not None
    assert plain.headers == {"content-type": "model/gltf-binary"}
    assert signed is not None
    assert signed.headers == {"content-type": "text/plain"}
    assert Upload.of(job()) is None


def test_a_presigned_url_stands_in_no_log() -> None:
    assert "secret" not in repr(Upload("https://e.com/put?X-Amz-Signature=secret", {}))
