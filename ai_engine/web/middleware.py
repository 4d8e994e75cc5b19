"""What every request and every answer of the API carries besides its content, whatever the route.

A request id in the answer and in every log line, security headers, a deadline for the
request's body, a limit to requests at once, one log line. Knows no routes and no jobs.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ai_engine.errors import BodyTooSlow
from ai_engine.logs import about, event

REQUEST_ID = "X-Request-ID"
_SANE_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_ALIVE = "/livez"
"""Answered however many requests are open: a service that is only busy must not be restarted for it."""
_PROBES = frozenset({_ALIVE, "/readyz", "/health", "/metrics"})

NOTHING_ALLOWED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_ALLOWED = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For a page that the service itself serves: give it as the route's own Content-Security-Policy header."""
CAREFUL = {
    "Content-Security-Policy": NOTHING_ALLOWED,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Added to every answer that does not say otherwise itself."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusals:
    """How the API answers where no route is asked."""

    broken: Callable[[Request], Response]
    """A bug of ours."""
    crowded: Callable[[Request], Response]
    """As many requests are being answered as may be."""


class RequestMiddleware:
    """ASGI middleware round the whole API: request id, careful headers, body deadline, limit of open requests."""

    def __init__(
        self, app: ASGIApp, *, refusals: Refusals, body_timeout_s: float, max_open_requests: int
    ) -> None:
        self._app = app
        self._refusals = refusals
        self._body_timeout_s = body_timeout_s
        self._max_open_requests = max_open_requests
        self._num_open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answering = _Answering(scope, send)
        self._num_open += 1
        with about(request_id=answering.request_id):
            try:
                await self._answer(scope, receive, answering)
            finally:
                self._num_open -= 1
                answering.log()

    async def _answer(self, scope: Scope, receive: Receive, answering: _Answering) -> None:
        if self._num_open > self._max_open_requests and scope["path"] != _ALIVE:
            await self._refusals.crowded(Request(scope))(scope, receive, answering.send)
            return
        try:
            await self._app(scope, BodyDeadline(receive, self._body_timeout_s), answering.send)
        except Exception:
            logger.exception("a request broke")
            if answering.status is not None:
                raise  # Half an answer is out: the server closes the connection, so that it is not taken for whole.
            await self._refusals.broken(Request(scope))(scope, receive, answering.send)


class _Answering:
    """One request on its way out."""

    def __init__(self, scope: Scope, send: Send) -> None:
        wished = Headers(scope=scope).get(REQUEST_ID, "")
        self.request_id = wished if _SANE_ID.fullmatch(wished) else uuid.uuid4().hex
        self.status: int | None = None
        self._scope = scope
        self._send = send
        self._began_at = time.monotonic()

    async def send(self, message: Message) -> None:
        """Passes a part of the answer on, with what every answer carries."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.request_id
            for name, value in CAREFUL.items():
                headers.setdefault(name, value)
        await self._send(message)

    def log(self) -> None:
        """One line; of probes and scrapes only what went wrong and who wants to know everything."""
        path = self._scope["path"]
        is_quiet = path in _PROBES and (self.status or 500) < 500
        event(
            logger,
            "request",
            level=logging.DEBUG if is_quiet else logging.INFO,
            method=self._scope["method"],
            path=path,
            status=self.status,
            seconds=round(time.monotonic() - self._began_at, 3),
        )


class BodyDeadline:
    """ASGI receive wrapper that enforces the deadline of a request's body (408)."""

    def __init__(self, receive: Receive, timeout_s: float) -> None:
        self._receive = receive
        self._ends_at = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._is_whole = False

    async def __call__(self) -> Message:
        """The next part of the body; once it is whole, the end of the connection.

        Raises:
            BodyTooSlow: it did not come in time.
        """
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout(self._ends_at - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow(f"The body did not come within {self._timeout_s:g} s.") from None
        self._is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message
