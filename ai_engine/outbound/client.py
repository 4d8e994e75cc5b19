"""The only HTTP client, safe against SSRF: it connects to checked addresses alone, and ends in time.

SNI and certificate stay with the name, whatever address was connected to. Environment proxies are not
looked at, and each exchange has its own connection: nothing is carried from one job to
the next. Knows nothing of jobs, pictures or webhooks.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urljoin

import httpcore2

from ai_engine.outbound.addresses import AddressForbidden, AddressPolicy, Target
from ai_engine.outbound.checked_socket import CheckedBackend
from ai_engine.outbound.content_coding import TransferTooLarge, without_codings
from ai_engine.outbound.deadline import Deadline, TransferFailed

MAX_REDIRECTS = 3
MAX_ANSWER_BYTES = 4096
ANSWER_BODY_S = 5.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BODY_STATUSES = frozenset({200, 203})
_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class RedirectForbidden(AddressForbidden):
    """The URL is allowed, and its server redirects to one that is not."""


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


@dataclass(frozen=True)
class GuardedClient:
    """Sends and fetches, within one address policy."""

    policy: AddressPolicy
    connect_timeout_s: float = 5.0
    min_bytes_per_s: float = 1000.0
    user_agent: str = "ai-engine"
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def get_capped(self, url: str, max_bytes: int, deadline_s: float, *, accept: str = "*/*") -> bytes:
        """The body at `url`, after at most three redirects, each checked like the first address.

        Raises:
            AddressForbidden: the URL may not be used; `RedirectForbidden` for one that it redirects to.
            TransferTooLarge: more than `max_bytes` came or were announced.
            TransferFailed: no success within `deadline_s`, in all, or slower than the minimum rate.
        """
        deadline = Deadline(deadline_s, self.min_bytes_per_s, self.clock)
        for num_redirects in range(1 + MAX_REDIRECTS):
            with (
                _translate_redirect(num_redirects),
                self._exchange("GET", self.policy.parse(url), {"Accept": accept}, None, deadline) as response,
            ):
                if response.status not in _REDIRECTS:
                    return _body(response, max_bytes, deadline)
                next_url = _next_url(url, response)
            url = next_url
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
        deadline = Deadline(deadline_s, 0.0, self.clock)
        sent_headers = {**headers, "Content-Length": str(length)}
        with self._exchange(method, target, sent_headers, _exactly(content, length), deadline) as response:
            return Answer(response.status, _headers(response), _start_of_body(response, deadline))

    @contextmanager
    def _exchange(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        content: Iterator[bytes] | None,
        deadline: Deadline,
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
        backend = CheckedBackend(
            self.policy, deadline, connect_timeout_s=self.connect_timeout_s, clock=self.clock
        )
        ssl_context = self._ssl_context if target.scheme == "https" else None
        with (
            _translate_errors(),
            httpcore2.ConnectionPool(ssl_context=ssl_context, network_backend=backend) as pool,
            pool.stream(
                method, url, headers=[*(own_headers | dict(headers)).items()], content=content
            ) as response,
        ):
            yield response

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        return httpcore2.default_ssl_context()


def redirect_url(url: str, answer: Answer) -> str:
    """Where the answer to a request of `url` redirects to.

    Raises:
        RedirectForbidden: to nowhere, or from https to http.
    """
    # `Answer` holds headers as Latin-1: the bytes come back unharmed.
    location = answer.headers.get("location", "").encode("latin-1")
    target = _join(url, location)
    if target is None:
        raise RedirectForbidden("a redirect without a location")
    if url.lower().startswith("https:") and not target.lower().startswith("https:"):
        raise RedirectForbidden("from https to http")
    return target


def _body(response: httpcore2.Response, max_bytes: int, deadline: Deadline) -> bytes:
    if response.status not in _BODY_STATUSES:
        is_retryable = response.status in _RETRYABLE_STATUSES
        raise TransferFailed(
            f"the other side answered {response.status}", is_retryable=is_retryable, status=response.status
        )
    announced = _headers(response).get("content-length", "0")
    if announced.isascii() and announced.isdigit() and int(announced) > max_bytes:
        raise TransferTooLarge(f"{announced} bytes were announced, {max_bytes} are allowed")
    deadline.begin_body()
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        deadline.count(len(chunk))
        if len(body) > max_bytes:
            raise TransferTooLarge(f"more than {max_bytes} bytes came")
        deadline.remaining_s()
    return without_codings(bytes(body), _headers(response).get("content-encoding", ""), max_bytes)


def _start_of_body(response: httpcore2.Response, deadline: Deadline) -> bytes:
    """The first bytes of an answer. The status is what counts, so a body that stalls is cut, not an error."""
    deadline.shorten(ANSWER_BODY_S)
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
    raw = next((value for name, value in response.headers if name.lower() == b"location"), b"")
    target = _join(url, raw)
    if target is None:
        raise TransferFailed("a redirect without a location", is_retryable=False, status=response.status)
    return target


def _join(url: str, raw: bytes) -> str | None:
    """The URL that a `Location` header means, read against `url`; None where it is empty.

    Raises:
        RedirectForbidden: it can't be read.
    """
    location = _with_slashes(_text(raw.strip()).replace(" ", "%20"))
    if not location:
        return None
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise RedirectForbidden("the URL can't be read") from error


def _with_slashes(location: str) -> str:
    """Backslashes up to the query as the slashes that browsers take them for, and two of these before a host."""
    query = re.search(r"[?#]", location)
    end = len(location) if query is None else query.start()
    path = re.sub(r"^(https?:)?/{2,}", r"\1//", location[:end].replace("\\", "/"), flags=re.IGNORECASE)
    return path + location[end:].replace("\\", "%5C")


def _text(raw: bytes) -> str:
    """A header value as browsers read it: UTF-8, or Latin-1 where it is no UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _headers(response: httpcore2.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


@contextmanager
def _translate_redirect(num_redirects: int) -> Generator[None]:
    """Says of an address refused after a redirect that the server gave it, not the caller."""
    try:
        yield
    except AddressForbidden as error:
        if num_redirects == 0:
            raise
        raise RedirectForbidden(*error.args) from error


@contextmanager
def _translate_errors() -> Generator[None]:
    try:
        yield
    except httpcore2.ProtocolError as error:
        raise TransferFailed("the other side gave no proper HTTP answer", is_retryable=True) from error
    except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
        raise TransferFailed("the connection broke", is_retryable=True) from error
