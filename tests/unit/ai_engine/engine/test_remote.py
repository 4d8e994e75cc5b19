from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ai_engine.api.request_schema import JobRequest
from ai_engine.engine import remote
from ai_engine.engine.generated import GenerationFailed, Pictures, ServerRefused
from ai_engine.engine.remote import RemoteEngine, read_events

REQUEST = JobRequest(session_id="engine", asset_id="disc", image_url="https://example.com/disc.png", seed=3)
FAILED = {
    "status": "failed",
    "error": {
        "code": "no_foreground",
        "title": "t",
        "detail": "Nothing.",
        "stage": "cutout",
        "retryable": False,
    },
}
Answers = Callable[[BaseHTTPRequestHandler, list[str]], tuple[int, dict[str, str], bytes]]


@contextmanager
def service(answers: Answers) -> Iterator[tuple[RemoteEngine, list[str]]]:
    """A client of a server that answers as it is told, and what was asked: `METHOD path key-or-event-id`."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            mark = self.headers.get("Idempotency-Key") or self.headers.get("Last-Event-ID") or ""
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(f"{self.command} {self.path} {mark}")
            status, headers, body = answers(self, asked)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        engine = RemoteEngine(f"http://127.0.0.1:{server.server_port}")
        yield engine, asked
        engine.close()
        server.shutdown()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.0)


def event(name: str, data: dict[str, Any], number: int | None = None) -> bytes:
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def nothing(stage: str, done: int, total: int) -> None: ...


def test_a_busy_service_is_asked_again_under_the_same_key_and_a_broken_stream_is_opened_where_it_was() -> (
    None
):
    progress = event("progress", {"stage": "denoise", "done": 1, "total": 2}, 4)

    def answers(_: BaseHTTPRequestHandler, asked: list[str]) -> tuple[int, dict[str, str], bytes]:
        posts = [one for one in asked if one.startswith("POST")]
        streams = [one for one in asked if "/events" in one]
        if not streams:
            busy = len(posts) == 1
            return (
                (503, {"Retry-After": "0"}, b"{}")
                if busy
                else (202, {}, json.dumps({"job_id": "j"}).encode())
            )
        return (
            200,
            {"Content-Type": "text/event-stream"},
            progress if len(streams) == 1 else event("done", FAILED),
        )

    with service(answers) as (engine, asked), pytest.raises(GenerationFailed) as caught:
        engine.generate(REQUEST, Pictures(), nothing)

    assert caught.value.failure.code == "no_foreground"
    assert len({one for one in asked if one.startswith("POST")}) == 1
    assert [one for one in asked if "/events" in one] == ["GET /jobs/j/events ", "GET /jobs/j/events 4"]


def test_what_the_service_says_is_wrong_is_said_to_the_caller() -> None:
    problem = {
        "detail": "d",
        "code": "validation_failed",
        "errors": [{"field": "seed", "code": "c", "detail": "too large"}],
    }

    def answers(_: BaseHTTPRequestHandler, asked: list[str]) -> tuple[int, dict[str, str], bytes]:
        return 422, {}, json.dumps(problem).encode()

    with (
        service(answers) as (engine, asked),
        pytest.raises(ServerRefused, match=r"seed: too large \(validation_failed\)"),
    ):
        engine.generate(REQUEST, Pictures(), nothing)

    assert len(asked) == 1


def test_a_caller_who_stops_cancels_the_job() -> None:
    def answers(_: BaseHTTPRequestHandler, asked: list[str]) -> tuple[int, dict[str, str], bytes]:
        if "/events" in asked[-1]:
            return 200, {}, event("progress", {"stage": "denoise", "done": 1, "total": 2}, 0)
        return 202, {}, json.dumps({"job_id": "j"}).encode()

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with service(answers) as (engine, asked), pytest.raises(KeyboardInterrupt):
        engine.generate(REQUEST, Pictures(), stop)

    assert asked[-1] == "DELETE /jobs/j "


def test_a_service_that_is_not_there_is_named_after_some_attempts() -> None:
    with pytest.raises(ServerRefused, match="can't be used"):
        RemoteEngine("http://127.0.0.1:9").generate(REQUEST, Pictures(), nothing)


def test_a_mesh_with_another_sha256_is_not_given_to_the_caller() -> None:
    def answers(_: BaseHTTPRequestHandler, asked: list[str]) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, b"half a mesh"

    with service(answers) as (engine, _), pytest.raises(ServerRefused, match="sha256"):
        engine._download("j", "mesh", "0" * 64)


def test_jobs_are_begun_read_listed_and_stopped_one_by_one() -> None:
    def answers(_: BaseHTTPRequestHandler, asked: list[str]) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps({"job_id": "j", "status": "running", "jobs": []}).encode()

    with service(answers) as (engine, asked):
        assert engine.begin(REQUEST, Pictures()) == "j"
        assert engine.job("j")["status"] == "running"
        assert engine.jobs(limit=3)["jobs"] == []
        assert engine.cancel("j")["job_id"] == "j"

    assert [one.rsplit(" ", 1)[0] for one in asked] == [
        "POST /generate-3d",
        "GET /jobs/j",
        "GET /jobs?limit=3",
        "DELETE /jobs/j",
    ]


@pytest.mark.parametrize("address", ["", "localhost:8000", "ftp://localhost", "http://localhost:port"])
def test_an_address_that_is_none_is_refused_before_anything_is_asked(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        RemoteEngine(address)


def test_server_sent_events_are_read_and_comments_passed_over() -> None:
    lines = [
        ": still here",
        "",
        "id: 0",
        "event: progress",
        'data: {"done": 1}',
        "",
        "event: done",
        "data: {}",
        "",
    ]
    assert list(read_events(iter(lines))) == [("0", "progress", {"done": 1}), ("", "done", {})]
