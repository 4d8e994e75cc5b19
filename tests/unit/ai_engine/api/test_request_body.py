"""One body, one Submission: each kind of body goes through the real parser, no service needed."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from fastapi import Request
from pydantic import ValidationError
from service.house import cut_out_png

from ai_engine.api.request_body import RequestHeaders, Submission, read_submission
from ai_engine.api.request_schema import JobRequest
from ai_engine.errors import BodyTooLarge, BodyTypeUnknown, InvalidField
from ai_engine.settings import Settings
from ai_engine.web.api_keys import ApiKeys
from ai_engine.web.auth import Access, Caller

CASES = Path(__file__).parent / "cases"
PICTURE = cut_out_png()
DATA_URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
FIELDS: dict[str, Any] = {"session_id": "s1", "asset_id": "a1", "image_url": "https://example.com/a.png"}
BOUNDARY = "boundary"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def read(body: bytes, media_type: str = "application/json", **headers: str) -> Submission[JobRequest]:
    """The submission, with its picture read into the digest that stands in it."""
    named = {"content-type": media_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/generate-3d",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        "app": SimpleNamespace(state=SimpleNamespace(access=Access(Settings(), ApiKeys()))),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def run() -> Submission[JobRequest]:
        request, settings = Request(scope, receive), Settings(image_max_bytes=200_000)
        async with read_submission(
            request, RequestHeaders("shop"), Caller("shop"), settings, JobRequest
        ) as submission:
            if submission.picture is not None:
                submission.picture.file.seek(0)
                content = submission.picture.file.read()
                assert hashlib.sha256(content).hexdigest() == submission.picture.sha256
            return submission

    return anyio.run(run)


def form(*parts: tuple[str, str, bytes]) -> bytes:
    """A form of parts `(name, what follows the name, content)`."""
    body = b""
    for name, rest, content in parts:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{rest}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


NAMES = (("session_id", "", b"s1"), ("asset_id", "", b"a1"))


def test_a_url_stays_in_the_request() -> None:
    submission = read(json.dumps(FIELDS).encode())

    assert submission.request.image_url == FIELDS["image_url"]
    assert submission.picture is None
    assert submission.headers.owner == "shop"


def test_a_picture_is_the_same_submission_whichever_way_it_comes() -> None:
    inline = read(json.dumps(FIELDS | {"image_url": DATA_URL}).encode())
    in_form = read(form(*NAMES, ("image_url", "", DATA_URL.encode())), FORM_TYPE)
    as_file = read(form(*NAMES, ("image", '; filename="a.png"', PICTURE)), FORM_TYPE)

    assert inline.request == in_form.request == as_file.request
    assert inline.request.image_url is None
    digests = {one.picture.sha256 for one in (inline, in_form, as_file) if one.picture}
    assert digests == {hashlib.sha256(PICTURE).hexdigest()}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_json(encoding: str) -> None:
    assert read(json.dumps(FIELDS).encode(encoding)).request.asset_id == "a1"


def test_null_is_as_good_as_unset_for_each_optional_field() -> None:
    plain = read(json.dumps(FIELDS).encode()).request
    optional = {
        name: None
        for name, field in type(plain).model_fields.items()
        if not field.is_required() and name != "image_url"
    }

    request = read(json.dumps(FIELDS | optional).encode()).request

    assert len(optional) > 15
    assert request == plain
    assert request.model_dump_json(exclude_defaults=True) == plain.model_dump_json(exclude_defaults=True)


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP"])
def test_a_compressed_body_is_refused_by_the_name_of_its_coding(coding: str) -> None:
    with pytest.raises(BodyTypeUnknown, match=coding.lower()):
        read(gzip.compress(json.dumps(FIELDS).encode()), content_encoding=coding)


@pytest.mark.parametrize("size", [100, 70_000, 150_000])
def test_a_picture_whose_part_has_no_filename_is_named_at_any_size(size: int) -> None:
    with pytest.raises(InvalidField, match="filename") as caught:
        read(form(*NAMES, ("image", "", PICTURE + b"x" * size)), FORM_TYPE)
    assert (caught.value.field, caught.value.field_code) == ("image", "not_a_file")


def test_a_data_url_of_the_full_size_is_taken_in_lines_and_in_forms() -> None:
    picture = PICTURE + b"x" * (200_000 - len(PICTURE))
    text = base64.encodebytes(picture).decode().replace("\n", "\r\n")
    url = "data:image/png;base64," + text

    for submission in (
        read(json.dumps(FIELDS | {"image_url": url}).encode()),
        read(form(*NAMES, ("image_url", "", url.encode())), FORM_TYPE),
    ):
        assert submission.picture is not None
        assert submission.picture.sha256 == hashlib.sha256(picture).hexdigest()


def test_text_parts_that_are_no_picture_stay_small() -> None:
    with pytest.raises(BodyTooLarge):
        read(form(*NAMES, ("webhook_url", "", b"x" * 70_000)), FORM_TYPE)


@pytest.mark.parametrize(
    "body",
    [b"[" * 60_000, b"9" * 10_000, b'{"\\ud800": 1}', b'{"a": {"b": 1, "b": 2}}', b"{}x"],
    ids=["nested", "digits", "surrogate", "doubled inside", "trailing"],
)
def test_json_that_is_broken_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidField):
        read(body)


FORM_FIELDS = (("session_id", "", b"s1"), ("asset_id", "", b"a1"))
IMAGE_PART = ("image", '; filename="a.png"', PICTURE)
MASK_PART = ("mask", '; filename="m.png"', PICTURE)


@pytest.mark.parametrize(
    "submission",
    [
        lambda: read(json.dumps(FIELDS | {"mask_url": DATA_URL}).encode()),
        lambda: read(json.dumps(FIELDS | {"image_url": DATA_URL, "mask_url": DATA_URL}).encode()),
        lambda: read(form(*FORM_FIELDS, IMAGE_PART, MASK_PART), FORM_TYPE),
        lambda: read(form(*FORM_FIELDS, IMAGE_PART, ("mask_url", "", DATA_URL.encode())), FORM_TYPE),
        lambda: read(form(*FORM_FIELDS, ("image_url", "", b"https://a.example/a"), MASK_PART), FORM_TYPE),
    ],
)
def test_a_mask_may_come_as_a_data_url_or_as_a_part(submission: Callable[[], Submission[JobRequest]]) -> None:
    found = submission()

    assert found.mask is not None
    assert found.mask.sha256 == hashlib.sha256(PICTURE).hexdigest()
    assert found.request.mask_url is None


@pytest.mark.parametrize(
    ("part", "field", "code"),
    [
        (("mask_url", "", b"https://a.example/m"), "mask_url", "two_outlines"),
        (("matting_model", "", b"tiny"), "matting_model", "two_outlines"),
    ],
)
def test_a_mask_part_stands_alone(part: tuple[str, str, bytes], field: str, code: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read(form(*FORM_FIELDS, IMAGE_PART, MASK_PART, part), FORM_TYPE)
    assert (caught.value.field, caught.value.field_code) == (field, code)


def test_a_mask_that_is_no_picture_or_too_large_is_refused_by_its_name() -> None:
    refused = {}
    for content in (b"no picture at all", PICTURE + bytes(200_000)):
        with pytest.raises(InvalidField) as caught:
            read(form(*FORM_FIELDS, IMAGE_PART, ("mask", '; filename="m"', content)), FORM_TYPE)
        refused[caught.value.field_code] = (caught.value.field, str(caught.value))
    assert refused["image_invalid"][0] == "mask"
    assert refused["image_too_large"] == ("mask", "The mask has more than 0.2 MB.")


def test_a_fifth_picture_in_json_counts_as_text() -> None:
    urls = dict.fromkeys(("front", "left", "back", "right"), DATA_URL)
    four = json.dumps({"session_id": "s1", "asset_id": "a1", "image_urls": urls}).encode()
    five = four[:-1] + b', "more": "data:' + b"x" * 70_000 + b'"}'
    with pytest.raises(BodyTooLarge):
        read(five)


@pytest.mark.parametrize("name", ["json-bom.json", "json-nulls.json", "json-data-uri-lines.json"])
def test_bodies_of_public_reports_are_taken(name: str) -> None:
    submission = read((CASES / name).read_bytes())
    assert submission.request.asset_id == "a1"
    assert (submission.picture is not None) == ("data-uri" in name)


def test_a_packed_body_of_a_public_report_is_named() -> None:
    with pytest.raises(BodyTypeUnknown, match="gzip"):
        read((CASES / "json-gzip.json.gz").read_bytes(), content_encoding="gzip")


VIEW_FIELDS: dict[str, Any] = {"session_id": "s1", "asset_id": "a1"}


def view_part(name: str) -> tuple[str, str, bytes]:
    return name, f'; filename="{name}.png"', PICTURE


def test_views_are_the_same_submission_whichever_way_they_come() -> None:
    urls = {"left": DATA_URL, "front": DATA_URL, "back": None}
    inline = read(json.dumps(VIEW_FIELDS | {"image_urls": urls}).encode())
    as_files = read(form(*NAMES, view_part("left"), view_part("front")), FORM_TYPE)

    for submission in (inline, as_files):
        assert submission.request.image_urls is None
        assert {view: one.sha256 for view, one in submission.views.items()} == dict.fromkeys(
            ("front", "left"), hashlib.sha256(PICTURE).hexdigest()
        )
    assert inline.request == as_files.request


def test_urls_of_views_stay_in_the_request_beside_those_that_came() -> None:
    urls = {"front": DATA_URL, "right": "https://example.com/r.png"}
    submission = read(json.dumps(VIEW_FIELDS | {"image_urls": urls}).encode())

    assert submission.request.image_urls is not None
    assert submission.request.image_urls.by_view == {"right": "https://example.com/r.png"}
    assert list(submission.views) == ["front"]


def test_four_embedded_views_fit_into_a_request() -> None:
    large = "data:image/png;base64," + base64.b64encode(PICTURE + bytes(190_000)).decode()
    body = json.dumps(VIEW_FIELDS | {"image_urls": dict.fromkeys(("front", "left", "back", "right"), large)})

    assert len(read(body.encode()).views) == 4


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"image_urls": {}}, "missing_view"),
        ({"image_urls": {"front": None}}, "missing_view"),
        ({"image_urls": {"top": "https://a.example/a"}}, "extra_forbidden"),
        (
            {"image_urls": {"front": "https://a.example/a"}, "image_url": "https://a.example/a"},
            "two_pictures",
        ),
        ({"image_urls": {"front": "https://a.example/a"}, "cut_out_id": "0" * 32}, "two_pictures"),
        ({"image_urls": {"front": "https://a.example/a"}, "mask_url": "https://a.example/a"}, "two_outlines"),
        ({"image_urls": ["https://a.example/a"]}, "model_type"),
        ({}, "missing"),
    ],
)
def test_a_request_has_one_picture_or_its_views(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(json.dumps(VIEW_FIELDS | fields).encode())

    assert [error["type"] for error in caught.value.errors()] == [code]


@pytest.mark.parametrize(
    ("part", "field", "code"),
    [
        (("image", '; filename="a.png"', PICTURE), "image", "two_pictures"),
        (("mask", '; filename="m.png"', PICTURE), "mask", "two_outlines"),
        (("image_url", "", b"https://a.example/a"), "image_url", "two_pictures"),
        (("image_urls", "", b'{"left": "https://a.example/a"}'), "image_urls", "two_pictures"),
        (("cut_out_id", "", b"0" * 32), "cut_out_id", "two_pictures"),
        (("top", '; filename="t.png"', PICTURE), "top", "unknown_field"),
        (("left", "", b"text"), "left", "not_a_file"),
        (("left", '; filename="l.png"', b"no picture"), "left", "image_invalid"),
    ],
)
def test_a_form_with_views_has_no_other_picture(part: tuple[str, str, bytes], field: str, code: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read(form(*NAMES, view_part("front"), part), FORM_TYPE)

    assert (caught.value.field, caught.value.field_code) == (field, code)


def test_a_form_names_the_urls_of_views_as_json() -> None:
    part = ("image_urls", "", b'{"left": "https://a.example/a"}')
    submission = read(form(*NAMES, part), FORM_TYPE)

    assert submission.request.image_urls is not None
    assert submission.request.image_urls.by_view == {"left": "https://a.example/a"}
    with pytest.raises(ValidationError, match="image_urls"):
        read(form(*NAMES, ("image_urls", "", b"{")), FORM_TYPE)


def test_a_picture_of_a_view_that_is_none_is_refused_by_its_name() -> None:
    urls = {"left": "data:image/png;base64," + base64.b64encode(b"no picture").decode()}
    with pytest.raises(InvalidField) as caught:
        read(json.dumps(VIEW_FIELDS | {"image_urls": urls}).encode())

    assert (caught.value.field, caught.value.field_code) == ("image_urls.left", "image_invalid")
