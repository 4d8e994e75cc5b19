"""Bodies of bounded size, counted for their caller and for all."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import ExitStack
from typing import IO, Any

import anyio
import pytest
from fastapi import Request

from ai_engine.errors import BodyTooLarge, DiskFull, NotReady, TooManyBodies
from ai_engine.web import bodies as bodies_module
from ai_engine.web.bodies import MAX_REQUEST_BYTES, Bodies, Turns, stream_body

MB = 1_000_000


def request_of(pieces: list[bytes], declared: int | None = None) -> Request:
    """A request whose body comes in these pieces."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]

    async def receive() -> dict[str, object]:
        return messages.pop(0) if messages else {"type": "http.request", "body": b"", "more_body": False}

    headers = [] if declared is None else [(b"content-length", str(declared).encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def read(pieces: list[bytes], max_bytes: int) -> bytes:
    async def run() -> bytes:
        return b"".join([chunk async for chunk in stream_body(request_of(pieces), max_bytes)])

    return anyio.run(run)


def spooled(
    bodies: Bodies, request: Request, look: Callable[[IO[bytes]], Any], *, max_bytes: int = 10 * MB
) -> Any:
    """What `look` finds in the body of a request of `shop`."""

    async def run() -> Any:
        with bodies.hold("shop") as held:
            async with bodies.spool(request, held, max_bytes) as body:
                return look(body)

    return anyio.run(run)


def test_a_body_up_to_the_limit_is_read_whole_however_it_is_cut() -> None:
    assert read([b"abc", b"", b"de"], 5) == b"abcde"


def test_a_body_is_refused_at_the_piece_that_passes_the_limit() -> None:
    with pytest.raises(BodyTooLarge, match="more than 5 bytes"):
        read([b"abc", b"def", b"never read"], 5)


def test_a_large_body_lies_in_a_file_and_a_small_one_in_memory() -> None:
    bodies = Bodies(10 * MB, 10 * MB)
    pieces = [bytes([number]) * 50_000 for number in range(5)]

    def look(body: Any) -> tuple[bytes, bool]:
        return body.read(), body._rolled

    assert spooled(bodies, request_of(pieces), look) == (b"".join(pieces), True)
    assert spooled(bodies, request_of(pieces[:1]), look) == (pieces[0], False)


def test_bodies_of_one_caller_have_a_bound_and_leave_room_for_another() -> None:
    bodies = Bodies(in_all=10 * MB, per_caller=3 * MB)
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(bodies.hold("shop")).grow_to(MB)
        with pytest.raises(TooManyBodies, match="3000000") as refused, bodies.hold("shop") as one_more:
            one_more.grow_to(MB)

        assert refused.value.retry_after_s
        held.enter_context(bodies.hold("press")).grow_to(3 * MB)
    with bodies.hold("shop") as anew:
        anew.grow_to(3 * MB)


def test_bodies_of_all_have_a_bound() -> None:
    bodies = Bodies(in_all=4 * MB, per_caller=3 * MB)
    with bodies.hold("shop") as one, bodies.hold("press") as two, bodies.hold("third") as three:
        one.grow_to(2 * MB)
        two.grow_to(2 * MB)
        with pytest.raises(NotReady, match="as many bytes as it can"):
            three.grow_to(MB)
        three.grow_to(MAX_REQUEST_BYTES)  # a request without a picture has its place


def test_a_single_body_is_taken_however_large_and_counted_once_while_it_grows() -> None:
    bodies = Bodies(in_all=4 * MB, per_caller=MB)
    with bodies.hold("shop") as held:
        for num_bytes in range(MB, 6 * MB, MB):
            held.grow_to(num_bytes)
        assert bodies._held == {"shop": 5 * MB}
    assert not bodies._held


def test_the_length_that_is_declared_is_counted_before_the_first_byte() -> None:
    bodies = Bodies(in_all=4 * MB, per_caller=2 * MB)
    with bodies.hold("shop") as other:
        other.grow_to(MB)
        with pytest.raises(TooManyBodies):
            spooled(bodies, request_of([b"never read"], declared=2 * MB), lambda body: body.read())
        with pytest.raises(TooManyBodies):
            spooled(bodies, request_of([bytes(600_000)] * 3), lambda body: body.read())
        assert bodies._held == {"shop": MB}, "what was refused is given back"


def test_a_declared_length_beyond_what_a_body_may_have_counts_as_that() -> None:
    bodies = Bodies(in_all=4 * MB, per_caller=4 * MB)

    found = spooled(
        bodies, request_of([b"small"], declared=10**15), lambda _: dict(bodies._held), max_bytes=MB
    )

    assert found == {"shop": MB}


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    file = bodies_module.temporary_file()

    def refuse(_: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file, "write", refuse)
    monkeypatch.setattr(bodies_module, "temporary_file", lambda: file)

    with pytest.raises(DiskFull, match="no room"):
        spooled(Bodies(MB, MB), request_of([b"x"]), lambda body: body.read())


def test_a_caller_waits_for_its_own_turn_and_another_does_not() -> None:
    order: list[str] = []

    async def work(turns: Turns, caller: str, may_end: anyio.Event) -> None:
        async with turns.turn(caller):
            order.append(caller)
            await may_end.wait()

    async def run() -> None:
        turns, may_end = Turns(2), anyio.Event()
        async with anyio.create_task_group() as group:
            for caller in ("shop", "shop", "shop", "press", "third"):
                group.start_soon(work, turns, caller, may_end)
            await anyio.wait_all_tasks_blocked()
            assert order == ["shop", "press"], "two places, one for each caller"
            may_end.set()
        assert not turns._own

    anyio.run(run)
    assert sorted(order) == ["press", "shop", "shop", "shop", "third"]
