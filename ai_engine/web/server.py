"""The HTTP server round the API: uvicorn, with an end to connections that send nothing, or send too slowly.

A request's head has `HEAD_WITHIN_S`, and a whole request its own limit: so that slow senders can't hold connections
open for nothing. Knows no routes.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ai_engine.errors import StartupError

BACKLOG = 2048
"""Connections that may wait for the server, at its start for instance."""
HEAD_WITHIN_S = 15.0
MAX_HEAD_BYTES = 32 * 1024
"""Of the request line and all headers together; more is answered 400."""
IDLE_S = 75
"""A connection without a request is kept this long: longer than proxies keep theirs, who else meet a closed one."""
LATE_S = 5.0
"""The API answers 408 first; a request that is still not whole this much later loses its connection."""


def open_port(host: str, port: int) -> socket.socket:
    """The open port: who connects from now on waits until `run_server` answers.

    Raises:
        StartupError: the address is not this machine's, or somebody has the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise StartupError(f"HOST {host}, PORT {port}: {error.strerror}") from error


def run_server(app: ASGIApp, port: socket.socket, *, request_timeout_s: float) -> None:
    """Serves until SIGTERM or Ctrl-C."""
    config = uvicorn.Config(
        app,
        http=punctual_protocol(HEAD_WITHIN_S, request_timeout_s + LATE_S),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[port])


def punctual_protocol(head_within_s: float, whole_within_s: float) -> type[H11Protocol]:
    """uvicorn's protocol, closing connections whose request is not there in time."""

    class PunctualProtocol(H11Protocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._is_late_task: asyncio.TimerHandle | None = None
            self._waits_for: str | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch("head")

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            theirs = self.conn.their_state
            self._watch({h11.IDLE: "head", h11.SEND_BODY: "body"}.get(theirs))

        def connection_lost(self, exc: Exception | None) -> None:
            self._watch(None)
            super().connection_lost(exc)

        def _watch(self, waits_for: str | None) -> None:
            """Starts the clock when something new is waited for; the same one goes on whatever drips in."""
            if waits_for == self._waits_for:
                return
            self._waits_for = waits_for
            if self._is_late_task is not None:
                self._is_late_task.cancel()
                self._is_late_task = None
            if waits_for is not None:
                within_s = head_within_s if waits_for == "head" else whole_within_s
                self._is_late_task = self.loop.call_later(within_s, self.transport.abort)

    return PunctualProtocol
