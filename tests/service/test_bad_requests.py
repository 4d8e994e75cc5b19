"""What can be refused at the door is refused there, in the one form that all errors have."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from service.house import Answer, House

GOOD = {"session_id": "s1", "asset_id": "a1", "image_url": "https://example.com/a.png"}
PROBLEM = {"type", "title", "status", "detail", "instance", "code"}


def refused(answer: Answer, status: int, code: str) -> dict[str, Any]:
    assert (answer.status, answer.json["code"]) == (status, code), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json) >= PROBLEM
    assert answer.json["status"] == status
    return answer.json


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"imagee_url": "x"}, "imagee_url", "unknown_field"),
        ({"callback": {"a": 1}}, "callback", "unknown_field"),
        ({"session_id": "../../etc"}, "session_id", "string_pattern_mismatch"),
        ({"asset_id": "a/b"}, "asset_id", "string_pattern_mismatch"),
        ({"asset_id": "a\nX-Evil: 1"}, "asset_id", "string_pattern_mismatch"),
        ({"asset_id": "a1\n"}, "asset_id", "string_pattern_mismatch"),
        ({"asset_id": 'a"; filename="b'}, "asset_id", "string_pattern_mismatch"),
        ({"session_id": ""}, "session_id", "string_pattern_mismatch"),
        ({"session_id": "x" * 129}, "session_id", "string_pattern_mismatch"),
        ({"session_id": None}, "session_id", "string_type"),
        ({"num_inference_steps": 0}, "num_inference_steps", "greater_than_equal"),
        ({"num_inference_steps": 101}, "num_inference_steps", "less_than_equal"),
        ({"guidance_scale": "NaN"}, "guidance_scale", "less_than_equal"),
        ({"seed": 2**63}, "seed", "less_than_equal"),
        ({"octree_resolution": 31}, "octree_resolution", "greater_than_equal"),
        ({"quality": "best"}, "quality", "literal_error"),
        ({"format": "step"}, "format", "literal_error"),
        ({"image_url": "http://169.254.169.254/latest"}, "image_url", "image_url_forbidden"),
        ({"image_url": "file:///etc/passwd"}, "image_url", "image_url_forbidden"),
        ({"image_url": "http://user:pw@example.com/a.png"}, "image_url", "image_url_forbidden"),
        ({"image_url": "http://10.0.0.7/a.png"}, "image_url", "image_url_forbidden"),
        ({"webhook_url": "http://192.168.1.1/"}, "webhook_url", "webhook_url_forbidden"),
        ({"webhook_url": "ftp://example.com/"}, "webhook_url", "webhook_url_forbidden"),
        ({"image_url": "data:image/png;base64,!!!"}, "image_url", "image_invalid"),
        ({"image_url": "data:text/html;base64,PGI+"}, "image_url", "image_invalid"),
        ({"image_url": "data:image/png;base64,PGI+"}, "image_url", "image_invalid"),
    ],
)
def test_a_bad_field_is_refused_by_its_name(
    house: House, change: dict[str, Any], field: str, code: str
) -> None:
    answer = house.ask("POST", "/generate-3d", GOOD | change)

    (error,) = refused(answer, 422, "validation_failed")["errors"]
    assert (error["field"], error["code"]) == (field, code)


def test_all_bad_fields_are_named_at_once(house: House) -> None:
    answer = house.ask("POST", "/generate-3d", {"session_id": "s", "quality": "best", "x": 1})

    fields = {error["field"] for error in refused(answer, 422, "validation_failed")["errors"]}
    assert fields == {"asset_id", "image_url", "quality", "x"}


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b'"text"', b"\xff\xfe", b"null"])
def test_a_body_that_is_no_json_object_is_refused(house: House, body: bytes) -> None:
    refused(house.ask("POST", "/generate-3d", body), 422, "validation_failed")


def test_a_body_of_another_type_is_refused(house: House) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    refused(house.ask("POST", "/generate-3d", b"session_id=s", headers), 415, "unsupported_media_type")


@pytest.mark.parametrize("padding", ["x" * 70_000, "data:image/png;base64," + "A" * 3_000_000])
def test_a_body_over_the_limit_is_refused(house: House, padding: str) -> None:
    refused(house.ask("POST", "/generate-3d", GOOD | {"image_url": padding}), 413, "body_too_large")


def test_many_small_fields_are_refused_unread(house: House) -> None:
    fields = b",".join(b'"%x":0' % number for number in range(100_000))
    picture = b'"image_url":"data:image/png;base64,aGk="'

    for body in (b"{%s}" % fields, b"{%s,%s}" % (picture, fields)):
        refused(house.ask("POST", "/generate-3d", body), 413, "body_too_large")


def test_a_field_that_is_there_twice_is_refused(house: House) -> None:
    body = json.dumps(GOOD).replace("}", ', "session_id": "s2"}').encode()

    (error,) = refused(house.ask("POST", "/generate-3d", body), 422, "validation_failed")["errors"]
    assert (error["field"], error["code"]) == ("session_id", "duplicate_field")


def test_an_idempotency_key_that_is_none_is_refused(house: House) -> None:
    answer = house.ask("POST", "/generate-3d", GOOD, {"Idempotency-Key": "k" * 300})

    refused(answer, 422, "validation_failed")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/generate-3d", 405, "method_not_allowed"),
        ("PUT", "/jobs/0123", 405, "method_not_allowed"),
        ("GET", "/jobs/00000000000000000000000000000000", 404, "not_found"),
        ("GET", "/jobs/..%2f..%2fetc%2fpasswd", 404, "not_found"),
        ("GET", "/jobs/a%0Ab", 404, "not_found"),
        ("GET", "/jobs/00000000000000000000000000000000/mesh", 404, "not_found"),
        ("GET", "/jobs/00000000000000000000000000000000/events", 404, "not_found"),
        ("DELETE", "/jobs/00000000000000000000000000000000", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_answered_in_the_same_form(
    house: House, method: str, path: str, status: int, code: str
) -> None:
    refused(house.ask(method, path), status, code)


def test_a_delivery_is_no_job(house: House) -> None:
    refused(house.ask("GET", "/jobs/00000000000000000000000000000000:deliver:1"), 404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        *("/jobs/{}", "/jobs/{}/mesh", "/jobs/{}/cutout.png", "/jobs/{}/preview.png", "/jobs/{}/events"),
        *("/cut-outs/{}", "/cut-outs/{}/cutout.png"),
    ],
)
def test_an_id_with_a_nul_never_reaches_the_database(each_house: House, path: str) -> None:
    for made_up in ("%00", "0000000000000000000000000000000%00"):
        refused(each_house.ask("GET", path.format(made_up)), 404, "not_found")


def test_a_cut_out_with_a_nul_in_its_id_never_reaches_the_database(each_house: House) -> None:
    answer = each_house.ask(
        "POST", "/generate-3d", {"session_id": "s1", "asset_id": "a1", "cut_out_id": "\0"}
    )
    assert answer.status == 422, answer.body


@pytest.mark.parametrize(
    "place", ["1.0 \0", "1.0 a\0b", "nan 00000000000000000000000000000000", "inf 0", "1.0 '"]
)
@pytest.mark.parametrize("path", ["/jobs", "/deliveries"])
def test_a_cursor_that_was_made_up_never_reaches_the_database(
    each_house: House, path: str, place: str
) -> None:
    cursor = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
    refused(each_house.ask("GET", f"{path}?cursor={cursor}"), 422, "validation_failed")
    refused(each_house.ask("GET", f"{path}?cursor=%00"), 422, "validation_failed")
