"""A hostile key: everything that one caller can do to a service at once, from a process of its own.

    python -m service.hostile PORT KEY        until standard input ends; then prints how often it was answered what

Nothing here is more than any holder of a key may send. `chaos.py` measures what another key notices of it.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from support.bombs import progressive_jpeg
from support.raw_server import raw_server

from service.house import Answer, House, Outside

PAUSE_S = 0.2
"""Between two requests of a kind: less only meets the limit of requests a minute sooner."""
HELD_S = 20.0
"""Connections are held so long, then made anew."""
NUM_UNREAD = 60
NUM_UNFINISHED = 10
UNFINISHED_BYTES = 3_000_000


@dataclass
class Hostile:
    """One hostile key against the service on `port`."""

    port: int
    key: str
    is_over: threading.Event = field(default_factory=threading.Event)
    answers: Counter[int] = field(default_factory=Counter)
    job_ids: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.house = House(Path(), port=self.port, key=self.key)
        self.outside = Outside()
        self.outside.pictures["/drip.png"] = self._drip

    def run(self) -> None:
        """Does all of it at once, until `is_over`."""
        with raw_server(self._hang) as silent_port:
            self.silent = f"http://127.0.0.1:{silent_port}"
            kinds: list[Callable[[], None]] = [
                self._submit_downloads,
                self._submit_failures,
                self._submit_jobs,
                self._submit_bombs,
                self._redeliver,
                self._list,
            ]
            threads = [threading.Thread(target=self._repeat, args=(kind,), daemon=True) for kind in kinds]
            for thread in threads:
                thread.start()
            while not self.is_over.is_set():
                with ExitStack() as sockets:
                    with suppress(OSError):
                        self._hold_connections(sockets)
                    self.is_over.wait(HELD_S)
        self.outside.close()

    def _hang(self, _: socket.socket, __: bytes) -> None:
        self.is_over.wait()

    def _repeat(self, kind: Callable[[], None]) -> None:
        while not self.is_over.wait(PAUSE_S):
            with suppress(OSError, KeyError):
                kind()

    def _ask(self, method: str, path: str, body: Any = None) -> Answer:
        answer = self.house.ask(method, path, body)
        self.answers[answer.status] += 1
        return answer

    def _submit(self, **fields: Any) -> None:
        answer = self._ask("POST", "/generate-3d", {"session_id": "h", "asset_id": "h"} | fields)
        if answer.status == 202:
            self.job_ids.append(answer.json["job_id"])

    def _submit_downloads(self) -> None:
        """A picture's server at 1100 bytes a second, just above what is given up."""
        self._submit(image_url=self.outside.url("/drip.png"))

    def _submit_failures(self) -> None:
        """Jobs that end at once, for a receiver that accepts and never answers."""
        self._submit(image_url=self.outside.url("/none"), webhook_url=f"{self.silent}/{random.random()}")

    def _submit_jobs(self) -> None:
        """A backlog for the device, its files for a bucket that hangs."""
        self._submit(
            image_url=self.outside.url("/a.png"),
            num_inference_steps=10,
            priority=-10,
            upload_url=f"{self.silent}/put",
        )

    def _submit_bombs(self) -> None:
        """A JPEG of as many scans as are read, and one of thousands."""
        for bomb in (
            progressive_jpeg(num_scans=17, side_px=8000),
            progressive_jpeg(num_scans=3000, side_px=512),
        ):
            self._submit(image_url="data:image/jpeg;base64," + b64encode(bomb).decode())

    def _redeliver(self) -> None:
        self._ask("POST", "/deliveries/redeliver", {"status": "dead"})
        for job_id in self.job_ids[-20:]:
            self._ask("POST", f"/jobs/{job_id}/redeliver")

    def _list(self) -> None:
        self._ask("GET", "/jobs?limit=200")
        self._ask("GET", "/metrics")

    def _hold_connections(self, sockets: ExitStack) -> None:
        """Answers that are not read (with the key and without), streams of events, bodies that do not end."""
        job = f"/jobs/{self.job_ids[-1]}/events" if self.job_ids else "/jobs"
        for path in [job, "/metrics", "/jobs?limit=200", "/studio/studio.js"] * (NUM_UNREAD // 4):
            self._connect(sockets, f"GET {path} HTTP/1.1\r\n", b"", times=1 if path == job else 20)
        head = f"POST /generate-3d HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {UNFINISHED_BYTES}\r\n"
        for _ in range(NUM_UNFINISHED):
            self._connect(sockets, head, b'{"image_url":"data:image/png;base64,' + b"A" * 2_000_000)

    def _connect(self, sockets: ExitStack, head: str, body: bytes, times: int = 1) -> None:
        connection = sockets.enter_context(socket.socket())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(5)
        connection.connect(("127.0.0.1", self.port))
        request = f"{head}Host: localhost\r\nAuthorization: Bearer {self.key}\r\n\r\n".encode() + body
        connection.sendall(request * times)

    def _drip(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        with suppress(OSError):
            while not self.is_over.wait(0.1):
                handler.wfile.write(bytes(110))


def main(port: int, key: str) -> None:
    hostile = Hostile(port, key)
    running = threading.Thread(target=hostile.run)
    running.start()
    sys.stdin.read()
    hostile.is_over.set()
    running.join(60)
    print(json.dumps({str(status): number for status, number in sorted(hostile.answers.items())}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
