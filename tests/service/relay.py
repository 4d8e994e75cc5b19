"""A bad line between the service and a receiver: passes deliveries on, and spoils those that it is told to."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Passed:
    """One delivery that came by, and the answer that the receiver gave."""

    headers: dict[str, str]
    """By lower-case name."""
    body: bytes
    status: int
    answer: bytes


Spoil = Callable[[bytes], bytes]
"""The body that is passed on in place of the one that came."""


def one_bit_changed(body: bytes) -> bytes:
    """The body as a broken disk or line gives it."""
    return bytes([body[0] ^ 1]) + body[1:]


@dataclass
class Relay:
    """Passes POSTs on to `target`."""

    target: str
    spoiled: list[Spoil] = field(default_factory=list)
    """What happens to the next deliveries on their way there, in turn; after that they come as they are."""
    answers_lost: set[int] = field(default_factory=set)
    """Numbers of the deliveries, counted from 1, whose answer never comes back: the sender sees 502."""
    passed: list[Passed] = field(default_factory=list)

    def __post_init__(self) -> None:
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                passed = relay.send({name.lower(): value for name, value in self.headers.items()}, body)
                is_lost = len(relay.passed) in relay.answers_lost
                self.send_response(502 if is_lost else passed.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where the sender sends to."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def send(self, headers: dict[str, str], body: bytes) -> Passed:
        """Passes a delivery on; used by tests to send one of their own, too."""
        sent = self.spoiled.pop(0)(body) if self.spoiled else body
        to = urlsplit(self.target)
        connection = http.client.HTTPConnection(to.netloc, timeout=120)
        own = {name: value for name, value in headers.items() if name not in ("host", "connection")}
        try:
            connection.request("POST", to.path, sent, own | {"content-length": str(len(sent))})
            answer = connection.getresponse()
            passed = Passed(headers, body, answer.status, answer.read())
        finally:
            connection.close()
        self.passed.append(passed)
        return passed

    def close(self) -> None:
        """Stops."""
        self._server.shutdown()
        self._server.server_close()
