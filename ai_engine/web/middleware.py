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
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ai_engine.errors import BodyTooSlow
from ai_engine.logs import about, event

REQUEST_ID = "X-Request-ID"
PIECE_BYTES = 64 * 1024
"""An answer's body goes to the server in such pieces: what a caller does not read is not kept in memory."""
KEYLESS_SHARE = 0.8
"""Where there are keys, requests without one fill no more than this share of the places."""
OWNER = "ai_engine.owner"
"""In the scope: the name of the caller's key, None without one."""
ENDS_WITH_REQUEST = "ai_engine.ends_with_request"
"""In the scope: a list of callables that run when the answer is over, sent or not."""
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

    answer_fault: Callable[[Request], Response]
    """A bug of ours."""
    answer_overload: Callable[[Request], Response]
    """As many requests are being answered as may be."""


def at_end_of(request: Request, end: Callable[[], None]) -> None:
    """Has the middleware call `end` when the answer to `request` is over, sent or not."""
    request.scope.setdefault(ENDS_WITH_REQUEST, []).append(end)


class RequestMiddleware:
    """ASGI middleware round the whole API: request id, careful headers, body deadline, limit of open requests."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        refusals: Refusals,
        body_timeout_s: float,
        max_open_requests: int,
        has_keys: bool = False,
    ) -> None:
        self._app = app
        self._refusals = refusals
        self._body_timeout_s = body_timeout_s
        self._max_open = max_open_requests
        self._max_keyless = max(1, int(KEYLESS_SHARE * max_open_requests)) if has_keys else max_open_requests
        self._num_open: Counter[bool] = Counter()
        """By whether a key came with the request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answering = _Answering(scope, send)
        ends_with_request: list[Callable[[], None]] = []
        scope[ENDS_WITH_REQUEST] = ends_with_request
        has_key = "authorization" in Headers(scope=scope)
        self._num_open[has_key] += 1
        with about(request_id=answering.request_id):
            try:
                await self._answer(scope, receive, answering, has_key=has_key)
            finally:
                self._num_open[has_key] -= 1
                for end in ends_with_request:
                    end()
                answering.log()

    def _is_full(self, *, has_key: bool) -> bool:
        is_full = self._num_open.total() > self._max_open
        return is_full or (not has_key and self._num_open[False] > self._max_keyless)

    async def _answer(self, scope: Scope, receive: Receive, answering: _Answering, *, has_key: bool) -> None:
        if self._is_full(has_key=has_key) and scope["path"] != _ALIVE:
            await self._refusals.answer_overload(Request(scope))(scope, receive, answering.send)
            return
        try:
            await self._app(scope, BodyDeadline(receive, self._body_timeout_s), answering.send)
        except ClientDisconnect:
            answering.hung_up = True
        except Exception:
            logger.exception("a request broke")
            if answering.status is not None:
                raise  # Half an answer is out: the server closes the connection, so that it is not taken for whole.
            await self._refusals.answer_fault(Request(scope))(scope, receive, answering.send)


class _Answering:
    """One request on its way out."""

    def __init__(self, scope: Scope, send: Send) -> None:
        wished = Headers(scope=scope).get(REQUEST_ID, "")
        self.request_id = wished if _SANE_ID.fullmatch(wished) else uuid.uuid4().hex
        self.status: int | None = None
        self.hung_up = False
        """The caller closed the connection before the request was whole."""
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
        elif len(message.get("body", b"")) > PIECE_BYTES:
            await self._send_in_pieces(message)
            return
        await self._send(message)

    async def _send_in_pieces(self, message: Message) -> None:
        body = message["body"]
        for start in range(0, len(body), PIECE_BYTES):
            is_last = start + PIECE_BYTES >= len(body)
            more_body = not is_last or message.get("more_body", False)
            await self._send({**message, "body": body[start : start + PIECE_BYTES], "more_body": more_body})

    def log(self) -> None:
        """Logs the request in one line; probes and scrapes that went well at DEBUG."""
        path = self._scope["path"]
        is_quiet = path in _PROBES and (self.status or 500) < 500
        event(
            logger,
            "the caller hung up before the request was whole" if self.hung_up else "request",
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
