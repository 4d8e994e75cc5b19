"""Bodies of bounded size: FastAPI itself reads a body of any size into memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from ai_engine.errors import BodyTooLarge

MAX_REQUEST_BYTES = 64 * 1024
"""A request without an embedded picture."""


class SmallBodyRoute(APIRoute):
    """A route whose body has at most MAX_REQUEST_BYTES: larger ones are refused."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler behind the limit; it raises BodyTooLarge."""
        handle = super().get_route_handler()

        async def handle_small(request: Request) -> Response:
            body = b"".join([chunk async for chunk in stream_body(request, MAX_REQUEST_BYTES)])

            async def receive() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            return await handle(Request(request.scope, receive))

        return handle_small


async def stream_body(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body in pieces.

    Raises:
        BodyTooLarge: it has more than `max_bytes`.
    """
    num_bytes = 0
    async for chunk in request.stream():
        num_bytes += len(chunk)
        check_size(num_bytes, max_bytes)
        yield chunk


def check_size(num_bytes: int, max_bytes: int) -> None:
    """Raises BodyTooLarge where a body has more bytes than it may."""
    if num_bytes > max_bytes:
        raise BodyTooLarge(f"The body has more than {max_bytes} bytes.")
