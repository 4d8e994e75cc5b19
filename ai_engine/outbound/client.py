"""The only HTTP client: it connects to checked addresses alone, and ends in time whatever the other side does.

The check sits where the socket is opened, on the very address that is then connected to, so a name that
changes its answer between check and use gains nothing; SNI and certificate stay with the name. Environment
proxies are not looked at, and each exchange has its own connection: nothing is carried from one job to
the next. Knows nothing of jobs, pictures or webhooks.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urljoin

import httpcore2

from ai_engine.outbound.addresses import AddressForbidden, AddressPolicy, Target

__all__ = [
    "AddressForbidden",
    "AddressPolicy",
    "Answer",
    "GuardedClient",
    "TransferFailed",
    "TransferTooLarge",
]

MAX_REDIRECTS = 3
MAX_ANSWER_BYTES = 4096
ANSWER_BODY_S = 5.0
RATE_GRACE_S = 5.0
CHUNK_BYTES = 65536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class TransferFailed(Exception):
    """No usable answer came. The message holds nothing that the other side sent, but its status."""

    def __init__(self, reason: str, *, is_retryable: bool, status: int | None = None) -> None:
        super().__init__(reason)
        self.is_retryable = is_retryable
        self.status = status


class TransferTooLarge(Exception):
    """The body is larger than was asked for; the rest of it was not read."""


@dataclass(frozen=True)
class Answer:
    """What the other side said: status, headers by lower-case name, and at most 4 kB of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status < 300


class Pace:
    """How long one exchange may still take: in all, and until its next bytes."""

    def __init__(self, total_s: float, min_bytes_per_s: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._total_s = total_s
        self._min_bytes_per_s = min_bytes_per_s
        self._ends_at = clock() + total_s
        self._body_began_at: float | None = None
        self._body_bytes = 0

    def begin_body(self) -> None:
        """From here on the minimum rate holds."""
        self._body_began_at = self._clock()

    def count(self, num_bytes: int) -> None:
        """Takes note of bytes of the body; each buys a little time."""
        self._body_bytes += num_bytes

    def shorten(self, remaining_s: float) -> None:
        """Ends the exchange `remaining_s` from now at the latest."""
        self._ends_at = min(self._ends_at, self._clock() + remaining_s)

    def remaining_s(self) -> float:
        """Seconds until the next bytes must be here.

        Raises:
            TransferFailed: there are none left.
        """
        remaining = self._next_bytes_by() - self._clock()
        if remaining <= 0:
            raise self.overdue()
        return remaining

    def overdue(self) -> TransferFailed:
        """The error that says which of the two limits was passed."""
        if self._next_bytes_by() < self._ends_at:
            reason = f"the other side sent less than {self._min_bytes_per_s:.0f} bytes a second"
        else:
            reason = f"the other side took longer than {self._total_s:.0f} s"
        return TransferFailed(reason, is_retryable=True)

    def _next_bytes_by(self) -> float:
        if self._body_began_at is None or self._min_bytes_per_s <= 0:
            return self._ends_at
        allowance_s = RATE_GRACE_S + self._body_bytes / self._min_bytes_per_s
        return min(self._ends_at, self._body_began_at + allowance_s)


@dataclass(frozen=True)
class GuardedClient:
    """Sends and fetches, within one address policy."""

    policy: AddressPolicy
    connect_timeout_s: float = 5.0
    min_bytes_per_s: float = 1000.0
    user_agent: str = "ai-engine"
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def get_capped(self, url: str, max_bytes: int, deadline_s: float) -> bytes:
        """The body at `url`, after at most three redirects, each checked like the first address.

        Raises:
            AddressForbidden: the URL, or one that it redirects to, may not be used.
            TransferTooLarge: more than `max_bytes` came or were announced.
            TransferFailed: no success within `deadline_s`, in all, or slower than the minimum rate.
        """
        pace = Pace(deadline_s, self.min_bytes_per_s, self.clock)
        for _ in range(1 + MAX_REDIRECTS):
            with self._exchange("GET", self.policy.parse(url), {}, None, pace) as response:
                if response.status not in _REDIRECTS:
                    return _body(response, max_bytes, pace)
                url = _next_url(url, response)
        raise TransferFailed(f"more than {MAX_REDIRECTS} redirects", is_retryable=False)

    def post(
        self,
        url: str,
        content: bytes | Iterable[bytes],
        *,
        headers: Mapping[str, str],
        deadline_s: float,
        content_length: int | None = None,
    ) -> Answer:
        """The answer to a POST of `content`; an iterable needs its `content_length` in bytes. No redirects.

        Raises:
            AddressForbidden: the URL may not be used.
            TransferFailed: no answer within `deadline_s`, in all.
        """
        return self.send(
            "POST", url, content, headers=headers, deadline_s=deadline_s, content_length=content_length
        )

    def send(
        self,
        method: str,
        url: str,
        content: bytes | Iterable[bytes],
        *,
        headers: Mapping[str, str],
        deadline_s: float,
        content_length: int | None = None,
    ) -> Answer:
        """As `post`, for any method that carries a body."""
        length = len(content) if isinstance(content, bytes) else content_length
        if length is None:
            raise ValueError("content that is not bytes needs its content_length")
        target = self.policy.parse(url)
        pace = Pace(deadline_s, 0.0, self.clock)
        sent_headers = {**headers, "Content-Length": str(length)}
        with self._exchange(method, target, sent_headers, _exactly(content, length), pace) as response:
            return Answer(response.status, _headers(response), _start_of_body(response, pace))

    @contextmanager
    def _exchange(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        content: Iterator[bytes] | None,
        pace: Pace,
    ) -> Generator[httpcore2.Response]:
        url = httpcore2.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path
        )
        own_headers = {
            "Host": target.authority,
            "User-Agent": self.user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        backend = _CheckedBackend(self, pace)
        ssl_context = self._ssl_context if target.scheme == "https" else None
        with (
            _translated(),
            httpcore2.ConnectionPool(ssl_context=ssl_context, network_backend=backend) as pool,
            pool.stream(
                method, url, headers=[*(own_headers | dict(headers)).items()], content=content
            ) as response,
        ):
            yield response

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        return httpcore2.default_ssl_context()


class _CheckedBackend(httpcore2.NetworkBackend):
    """Opens sockets to checked addresses only."""

    def __init__(self, client: GuardedClient, pace: Pace) -> None:
        self._client = client
        self._pace = pace

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        budget = Pace(min(self._client.connect_timeout_s, self._pace.remaining_s()), 0.0, self._client.clock)
        try:
            addresses = self._client.policy.addresses(host, port, timeout_s=budget.remaining_s())
        except OSError as error:
            raise TransferFailed("the host's name can't be resolved", is_retryable=True) from error
        return _TimedStream(_first_open(addresses, port, budget), self._pace)


class _TimedStream(httpcore2.NetworkStream):
    """A connected socket on which every wait ends with the exchange's pace."""

    def __init__(self, sock: socket.socket, pace: Pace) -> None:
        self._sock = sock
        self._pace = pace

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._sock.settimeout(self._pace.remaining_s())
        try:
            return self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise self._pace.overdue() from error
        except OSError as error:
            raise httpcore2.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        unsent = memoryview(buffer)
        while unsent:
            # Once per piece: a peer that drains one byte at a time must not renew its time with each.
            self._sock.settimeout(self._pace.remaining_s())
            try:
                unsent = unsent[self._sock.send(unsent[:CHUNK_BYTES]) :]
            except TimeoutError as error:
                raise self._pace.overdue() from error
            except OSError as error:
                raise httpcore2.WriteError(str(error)) from error

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        self._sock.settimeout(self._pace.remaining_s())
        try:
            return _TimedStream(
                ssl_context.wrap_socket(self._sock, server_hostname=server_hostname), self._pace
            )
        except ssl.SSLCertVerificationError as error:
            raise TransferFailed("the other side's certificate is not valid", is_retryable=False) from error
        except OSError as error:
            raise TransferFailed("no secure connection could be made", is_retryable=True) from error
        finally:
            # Harmless after success: the wrapped socket has taken the descriptor over.
            self._sock.close()

    def close(self) -> None:
        self._sock.close()

    def get_extra_info(self, info: str) -> Any:
        return None


def _first_open(addresses: list[str], port: int, budget: Pace) -> socket.socket:
    for num_left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        try:
            sock = socket.create_connection((address, port), budget.remaining_s() / num_left)
        except OSError:
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    raise TransferFailed("the host does not accept a connection", is_retryable=True)


def _body(response: httpcore2.Response, max_bytes: int, pace: Pace) -> bytes:
    if response.status != 200:
        is_retryable = response.status in _RETRYABLE_STATUSES
        raise TransferFailed(
            f"the other side answered {response.status}", is_retryable=is_retryable, status=response.status
        )
    announced = _headers(response).get("content-length", "0")
    if announced.isascii() and announced.isdigit() and int(announced) > max_bytes:
        raise TransferTooLarge(f"{announced} bytes were announced, {max_bytes} are allowed")
    pace.begin_body()
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        pace.count(len(chunk))
        if len(body) > max_bytes:
            raise TransferTooLarge(f"more than {max_bytes} bytes came")
        pace.remaining_s()
    return bytes(body)


def _start_of_body(response: httpcore2.Response, pace: Pace) -> bytes:
    """The first bytes of an answer. The status is what counts, so a body that stalls is cut, not an error."""
    pace.shorten(ANSWER_BODY_S)
    body = bytearray()
    try:
        for chunk in response.iter_stream():
            body += chunk
            if len(body) >= MAX_ANSWER_BYTES:
                break
    except (TransferFailed, httpcore2.NetworkError, httpcore2.ProtocolError):
        pass
    return bytes(body[:MAX_ANSWER_BYTES])


def _exactly(content: bytes | Iterable[bytes], length: int) -> Iterator[bytes]:
    pieces: Iterable[bytes] = (content,) if isinstance(content, bytes) else content
    num_sent = 0
    for piece in pieces:
        num_sent += len(piece)
        yield piece
    if num_sent != length:
        raise ValueError(f"content_length says {length} bytes, the content has {num_sent}")


def _next_url(url: str, response: httpcore2.Response) -> str:
    location = _headers(response).get("location")
    if not location:
        raise TransferFailed("a redirect without a location", is_retryable=False, status=response.status)
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise AddressForbidden("the URL can't be read") from error


def _headers(response: httpcore2.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except httpcore2.ProtocolError as error:
        raise TransferFailed("the other side gave no proper HTTP answer", is_retryable=True) from error
    except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
        raise TransferFailed("the connection broke", is_retryable=True) from error
