"""The HTTP server round the API: uvicorn, with an end to connections that send nothing, or too slowly, or do not read.

A request's head has `head_within_s`, a whole request its own limit, and an answer must drain: so that neither slow
senders nor callers who never read hold connections and memory. `connections.py` says how many there may be. Knows no
routes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ai_engine.errors import StartupError
from ai_engine.logs import OncePerSecond
from ai_engine.web.connections import (
    ConnectionLimits,
    Connections,
    raise_descriptor_limit,
    within_descriptors,
)

if sys.platform == "linux":
    import fcntl
    import termios

BACKLOG = 2048
"""Connections that may wait for the server, at its start for instance."""
ACCEPTED_AT_ONCE = 64
"""The event loop accepts so many in one go, and writes as many lines when descriptors run out."""
HEAD_WITHIN_S = 15.0
MAX_HEAD_BYTES = 32 * 1024
"""Of the request line and all headers together; more is answered 400."""
IDLE_S = 75
"""Seconds that a connection without a request is kept: more than proxies keep theirs, so that none finds it closed."""
TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
"""To a connection too many, before anything of it is read."""
LATE_S = 5.0
"""The API answers 408 first; a request that is still not whole this much later loses its connection."""


def open_port(host: str, port: int) -> socket.socket:
    """The open port: connections wait from now on until `run_server` answers them.

    Raises:
        StartupError: the address is not this machine's, or somebody has the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise StartupError(f"HOST {host}, PORT {port}: {error.strerror}") from error
    # Connections inherit it; asyncio sets it only where the socket names its protocol, and this one does not. Without
    # it the second half of each answer on a kept connection waits 40 ms for the acknowledgement of the first.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


@dataclass(frozen=True)
class Patience:
    """How long the server waits for what its callers owe it."""

    head_within_s: float = HEAD_WITHIN_S
    whole_within_s: float = 60.0 + LATE_S
    """For a whole request."""
    drain_window_s: float = 20.0
    """A caller that does not read loses its connection when a window ends with less than `drained_bytes` taken."""
    drained_bytes: int = 16 * 1024


def run_server(
    app: ASGIApp, port: socket.socket, *, request_timeout_s: float, limits: ConnectionLimits
) -> None:
    """Serves until SIGTERM or Ctrl-C."""
    connections = Connections(within_descriptors(limits, raise_descriptor_limit()))
    logging.getLogger("asyncio").addFilter(OncePerSecond("socket.accept() out of system resource"))
    config = uvicorn.Config(
        app,
        http=bounded_protocol(connections, Patience(whole_within_s=request_timeout_s + LATE_S)),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=5,
        backlog=ACCEPTED_AT_ONCE,
    )
    _Server(config).run(sockets=[port])


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, closing connections that are too many, whose request is late, or that do not read."""

    table: Connections
    patience: Patience
    address = "unknown"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_late_task: asyncio.TimerHandle | None = None
        self._waits_for: str | None = None
        self._waits_since = 0.0
        self._drain_task: asyncio.TimerHandle | None = None
        self._unread_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Implements `asyncio.Protocol`: the connection is taken, or refused where none gives way."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else self.address
        self._watch("head")
        if not self.table.admit(self):
            transport.write(TOO_MANY)
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Implements `asyncio.Protocol`."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        theirs = self.conn.their_state
        self._watch({h11.IDLE: "head", h11.SEND_BODY: "body"}.get(theirs))

    def connection_lost(self, exc: Exception | None) -> None:
        """Implements `asyncio.Protocol`."""
        self.table.forget(self)
        self._watch(None)
        self._stop_draining()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Implements `asyncio.Protocol`: the caller does not read as fast as it is sent to."""
        super().pause_writing()
        self._unread_since = time.monotonic()
        self._watch_drain(_unread_bytes(self.transport))

    def resume_writing(self) -> None:
        """Implements `asyncio.Protocol`."""
        self._stop_draining()
        super().resume_writing()

    def held_for_nothing_since(self) -> float | None:
        """Implements `Held`."""
        return self._waits_since if self._waits_for == "head" else self._unread_since

    def give_way(self) -> None:
        """Implements `Held`."""
        self.transport.abort()

    def _watch(self, waits_for: str | None) -> None:
        """Starts the clock when something new is waited for; the same one goes on whatever drips in."""
        if waits_for == self._waits_for:
            return
        self._waits_for, self._waits_since = waits_for, time.monotonic()
        if self._is_late_task is not None:
            self._is_late_task.cancel()
            self._is_late_task = None
        if waits_for is not None:
            within_s = self.patience.head_within_s if waits_for == "head" else self.patience.whole_within_s
            self._is_late_task = self.loop.call_later(within_s, self.transport.abort)

    def _watch_drain(self, num_bytes: int) -> None:
        self._drain_task = self.loop.call_later(self.patience.drain_window_s, self._check_drain, num_bytes)

    def _check_drain(self, num_bytes_before: int) -> None:
        num_bytes = _unread_bytes(self.transport)
        if num_bytes_before - num_bytes < self.patience.drained_bytes:
            self.transport.abort()
        else:
            self._watch_drain(num_bytes)

    def _stop_draining(self) -> None:
        self._unread_since = None
        if self._drain_task is not None:
            self._drain_task.cancel()
            self._drain_task = None


def bounded_protocol(connections: Connections, patience: Patience) -> type[BoundedProtocol]:
    """The protocol of one server: uvicorn makes its instances, so what they share are attributes of the class."""
    return type("ServerProtocol", (BoundedProtocol,), {"table": connections, "patience": patience})


def _unread_bytes(transport: asyncio.Transport) -> int:
    """What was sent and not yet taken by the other side, the kernel's queue included where it can be asked."""
    num_bytes = transport.get_write_buffer_size()
    if sys.platform != "linux":
        return num_bytes
    queued = bytearray(4)
    with suppress(OSError):
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, queued)
    return num_bytes + int.from_bytes(queued, sys.byteorder)
