"""The envelope round a small API of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient

from ai_engine.logs import event, set_up_logging
from ai_engine.web.middleware import PAGE_ALLOWED, PIECE_BYTES, Refusals, RequestMiddleware
from ai_engine.web.problems import answer_fault, answer_overload, install_problem_handlers

logger = logging.getLogger("test")


def small_api(**limits: Any) -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)
    app.state.go_on, app.state.is_slow = threading.Event(), threading.Event()

    @app.get("/plain")
    def plain() -> dict[str, str]:
        event(logger, "inside")
        return {}

    @app.get("/livez")
    async def alive() -> dict[str, str]:
        return {}

    @app.get("/page")
    def page() -> Response:
        return Response("", headers={"Content-Security-Policy": PAGE_ALLOWED, "Cache-Control": "max-age=60"})

    @app.get("/broken")
    def breaks() -> None:
        raise RuntimeError("hunter2")

    @app.get("/slow")
    def slow() -> None:
        app.state.is_slow.set()
        app.state.go_on.wait(60)

    @app.post("/body")
    async def body(request: Request) -> int:
        return len(await request.body())

    wanted: dict[str, Any] = {"body_timeout_s": 30.0, "max_open_requests": 10} | limits
    app.add_middleware(RequestMiddleware, refusals=Refusals(answer_fault, answer_overload), **wanted)
    return app


async def nothing_comes() -> Any:
    """The caller has closed the connection."""
    return {"type": "http.disconnect"}


@pytest.fixture
def client() -> TestClient:
    return TestClient(small_api())


@pytest.mark.parametrize("path", ["/plain", "/nothing", "/broken"])
def test_every_answer_has_a_request_id_and_tells_browsers_to_be_careful(
    client: TestClient, path: str
) -> None:
    answer = client.get(path)

    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"


def test_a_route_may_say_otherwise(client: TestClient) -> None:
    answer = client.get("/page")

    assert answer.headers.get_list("content-security-policy") == [PAGE_ALLOWED]
    assert answer.headers.get_list("cache-control") == ["max-age=60"]


def test_the_callers_own_request_id_is_kept_when_it_is_sane(client: TestClient) -> None:
    assert (
        client.get("/plain", headers={"X-Request-ID": "order-17.a:b"}).headers["x-request-id"]
        == "order-17.a:b"
    )


@pytest.mark.parametrize("insane", ["", "a b", "x" * 129, "a=1;b", "ü"])
def test_a_request_id_that_could_harm_a_log_is_replaced(client: TestClient, insane: str) -> None:
    answer = client.get("/plain", headers={b"X-Request-ID": insane.encode()})

    assert answer.headers["x-request-id"] != insane
    assert len(answer.headers["x-request-id"]) == 32


def test_every_log_line_of_a_request_carries_its_id(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    set_up_logging("text", "info", "api")

    client.get("/plain?token=hunter2", headers={"X-Request-ID": "r-1"})

    root.handlers[:] = handlers
    root.setLevel(level)
    lines = [line for line in capsys.readouterr().err.splitlines() if " api " in line and "httpx" not in line]
    assert [line.count("request_id=r-1") for line in lines if "inside" in line or "request " in line] == [
        1,
        1,
    ]
    assert "hunter2" not in "".join(lines)


def test_a_bug_is_a_problem_with_its_request_id_and_without_its_words(client: TestClient) -> None:
    answer = client.get("/broken", headers={"X-Request-ID": "r-2"})

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "r-2"
    assert "hunter2" not in answer.text


def test_one_request_too_many_at_once_is_told_to_come_back() -> None:
    app = small_api(max_open_requests=1)
    client = TestClient(app)
    asking = threading.Thread(target=client.get, args=("/slow",))
    asking.start()
    try:
        assert app.state.is_slow.wait(60)
        answer = client.get("/plain")
        alive = client.get("/livez")
    finally:
        app.state.go_on.set()
        asking.join()

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert alive.status_code == 200
    assert client.get("/plain").status_code == 200


async def ask_with_slow_body(app: FastAPI) -> list[dict[str, Any]]:
    """What the API sends to a request whose body drips in for ever."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await anyio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {"type": "http", "method": "POST", "path": "/body", "headers": [], "query_string": b""}
    await app(
        {**scope, "http_version": "1.1", "scheme": "http", "server": ("t", 80), "app": app}, receive, send
    )
    return sent


def test_a_body_that_drips_in_for_ever_ends_in_time() -> None:
    sent = anyio.run(ask_with_slow_body, small_api(body_timeout_s=0.2))

    assert sent[0]["status"] == 408
    assert dict(sent[0]["headers"])[b"connection"] == b"close"
    assert b"request_timeout" in sent[1]["body"]


def test_requests_without_a_key_leave_places_for_those_with_one() -> None:
    api = small_api(max_open_requests=5, has_keys=True)
    client, keyed = TestClient(api), {"Authorization": "Bearer a"}
    client.get("/livez")  # the first request builds the application's middleware
    with ThreadPoolExecutor(4) as threads:
        slow = []
        for _ in range(4):
            api.state.is_slow.clear()
            slow.append(threads.submit(TestClient(api).get, "/slow"))
            assert api.state.is_slow.wait(60)
        assert client.get("/plain").status_code == 503
        assert client.get("/plain", headers=keyed).status_code == 200
        api.state.go_on.set()
        assert [one.result(60).status_code for one in slow] == [200] * 4


def test_a_large_body_goes_out_in_pieces() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(range(256)) * 1000})

    async def send(message: Any) -> None:
        sent.append(message)

    middleware = RequestMiddleware(
        app, refusals=Refusals(answer_fault, answer_overload), body_timeout_s=30, max_open_requests=10
    )
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(middleware(scope, nothing_comes, send))
    bodies = [message for message in sent if message["type"] == "http.response.body"]
    assert b"".join(message["body"] for message in bodies) == bytes(range(256)) * 1000
    assert max(len(message["body"]) for message in bodies) == PIECE_BYTES
    assert [message["more_body"] for message in bodies] == [True, True, True, False]


def test_a_caller_that_hangs_up_while_sending_is_one_line_and_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Request(scope, receive).body()

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    middleware = RequestMiddleware(
        app, refusals=Refusals(answer_fault, answer_overload), body_timeout_s=30, max_open_requests=10
    )
    with caplog.at_level(logging.INFO):
        asyncio.run(middleware(scope, nothing_comes, send))
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "hung up" in caplog.text
    assert sent == []
