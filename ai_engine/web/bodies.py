"""Bodies of bounded size: FastAPI itself reads a body of any size into memory.

A body beyond `MAX_REQUEST_BYTES` lies in a temporary file. Its bytes, or the length that its head declares, are counted
for its caller and for all until its request is answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import IO, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.to_thread import current_default_thread_limiter
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Message

from ai_engine.errors import BodyTooLarge, DiskFull, InvalidField, NotReady, TooManyBodies

MAX_REQUEST_BYTES = 64 * 1024
"""A request without an embedded picture. Larger bodies lie in a file."""
SPOOL_THREADS = 4
"""They write large bodies to their files and parse them: neither holds a thread of other requests."""
PARSED_AT_ONCE = 2
"""Large bodies: parsing takes some times their bytes of memory."""
RETRY_AFTER_S = 5

T = TypeVar("T")


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


@dataclass
class Turns:
    """Places for work that takes much memory: a caller has one at most, and its other requests wait for it."""

    at_once: int
    _own: dict[str, asyncio.Lock] = field(default_factory=dict)
    _num_waiting: Counter[str] = field(default_factory=Counter)
    _places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.at_once)

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Waits for a place, and holds it until the block ends."""
        self._num_waiting[caller] += 1
        try:
            async with self._own.setdefault(caller, asyncio.Lock()), self._places:
                yield
        finally:
            self._num_waiting[caller] -= 1
            if not self._num_waiting[caller]:
                del self._num_waiting[caller], self._own[caller]


@dataclass(frozen=True)
class WholeBody:
    """A body that came whole, and the threads on which it is parsed."""

    request: Request
    file: IO[bytes]
    threads: CapacityLimiter

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` gives back, on one of the threads."""
        return await to_thread.run_sync(work, *arguments, limiter=self.threads)

    async def form(self, *, max_files: int, max_fields: int) -> FormData:
        """The parts of a multipart form. One without a filename may be as large as all.

        Raises:
            InvalidField: the body is no such form, or has more parts.
        """

        async def pieces() -> AsyncGenerator[bytes, None]:
            while piece := await self.run(self.file.read, MAX_REQUEST_BYTES):
                yield piece

        parser = MultiPartParser(
            self.request.headers,
            pieces(),
            max_files=max_files,
            max_fields=max_fields,
            max_part_size=sys.maxsize,
        )
        parser.spool_max_size = MAX_REQUEST_BYTES
        try:
            return await parser.parse()
        except MultiPartException as error:
            detail = "the form can't be read: " + error.message
            raise InvalidField("body", detail, code="form_invalid") from error
        except UnicodeError as error:  # A few of Python's encodings fail in a way of their own.
            detail = "the form's charset can't be used: leave it out"
            raise InvalidField("body", detail, code="form_invalid") from error


@dataclass
class HeldBytes:
    """The bytes of one request that are counted."""

    bodies: Bodies
    caller: str
    num_bytes: int = 0

    def grow_to(self, num_bytes: int) -> None:
        """Counts the body as one of `num_bytes`, where it was counted as smaller; MAX_REQUEST_BYTES are free.

        Raises:
            TooManyBodies: with them the caller's bodies would have more bytes than one caller's may have.
            NotReady: all bodies would have more than all may have.
        """
        if num_bytes > max(self.num_bytes, MAX_REQUEST_BYTES):
            self.bodies.add(self.caller, num_bytes - self.num_bytes, own=self.num_bytes)
            self.num_bytes = num_bytes


@dataclass
class Bodies:
    """How many bytes of bodies are held at once, and in whose requests. A caller's only one always has room."""

    in_all: int
    per_caller: int
    threads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(SPOOL_THREADS))
    parsing: Turns = field(default_factory=lambda: Turns(PARSED_AT_ONCE))
    _held: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def hold(self, caller: str) -> Iterator[HeldBytes]:
        """Counts a body of `caller` until the block ends."""
        held = HeldBytes(self, caller)
        try:
            yield held
        finally:
            with self._lock:
                self._held[caller] -= held.num_bytes
                self._held += Counter()  # Drops callers who hold nothing.

    def add(self, caller: str, num_bytes: int, *, own: int) -> None:
        """Counts `num_bytes` more of a body of which `own` are counted; raises as `HeldBytes.grow_to`."""
        with self._lock:
            others = self._held[caller] - own
            if others > 0 and others + own + num_bytes > self.per_caller:
                raise TooManyBodies(
                    f"The bodies of your open requests may have {self.per_caller} bytes at once.",
                    retry_after_s=RETRY_AFTER_S,
                )
            held = self._held.total()
            if held > own and held + num_bytes > self.in_all:
                raise NotReady("The service receives as many bytes as it can.", retry_after_s=RETRY_AFTER_S)
            self._held[caller] += num_bytes

    @asynccontextmanager
    async def whole(self, request: Request, held: HeldBytes, max_bytes: int) -> AsyncIterator[WholeBody]:
        """The body, once it came whole; a large one waits for its turn to be parsed, which ends with the block.

        Raises:
            BodyTooLarge, DiskFull, TooManyBodies, NotReady: as `spool`.
        """
        async with self.spool(request, held, max_bytes) as file:
            if not held.num_bytes:
                yield WholeBody(request, file, current_default_thread_limiter())
                return
            async with self.parsing.turn(held.caller):
                yield WholeBody(request, file, self.threads)

    @asynccontextmanager
    async def spool(self, request: Request, held: HeldBytes, max_bytes: int) -> AsyncIterator[IO[bytes]]:
        """The body as a file that is read from its start, kept until the block ends.

        Raises:
            BodyTooLarge: it has more than `max_bytes`.
            DiskFull: there is no room for it.
            TooManyBodies, NotReady: as `HeldBytes.grow_to`.
        """
        held.grow_to(min(declared_bytes(request), max_bytes))
        with temporary_file() as file:
            num_bytes = 0
            async for piece in stream_body(request, max_bytes):
                num_bytes += len(piece)
                held.grow_to(num_bytes)
                await self._write(file, piece, is_small=num_bytes <= MAX_REQUEST_BYTES)
            file.seek(0)
            yield file

    async def _write(self, file: IO[bytes], piece: bytes, *, is_small: bool) -> None:
        try:
            if is_small:
                file.write(piece)
            else:
                await to_thread.run_sync(file.write, piece, limiter=self.threads)
        except OSError as error:
            raise DiskFull("There is no room for the request's body.", retry_after_s=60) from error


def temporary_file() -> IO[bytes]:
    """A file without a name, in memory up to MAX_REQUEST_BYTES."""
    return SpooledTemporaryFile(MAX_REQUEST_BYTES)


def declared_bytes(request: Request) -> int:
    """The length that the request's head declares; 0 where it declares none."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdigit() else 0


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


def load_json(body: bytes) -> Any:
    """What the JSON says; a byte order mark is dropped.

    Raises:
        InvalidField: it is no JSON, or names a field twice.
    """
    try:
        return json.loads(body, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InvalidField("body", "the body is not valid JSON", code="json_invalid") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    refuse_doubled(name for name, _ in pairs)
    for name, _ in pairs:
        name.encode()  # half a surrogate pair is no text, and no answer could name it
    return dict(pairs)


def refuse_doubled(names: Iterable[str]) -> None:
    """Raises InvalidField where a name occurs twice: two readers of one request could each take another value."""
    for name, number in Counter(names).items():
        if number > 1:
            raise InvalidField(name, "this field is there more than once", code="duplicate_field")
