"""A picture sent in a form, as curl -F and a page's form send it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from service.house import Answer, House, cut_out_png
from service.test_bad_requests import refused

NAMES = [("session_id", "s1"), ("asset_id", "a1")]
PICTURE = ("image", cut_out_png())


def submit(house: House, *parts: tuple[str, str | bytes], **headers: str) -> Answer:
    """A form with these parts; bytes are a file."""
    boundary = uuid.uuid4().hex
    body = b""
    for name, value in parts:
        file = '; filename="chair.png"\r\nContent-Type: image/png' if isinstance(value, bytes) else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        body += (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    about = {"Content-Type": f"multipart/form-data; boundary={boundary}"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return house.ask("POST", "/generate-3d", body, about)


def test_a_form_with_a_picture_becomes_a_mesh(house: House) -> None:
    answer = submit(
        house,
        *NAMES,
        PICTURE,
        ("seed", "7"),
        ("flat_base", "true"),
        ("guidance_scale", "4.5"),
        ("quality", ""),
    )

    assert answer.status == 202, answer.body
    job = house.wait_until_over(answer.json["job_id"])
    assert job["status"] == "succeeded"
    options = job["options"]
    assert (options["seed"], options["flat_base"], options["guidance_scale"]) == (7, True, 4.5)
    assert options["octree_resolution"] == 256, "an empty part is as good as none"


def test_a_form_may_name_the_picture_instead(house: House) -> None:
    answer = submit(house, *NAMES, ("image_url", "http://127.0.0.1:8001/a.png"))

    assert answer.status == 202


@pytest.mark.parametrize(
    ("parts", "field", "code"),
    [
        ([PICTURE, ("asset_id", "a1")], "session_id", "missing"),
        ([*NAMES], "image_url", "missing"),
        ([*NAMES, PICTURE, ("image_url", "http://127.0.0.1/a.png")], "image_url", "two_pictures"),
        ([*NAMES, ("image", "chair.png")], "image", "not_a_file"),
        ([*NAMES, ("picture", PICTURE[1])], "picture", "unknown_field"),
        ([*NAMES, PICTURE, ("colour", "red")], "colour", "unknown_field"),
        ([*NAMES, PICTURE, ("seed", "1"), ("seed", "2")], "seed", "duplicate_field"),
        ([*NAMES, PICTURE, ("seed", "many")], "seed", "int_parsing"),
        ([*NAMES, PICTURE, ("quality", "best")], "quality", "literal_error"),
        ([*NAMES, PICTURE, ("webhook_url", "http://10.0.0.1/")], "webhook_url", "webhook_url_forbidden"),
        ([*NAMES, ("image", b"GIF89a no picture of ours")], "image", "image_invalid"),
        ([*NAMES, ("image", b"")], "image", "image_invalid"),
        ([*NAMES, ("image", cut_out_png() + b"x" * 1_000_000)], "image", "image_too_large"),
        ([*NAMES, PICTURE, PICTURE], "image", "duplicate_field"),
        ([*NAMES, PICTURE, *((f"x{n}", "") for n in range(100))], "body", "form_invalid"),
    ],
)
def test_a_bad_part_is_refused_by_its_name(
    house: House, parts: list[tuple[str, Any]], field: str, code: str
) -> None:
    (error,) = refused(submit(house, *parts), 422, "validation_failed")["errors"]

    assert (error["field"], error["code"]) == (field, code)


def test_a_form_that_is_none_or_never_ends_is_refused(house: House) -> None:
    for body in (b"", b"no form", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"):
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        refused(house.ask("POST", "/generate-3d", body, headers), 422, "validation_failed")
    no_boundary = house.ask("POST", "/generate-3d", b"x", {"Content-Type": "multipart/form-data"})
    refused(no_boundary, 422, "validation_failed")


@pytest.mark.parametrize("charset", ["undefined", "punycode", "no-such", "rot13"])
def test_a_form_in_a_charset_that_is_none_is_refused(house: House, charset: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--\r\n'
    headers = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}

    refused(house.ask("POST", "/generate-3d", body, headers), 422, "validation_failed")


def test_a_form_over_the_limit_is_refused_unread(house: House) -> None:
    refused(submit(house, *NAMES, ("image", b"\x89PNG\r\n\x1a\n" * 400_000)), 413, "body_too_large")


def test_the_same_key_with_another_picture_is_another_request(house: House) -> None:
    key = uuid.uuid4().hex
    other = ("image", cut_out_png(48))

    first, again, changed = (
        submit(house, *NAMES, picture, Idempotency_Key=key) for picture in (PICTURE, PICTURE, other)
    )

    assert (first.status, again.status, changed.status) == (202, 200, 409)
    assert first.json["job_id"] == again.json["job_id"]
    kept = [*(house.folder / "data" / "jobs" / first.json["job_id"]).glob("picture-*")]
    assert len(kept) == 1, "what was refused is not kept"
    assert house.wait_until_over(first.json["job_id"])["status"] == "succeeded"


def test_a_page_of_another_origin_can_not_send_a_form_and_the_services_own_can(house: House) -> None:
    own = f"http://127.0.0.1:{house.port}"

    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "http://["):
        refused(submit(house, *NAMES, PICTURE, Origin=origin), 403, "cross_origin")
    assert submit(house, *NAMES, PICTURE, Origin=own).status == 202
