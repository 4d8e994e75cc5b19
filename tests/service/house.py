"""The whole service as its callers and its operator meet it: real processes, a real database, real HTTP."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 240.0
"""Long, since it only passes where something is broken; a busy machine takes a minute to start a process."""


def wait_for(what: Callable[[], Any], why: str, *, deadline_s: float = DEADLINE_S) -> Any:
    """The first true value of `what`."""
    ends_at = time.monotonic() + deadline_s
    while time.monotonic() < ends_at:
        value = what()
        if value:
            return value
        time.sleep(0.03)
    raise AssertionError(f"waited {deadline_s:g} s in vain until {why}")


def cut_out_png(side_px: int = 64) -> bytes:
    """A picture that brings its own alpha channel: a red square on transparent ground."""
    image = Image.new("RGBA", (side_px, side_px), (0, 0, 0, 0))
    image.paste((200, 30, 30, 255), (side_px // 4, side_px // 4, 3 * side_px // 4, 3 * side_px // 4))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Delivered:
    """One POST or PUT that the receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"
    is_refused: bool = False

    @property
    def parts(self) -> dict[str, bytes]:
        """The parts of a multipart form by name."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + self.body)
        return {
            str(part.get_param("name", header="content-disposition")): bytes(part.get_payload(decode=True))
            for part in message.iter_parts()
        }

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.parts["event"])


@dataclass
class Outside:
    """The world outside the service: serves pictures, receives webhooks. Paths say how it behaves."""

    pictures: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    answers: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    """Status and headers for each POST to a path in turn; 200 when there is none left."""
    received: list[Delivered] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)
    """Cleared: a POST to /held hangs, and so does a GET of /held.png."""
    refuses: Callable[[], bool] = lambda: False
    """Asked on each POST: whether the receiver answers 503 this time."""

    def __post_init__(self) -> None:
        self.may_answer.set()
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                outside.asked.append(self.path)
                outside._picture(self)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if len(body) < int(self.headers["content-length"]):
                    return  # The sender died.
                is_refused = outside.refuses()
                headers = {name.lower(): value for name, value in self.headers.items()}
                outside.received.append(Delivered(self.path, headers, body, self.command, is_refused))
                if self.path.startswith("/held"):
                    outside.may_answer.wait(60)
                turns = outside.answers.get(self.path)
                status, more = turns.pop(0) if turns else (503 if is_refused else 200, {})
                self._answer(status, more)

            def do_PUT(self) -> None:
                self.do_POST()

            def _answer(self, status: int, more: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _picture(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/held"):
            self.may_answer.wait(60)
        behave = self.pictures.get(handler.path)
        if behave is not None:
            behave(handler)
            return
        is_picture = handler.path.endswith(".png")
        data = cut_out_png() if is_picture else b"no such picture"
        handler.send_response(200 if is_picture else 404)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def posts(self, path: str) -> list[Delivered]:
        return [delivered for delivered in list(self.received) if delivered.path == path]

    def close(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class House:
    """The service's processes, started and killed one by one."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    key: str | None = None
    """The API key that questions are asked with."""

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Starts `serve`, `api` or `worker`; `worker-cuda:1` is the worker of that device."""
        command, _, device = name.partition("-")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
        environment |= {
            "PORT": str(self.port),
            "DATA_DIR": str(self.folder / "data"),
            "MODEL_VARIANT": "stand-in",
            "MATTING_MODEL": "none",
            "LOG_FORMAT": "json",
            "QUEUE_POLL_S": "0.2",  # of several idle workers each poll costs: at 0.05 a tenth of a core each
            "LEASE_S": "10",
            "DRAIN_S": "60",
            "OMP_NUM_THREADS": "1",
        }
        with self.log_path(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                [
                    *(sys.executable, "main.py", command),
                    *(["--supervised"] if command != "serve" else []),
                    *(["--device", device] if device else []),
                ],
                cwd=ROOT,
                env=environment | self.settings,
                stdin=subprocess.PIPE,  # children end when this process does, however it does
                stdout=log,
                stderr=log,
            )
        return self.running[name]

    @contextmanager
    def serving(self) -> Iterator[House]:
        """`serve`, ready, until the block ends."""
        self.start("serve")
        try:
            self.wait_until_ready()
            yield self
        finally:
            self.close()

    def kill(self, name: str) -> None:
        """kill -9."""
        with self.running.pop(name) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def stop(self, name: str) -> int:
        """SIGTERM; the exit status."""
        self.running[name].terminate()
        return self.exit_status(name)

    def exit_status(self, name: str) -> int:
        """Of a process that ends by itself, once it has."""
        with self.running.pop(name) as process:
            return process.wait(DEADLINE_S)

    def close(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
            assert process.stdin is not None
            process.stdin.close()
        self.running.clear()

    @property
    def database_url(self) -> str:
        return self.settings.get("DATABASE_URL") or f"sqlite:///{self.folder / 'data' / 'jobs.sqlite'}"

    def log_path(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def log(self, name: str) -> list[dict[str, Any]]:
        """The events that a process logged."""
        text = self.log_path(name).read_text() if self.log_path(name).exists() else ""
        whole_lines = text.rpartition("\n")[0].splitlines()  # The last one may just be written.
        return [json.loads(line) for line in whole_lines if line.startswith("{")]

    def events(self, message: str, job_id: str, name: str = "worker") -> list[dict[str, Any]]:
        return [
            line for line in self.log(name) if line["message"] == message and line.get("job_id") == job_id
        ]

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """What the service answers. `body` is JSON unless it is bytes."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        key = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data,
            {"Content-Type": "application/json"} | key | (headers or {}),
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return _answer(answer)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error)

    def is_open(self) -> bool:
        try:
            return self.ask("GET", "/livez").status == 200
        except (urllib.error.URLError, OSError):
            return False

    def wait_until_ready(self) -> None:
        wait_for(self.is_open, "the port is open")
        wait_for(lambda: self.ask("GET", "/readyz").status == 200, "the service is ready")

    def submit(self, **fields: Any) -> str:
        """The id of a new job."""
        answer = self.ask("POST", "/generate-3d", {"session_id": "s1", "asset_id": "a1"} | fields)
        assert answer.status == 202, answer.body
        return answer.json["job_id"]

    def job(self, job_id: str) -> dict[str, Any]:
        return self.ask("GET", f"/jobs/{job_id}").json

    def wait_until(self, job_id: str, status: str) -> dict[str, Any]:
        return wait_for(
            lambda: (job := self.job(job_id))["status"] == status and job, f"job {job_id} is {status}"
        )

    def wait_until_over(self, job_id: str) -> dict[str, Any]:
        over = ("succeeded", "failed", "cancelled")
        return wait_for(lambda: (job := self.job(job_id))["status"] in over and job, f"job {job_id} is over")


def _answer(answer: Any) -> Answer:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Answer(answer.status, headers, answer.read())
