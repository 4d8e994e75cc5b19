"""The server on a real socket, met by senders that are too slow."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import uvicorn

from ai_engine.errors import StartupError
from ai_engine.web.connections import ConnectionLimits, Connections
from ai_engine.web.server import MAX_HEAD_BYTES, Patience, bounded_protocol, open_port, run_server


async def answers_at_once(scope: Any, receive: Any, send: Any) -> None:
    """Answers without having read the body."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


async def answers_much(scope: Any, receive: Any, send: Any) -> None:
    """Two megabytes in pieces, more than the kernel takes in from a caller who does not read."""
    if scope["type"] == "http":
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"8388608")]}
        )
        for left in reversed(range(128)):
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": left > 0})


PATIENCE = Patience(head_within_s=0.5, whole_within_s=0.5)


@contextmanager
def served(app: Any, patience: Patience, limits: ConnectionLimits) -> Iterator[tuple[int, Connections]]:
    """The port of a server of `app`, and its connections."""
    connections = Connections(limits)
    config = uvicorn.Config(
        app,
        port=0,
        http=bounded_protocol(connections, patience),
        log_config=None,
        lifespan="off",
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),), daemon=True)
    thread.start()
    ends_at = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1], connections
    server.should_exit = True
    thread.join(60)


@pytest.fixture
def port() -> Iterator[int]:
    with served(answers_at_once, PATIENCE, ConnectionLimits(100)) as (number, _):
        yield number


def everything_from(connection: socket.socket) -> bytes:
    received = b""
    try:
        while more := connection.recv(65536):
            received += more
    except ConnectionError:
        pass
    return received


def dripped(connection: socket.socket, byte: bytes) -> bytes:
    """What came back until the server closed the connection, onto which bytes kept dripping."""
    connection.settimeout(0.05)
    received, ends_at = b"", time.monotonic() + 60
    while time.monotonic() < ends_at:
        try:
            connection.sendall(byte)
            more = connection.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:
            return received
        if not more:
            return received
        received += more
    raise AssertionError("the connection was never closed")


def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        assert everything_from(connection) == b""


def test_headers_that_drip_in_for_ever_end_in_time(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
        assert dripped(connection, b"x") == b""


def test_a_body_that_nobody_reads_does_not_hold_the_connection_open(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert dripped(connection, b"x").endswith(b"ok")


def test_requests_in_time_share_one_connection_however_long_it_lives(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for _ in range(3):
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nxx")
            answer = b""
            while not answer.endswith(b"ok"):
                answer += connection.recv(65536)
            assert b"server:" not in answer.lower()
            time.sleep(
                0.7
            )  # Longer than a request may take: between two requests no clock runs but keep-alive.


def test_a_head_that_is_too_large_is_refused(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * (2 * MAX_HEAD_BYTES))
        assert everything_from(connection).startswith(b"HTTP/1.1 400")


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    with open_port("127.0.0.1", 0) as port, socket.create_connection(port.getsockname()):
        accepted, _ = port.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_who_connects_before_the_server_runs_waits_and_is_answered() -> None:
    with open_port("127.0.0.1", 0) as port, socket.create_connection(port.getsockname()) as early:
        early.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        threading.Thread(
            target=run_server,
            args=(answers_at_once, port),
            kwargs={"request_timeout_s": 60, "limits": ConnectionLimits(100)},
            daemon=True,
        ).start()
        early.settimeout(60)
        assert early.recv(100).startswith(b"HTTP/1.1 200")


def test_a_port_that_is_taken_or_elsewhere_is_refused_by_name() -> None:
    with open_port("127.0.0.1", 0) as port:
        number = port.getsockname()[1]
        with pytest.raises(StartupError, match=rf"HOST 127\.0\.0\.1, PORT {number}: Address already in use"):
            open_port("127.0.0.1", number)
    with pytest.raises(StartupError, match=r"HOST no\.such"):
        open_port("no.such.host.invalid", 0)


def unread(port: int) -> socket.socket:
    """A connection that asks for much, and takes in next to nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", port))
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    return connection


def asked(port: int) -> bytes:
    """The first line that a caller who reads gets."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return everything_from(connection).partition(b"\r\n")[0]


def wait_until(is_so: Any) -> None:
    ends_at = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < ends_at
        time.sleep(0.01)


def test_an_answer_that_is_not_read_is_aborted() -> None:
    patience = Patience(drain_window_s=0.2)
    with served(answers_much, patience, ConnectionLimits(100)) as (port, connections), unread(port):
        wait_until(lambda: len(connections) == 1)
        wait_until(lambda: len(connections) == 0)


def test_an_answer_that_is_read_slowly_comes_whole() -> None:
    patience = Patience(drain_window_s=1.0, drained_bytes=1)
    with served(answers_much, patience, ConnectionLimits(100)) as (port, _), unread(port) as connection:
        received = 0
        while received < 8_388_608 and (more := connection.recv(65536)):
            received += len(more)
            time.sleep(0.002)
    assert received >= 8_388_608


def test_those_who_hold_connections_for_nothing_give_way_to_a_newcomer() -> None:
    patient = Patience(head_within_s=60, drain_window_s=60)
    with served(answers_much, patient, ConnectionLimits(8)) as (port, connections), ExitStack() as held:
        for _ in range(4):
            held.enter_context(socket.create_connection(("127.0.0.1", port)))
            held.enter_context(unread(port))
        wait_until(lambda: len(connections) == 8)
        assert [asked(port) for _ in range(8)] == [b"HTTP/1.1 200 OK"] * 8
        assert len(connections) <= 8


def test_a_connection_too_many_is_told_when_nobody_gives_way() -> None:
    has_begun, go_on = threading.Event(), threading.Event()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        has_begun.set()
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        await answers_at_once(scope, receive, send)

    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with served(waits, Patience(head_within_s=60), ConnectionLimits(1)) as (port, _), ExitStack() as held:
        first = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        first.sendall(request)
        assert has_begun.wait(60)
        second = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        assert second.recv(100).startswith(b"HTTP/1.1 503 Service Unavailable")
        go_on.set()
        assert everything_from(first).startswith(b"HTTP/1.1 200")
