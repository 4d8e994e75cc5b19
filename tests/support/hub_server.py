"""A server that plays the Hugging Face hub and the store it redirects to: `resolve`, ranges, breaks, lies."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hub:
    """What the server has and how it behaves; `requests` is what it was asked for."""

    files: dict[str, bytes]
    """By path below the hub: `owner/name/resolve/<revision>/<file>`, or any path of the store."""
    port: int = 0
    told_sha256: str | None = None
    """What the hub says of every file instead of the truth."""
    break_after_bytes: int | None = None
    """Where an answer without a range ends early, as if the line were cut for good."""
    ignores_ranges: bool = False
    answers_left: int | None = None
    """How often the store still answers before it closes every connection; None: always."""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ranges(self) -> list[str | None]:
        """The Range header of each GET that the store got, in order."""
        return [
            headers.get("range")
            for verb, path, headers in self.requests
            if (verb, path[:6]) == ("GET", "/store")
        ]


@contextmanager
def hub_server(files: dict[str, bytes]) -> Generator[Hub]:
    """A hub on a free port of this machine."""
    hub = Hub(files)
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append((self.command, self.path, headers))
        body = self.hub.files.get(self.path.removeprefix("/store").lstrip("/"))
        if body is None:
            self._head(404, {"Content-Length": "0", "X-Error-Code": "EntryNotFound"})
        elif self.path.startswith("/store") and self.hub.answers_left == 0:
            self.close_connection = True
        elif self.path.startswith("/store"):
            self._store(body, headers.get("range"))
        else:
            self._redirect(body)

    def _redirect(self, body: bytes) -> None:
        """As the hub answers for a large file: facts in headers, the bytes elsewhere (another host name)."""
        sha256 = self.hub.told_sha256 or hashlib.sha256(body).hexdigest()
        location = f"http://localhost:{self.hub.port}/store{self.path}"
        told = {"X-Repo-Commit": "c" * 40, "X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(body))}
        self._head(302, {**told, "Location": location, "Content-Length": "0"})

    def _store(self, body: bytes, wanted: str | None) -> None:
        if self.hub.answers_left is not None:
            self.hub.answers_left -= 1
        begin = (
            int(wanted.removeprefix("bytes=").split("-")[0]) if wanted and not self.hub.ignores_ranges else 0
        )
        rest = body[begin:]
        status = 206 if begin else 200
        told = {"Content-Range": f"bytes {begin}-{len(body) - 1}/{len(body)}"} if begin else {}
        self._head(status, {**told, "Content-Length": str(len(rest))})
        if self.hub.break_after_bytes is not None and not begin:
            rest = rest[: self.hub.break_after_bytes]
            self.close_connection = True
        if self.command == "GET":
            self.wfile.write(rest)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
