"""Bodies of bounded size."""

from __future__ import annotations

import anyio
import pytest
from fastapi import Request

from ai_engine.errors import BodyTooLarge
from ai_engine.web.bodies import stream_body


def read(pieces: list[bytes], max_bytes: int) -> bytes:
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]

    async def receive() -> dict[str, object]:
        return messages.pop(0) if messages else {"type": "http.request", "body": b"", "more_body": False}

    async def run() -> bytes:
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        return b"".join([chunk async for chunk in stream_body(request, max_bytes)])

    return anyio.run(run)


def test_a_body_up_to_the_limit_is_read_whole_however_it_is_cut() -> None:
    assert read([b"abc", b"", b"de"], 5) == b"abcde"


def test_a_body_is_refused_at_the_piece_that_passes_the_limit() -> None:
    with pytest.raises(BodyTooLarge, match="more than 5 bytes"):
        read([b"abc", b"def", b"never read"], 5)
