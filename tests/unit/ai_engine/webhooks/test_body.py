from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import pytest

from ai_engine.job import WebhookFormat
from ai_engine.webhooks.body import Delivery, MeshFile, RequestBody, carries_file, request_body
from ai_engine.webhooks.event import EventText
from ai_engine.webhooks.upload import Upload

DATA = b"solid mesh \r\n--not-a-boundary--\r\n" * 40
MESH = MeshFile(
    lambda: iter([DATA[:100], DATA[100:]]), "a1.stl", "stl", len(DATA), hashlib.sha256(DATA).hexdigest()
)
SUCCESS = '{"type":"generation.succeeded","data":{"status":"completed"}}'
FAILURE = (
    '{"type":"generation.failed","data":{"status":"failed",'
    '"error":{"code":"no_foreground","detail":"Nothing \\u00fcber\\nthere"}}}'
)


def event_of(text: str) -> EventText:
    return EventText(text, json.loads(text)["data"])


def delivery(form: WebhookFormat, **changes: Any) -> Delivery:
    fields: dict[str, Any] = {"event": event_of(SUCCESS), "mesh": MESH}
    return Delivery(
        "j1", session_id="s1", asset_id="a1", url="https://w.example/", form=form, **fields | changes
    )


def sent(body: RequestBody) -> bytes:
    data = b"".join(body.chunks)
    assert len(data) == body.length, "the Content-Length that is announced is what is sent"
    return data


def parts_of(body: RequestBody) -> dict[str, Message]:
    head = f"Content-Type: {body.headers['Content-Type']}\r\n\r\n".encode()
    read = BytesParser(policy=HTTP).parsebytes(head + sent(body))
    return {str(part.get_param("name", header="content-disposition")): part for part in read.iter_parts()}


def test_a_form_holds_the_fields_the_event_and_the_file() -> None:
    parts = parts_of(request_body(delivery("multipart")))

    texts = {name: part.get_payload() for name, part in parts.items() if name != "file"}
    assert texts == {
        "session_id": "s1",
        "asset_id": "a1",
        "status": "completed",
        "job_id": "j1",
        "event": SUCCESS,
    }
    assert parts["file"].get_payload(decode=True) == DATA
    assert parts["file"].get_filename() == "a1.stl"
    assert parts["file"].get_content_type() == "model/stl"


def test_a_failure_is_a_form_without_a_file_whose_error_is_one_line_of_ascii() -> None:
    parts = parts_of(request_body(delivery("multipart", event=event_of(FAILURE), mesh=None)))

    assert "file" not in parts
    assert parts["error"].get_payload() == "Nothing ?ber there"
    assert parts["code"].get_payload() == "no_foreground"


def test_the_same_delivery_is_the_same_bytes_each_time() -> None:
    first, again = (sent(request_body(delivery("multipart"))) for _ in range(2))
    assert first == again


def test_a_binary_body_is_the_file_alone_and_its_headers_say_whose() -> None:
    body = request_body(delivery("binary"))

    assert sent(body) == DATA
    digest = body.headers["Content-Digest"].removeprefix("sha-256=:").removesuffix(":")
    assert b64decode(digest) == hashlib.sha256(DATA).digest()
    assert body.headers["X-Generation-Event"] == SUCCESS
    assert [body.headers[f"X-{name}-Id"] for name in ("Job", "Session", "Asset")] == ["j1", "s1", "a1"]


@pytest.mark.parametrize(
    "one",
    [
        delivery("link"),
        delivery("binary", mesh=None, event=event_of(FAILURE)),
        delivery("multipart", upload=Upload("https://bucket.example/k", {})),
    ],
    ids=["link", "binary failure", "upload"],
)
def test_what_carries_no_file_is_the_event_as_json(one: Delivery) -> None:
    body = request_body(one)

    assert sent(body) == one.event.text.encode()
    assert body.headers == {"Content-Type": "application/json"}


def test_a_file_goes_along_unless_there_is_a_link_or_an_upload() -> None:
    assert carries_file(delivery("multipart"))
    assert carries_file(delivery("binary"))
    assert not carries_file(delivery("link"))
    assert not carries_file(delivery("binary", upload=Upload("https://bucket.example/k", {})))
