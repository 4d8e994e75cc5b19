"""The other side of the demo: a picture to download and a webhook to deliver to, on loopback."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PICTURE_PATH, WEBHOOK_PATH = "/picture", "/webhook"


@dataclass(frozen=True)
class ReceivedWebhook:
    """One delivery in `multipart` form: its headers, its text parts by name, its file."""

    headers: dict[str, str]
    """By lower-case name."""
    values: dict[str, str]
    file: bytes | None
    file_name: str | None


@dataclass(frozen=True)
class DemoPeer:
    """A server that gives `picture` to whoever asks and keeps what is delivered."""

    origin: str
    deliveries: queue.Queue[ReceivedWebhook] = field(default_factory=queue.Queue)

    @property
    def picture_url(self) -> str:
        """Where the picture is."""
        return self.origin + PICTURE_PATH

    @property
    def webhook_url(self) -> str:
        """Where the mesh goes."""
        return self.origin + WEBHOOK_PATH


@contextmanager
def demo_peer(picture: bytes | None) -> Generator[DemoPeer]:
    """A peer that listens on a free port of 127.0.0.1."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        peer = DemoPeer(f"http://127.0.0.1:{server.server_port}")
        server.RequestHandlerClass = _handler(picture, peer)
        threading.Thread(target=server.serve_forever, name="demo peer", daemon=True).start()
        try:
            yield peer
        finally:
            server.shutdown()


def _handler(picture: bytes | None, peer: DemoPeer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            is_there = self.path == PICTURE_PATH and picture is not None
            self._answer(200 if is_there else 404, picture if is_there and picture else b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._answer(200, b"")
            peer.deliveries.put(read_multipart(headers, body))

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def read_multipart(headers: dict[str, str], body: bytes) -> ReceivedWebhook:
    """The parts of a `multipart/form-data` body."""
    outer = message_from_string(f"Content-Type: {headers.get('content-type', '')}\n\n")
    divider = b"\r\n--" + str(outer.get_boundary()).encode()
    values: dict[str, str] = {}
    file, file_name = None, None
    for part in (b"\r\n" + body).split(divider)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        fields = message_from_string(head.decode())
        if fields.get_filename():
            file, file_name = content, fields.get_filename()
        else:
            values[str(fields.get_param("name", header="content-disposition"))] = content.decode()
    return ReceivedWebhook(headers, values, file, file_name)
