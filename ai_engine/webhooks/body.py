"""The request bodies of a delivery: multipart, binary, or the event with a link."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ai_engine.facts import MEDIA_TYPES, MeshFormat
from ai_engine.job import WebhookFormat
from ai_engine.webhooks.event import EventText
from ai_engine.webhooks.upload import Upload


@dataclass(frozen=True)
class MeshFile:
    """The file that goes with a success."""

    read: Callable[[], Iterator[bytes]]
    """Its bytes in pieces, from the beginning at each call."""
    name: str
    """As the receiver sees it."""
    format: MeshFormat
    size: int
    """In bytes."""
    sha256: str


@dataclass(frozen=True)
class Delivery:
    """What is sent to one receiver, the same on every attempt."""

    job_id: str
    session_id: str
    asset_id: str
    url: str | None
    """The webhook's; None when there is only an upload."""
    form: WebhookFormat
    event: EventText
    mesh: MeshFile | None
    """None when the job has failed."""
    upload: Upload | None = None
    """Where the file is PUT before the webhook is called, which then carries the event alone."""
    is_uploaded: bool = False
    """True if an earlier attempt has done so."""
    fallback: str | None = None
    """Why the form is another one than was asked for."""
    has_link: bool = False
    """True when the event says where the file is had."""
    traceparent: str | None = None
    """The span of this attempt."""

    @property
    def event_id(self) -> str:
        """What receivers recognise a repeated delivery by."""
        return f"{self.job_id}:done"


@dataclass(frozen=True)
class RequestBody:
    """The body of one request: its headers, its exact length in bytes and its pieces."""

    headers: dict[str, str]
    length: int
    chunks: Iterator[bytes]


def request_body(delivery: Delivery) -> RequestBody:
    """The body in the form that the delivery asks for."""
    if delivery.form == "multipart" and delivery.upload is None:
        return _multipart(delivery)
    if delivery.mesh is not None and carries_file(delivery):
        return _binary(delivery, delivery.mesh)
    data = delivery.event.text.encode("ascii")
    return RequestBody({"Content-Type": "application/json"}, len(data), iter([data]))


def carries_file(delivery: Delivery) -> bool:
    """True if a success carries the file itself."""
    return delivery.form != "link" and delivery.upload is None


def _binary(delivery: Delivery, mesh: MeshFile) -> RequestBody:
    headers = {
        "Content-Type": MEDIA_TYPES[mesh.format],
        "Content-Digest": f"sha-256=:{b64encode(bytes.fromhex(mesh.sha256)).decode()}:",
        "X-Generation-Event": delivery.event.text,
        "X-Session-Id": delivery.session_id,
        "X-Asset-Id": delivery.asset_id,
        "X-Job-Id": delivery.job_id,
    }
    return RequestBody(headers, mesh.size, mesh.read())


def _multipart(delivery: Delivery) -> RequestBody:
    boundary = f"mesh-{hashlib.sha256(delivery.event_id.encode()).hexdigest()[:24]}"
    head = "".join(_text_part(boundary, name, value) for name, value in _text_values(delivery).items())
    if delivery.mesh is not None:
        head += _file_head(boundary, delivery.mesh)
    tail = f"--{boundary}--\r\n" if delivery.mesh is None else f"\r\n--{boundary}--\r\n"
    size = 0 if delivery.mesh is None else delivery.mesh.size
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return RequestBody(headers, len(head) + size + len(tail), _multipart_pieces(head, delivery.mesh, tail))


def _text_values(delivery: Delivery) -> dict[str, str]:
    data = delivery.event.data
    values = {
        "session_id": delivery.session_id,
        "asset_id": delivery.asset_id,
        "status": data["status"],
    }
    if "error" in data:
        # One line: a receiver may put it into a header or a log.
        sentence = " ".join(data["error"]["detail"].encode("ascii", "replace").decode().split())
        values |= {"error": sentence, "code": data["error"]["code"]}
    return values | {"job_id": delivery.job_id, "event": delivery.event.text}


def _text_part(boundary: str, name: str, value: str) -> str:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'


def _file_head(boundary: str, mesh: MeshFile) -> str:
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{mesh.name}"\r\n'
        f"Content-Type: {MEDIA_TYPES[mesh.format]}\r\n\r\n"
    )


def _multipart_pieces(head: str, mesh: MeshFile | None, tail: str) -> Iterator[bytes]:
    yield head.encode("ascii")
    if mesh is not None:
        yield from mesh.read()
    yield tail.encode("ascii")
