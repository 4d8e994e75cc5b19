"""A pedestal inside a request: JSON or form, it is a file beside the request, which names it by its digest."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
import trimesh
from unit.ai_engine.api.test_request_body import FORM_TYPE, NAMES, form, read

from ai_engine.api.request_schema import VariantRequest
from ai_engine.api.submissions.sent_pedestal import num_embedded_chars, pedestal_url, with_digest
from ai_engine.errors import BodyTooLarge, InvalidField

SLAB: bytes = trimesh.creation.box((60, 60, 12)).export(file_type="stl")
FIELDS: dict[str, Any] = {
    "session_id": "s1",
    "asset_id": "a1",
    "image_url": "https://a.example/a",
    "height_mm": 40,
}


def data_url(data: bytes) -> str:
    return "data:model/stl;base64," + base64.b64encode(data).decode()


def as_json(**base: Any) -> bytes:
    return json.dumps(FIELDS | {"base": base}).encode()


def as_form(**base: Any) -> bytes:
    parts = (("image_url", "", b"https://a.example/a"), ("height_mm", "", b"40"))
    return form(*NAMES, *parts, ("base", "", json.dumps(base).encode()))


def test_it_is_the_same_request_in_json_and_in_a_form() -> None:
    inline, in_form = (
        read(as_json(mesh_url=data_url(SLAB))),
        read(as_form(mesh_url=data_url(SLAB)), FORM_TYPE),
    )

    digest = hashlib.sha256(SLAB).hexdigest()
    assert inline.request == in_form.request
    assert pedestal_url(inline.request) == f"sha256:{digest}"
    assert [one.pedestal and one.pedestal.sha256 for one in (inline, in_form)] == [digest, digest]


def test_a_url_stays_in_the_request() -> None:
    submission = read(as_json(mesh_url="https://a.example/slab.stl"))
    assert (pedestal_url(submission.request), submission.pedestal) == ("https://a.example/slab.stl", None)


def test_one_larger_than_a_picture_is_taken_and_one_beyond_its_own_limit_is_not() -> None:
    large = SLAB[:80] + (20_000).to_bytes(4, "little") + bytes(50 * 20_000)
    for body, media_type in ((as_json, "application/json"), (as_form, FORM_TYPE)):
        taken = read(body(mesh_url=data_url(large)), media_type)
        assert taken.pedestal is not None
        with pytest.raises((BodyTooLarge, InvalidField)) as caught:
            read(body(mesh_url=data_url(SLAB[:80] + bytes(50_000_001))), media_type)
        assert getattr(caught.value, "field_code", "mesh_too_large") == "mesh_too_large"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("data:model/stl;base64,AAAA", "mesh_invalid"),
        ("data:model/stl,plain", "mesh_invalid"),
        (data_url(b"\x89PNG\r\n\x1a\n" + bytes(100)), "mesh_invalid"),
    ],
)
def test_what_is_no_mesh_is_refused_by_its_field(url: str, code: str) -> None:
    for body, media_type in ((as_json, "application/json"), (as_form, FORM_TYPE)):
        with pytest.raises(InvalidField) as caught:
            read(body(mesh_url=url), media_type)
        assert (caught.value.field, caught.value.field_code) == ("base.mesh_url", code)


def test_a_second_one_in_the_body_counts_as_text() -> None:
    body = as_json(mesh_url=data_url(SLAB))[:-1]
    more = "".join(f', "{name}": "data:{"x" * 70_000}"' for name in "abcdef")
    with pytest.raises(BodyTooLarge):
        read(body + more.encode() + b"}")


def test_the_characters_of_a_data_url_are_counted_and_no_others() -> None:
    url = data_url(SLAB)
    assert num_embedded_chars(json.dumps({"mesh_url": url})) == len(f'"mesh_url": "{url}"')
    assert num_embedded_chars(json.dumps({"text": url, "mesh_url": "https://a.example/"})) == 0


def test_the_rest_of_the_base_stays() -> None:
    request = VariantRequest(height_mm=30, base={"mesh_url": "data:,"})
    named = with_digest(request, "ab")
    assert (pedestal_url(named), named.height_mm) == ("sha256:ab", 30)
    assert named.model_dump(exclude_unset=True)["base"]["mesh_url"] == "sha256:ab"
