"""SSRF rules: which addresses a caller's URL may lead to. Reads URLs and names; opens no connection.

One parser decides what the host is, here and for the connection alike, and a host that two parsers
could read differently is refused rather than guessed at.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

import httpx2

from ai_engine.outbound.address_ranges import Address, is_metadata, is_public
from ai_engine.outbound.lookups import Lookup, LookupPlaces

Resolver = Callable[[str, int], Sequence[str]]
"""Host name and port to the addresses of that name as text; raises OSError when there are none."""

DOCKER_HOST = "host.docker.internal"
MAX_URL_CHARS = 8192
DOOR_LOOKUP_S = 2.0

_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\[\]:@%\\]+)(?::[0-9]{1,5})?")
_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*")
_NUMBER_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")

_METADATA_NAMES = frozenset({"metadata.google.internal", "metadata.goog", "metadata", "instance-data"})
LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa", ".lan", ".intranet", ".corp", ".onion")
"""Suffixes of names that can't be registered."""

# Ports of other protocols, as browsers block them (WHATWG Fetch, "port blocking"): an HTTP request
# sent there could be read as a command.
_FOREIGN_PORTS_TEXT = """
1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 123
135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 990 993
995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6379 6566 6665 6666 6667 6668 6669 6679 6697 10080
"""
_FOREIGN_PORTS = frozenset(map(int, _FOREIGN_PORTS_TEXT.split()))


class AddressForbidden(Exception):
    """The URL leads where this service may not go; the message may be shown to the caller."""


@dataclass(frozen=True)
class Target:
    """One parsed URL: where to connect and what to ask for there."""

    scheme: str
    host: str
    """Lower-case ASCII, without brackets."""
    port: int
    path: bytes
    """Path and query, as they go into the request line."""

    @property
    def authority(self) -> str:
        """The `Host` header: brackets round IPv6, the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: what a log line may say of a URL."""
        return f"{self.scheme}://{self.authority}"


def system_resolver(host: str, port: int) -> Sequence[str]:
    """Every address the operating system finds for `host`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


@dataclass(frozen=True)
class AddressPolicy:
    """The rule for one kind of URL: public hosts, and what the operator opened besides."""

    exceptions: frozenset[tuple[str, int]] = frozenset()
    """Host and port pairs that may be private. Metadata addresses stay shut even so."""
    is_development: bool = False
    """Opens loopback and `host.docker.internal`, every port."""
    rewrite_loopback_to: str | None = None
    """In a container: the host that `localhost` and `127.0.0.1` in a caller's URL mean."""
    resolve: Resolver = field(default=system_resolver, repr=False)
    lookups: LookupPlaces = field(default_factory=LookupPlaces, repr=False, compare=False)

    def check_url(self, url: str) -> Target:
        """The parsed URL, if it may be used as far as can be known now; may wait 2 s for the name service.

        A name that does not resolve passes: it may exist later, and the connection checks again.

        Raises:
            AddressForbidden: the URL can't be used here.
        """
        return self.begin_check(url)()

    def begin_check(self, url: str) -> Callable[[], Target]:
        """Parses the URL and begins to look its name up; the call of what is returned ends `check_url`.

        Several URLs are so checked in the time of one. Where as many names as may be are being looked up already,
        this one passes without: the connection checks again.

        Raises:
            AddressForbidden: the URL can be seen to be of no use here.
        """
        target = self.parse(url)
        is_name = _literal_address(target.host) is None
        lookup = self._lookup(target.host, target.port, DOOR_LOOKUP_S, wait_s=0.0) if is_name else None

        def finish() -> Target:
            if lookup is not None:
                with suppress(OSError):
                    self._check_all(lookup.answer(), target.host, target.port)
            return target

        return finish

    def parse(self, url: str) -> Target:
        """The parsed and rewritten URL, checked without asking the name service.

        Raises:
            AddressForbidden: the URL is malformed, or can be seen to lead to a forbidden place.
        """
        target = _rewrite(parse_url(url), self.rewrite_loopback_to)
        self._check_port(target)
        self._check_name(target)
        literal = _literal_address(target.host)
        if literal is not None:
            self._check_address(literal, target.host, target.port)
        return target

    def addresses(self, host: str, port: int, *, timeout_s: float) -> list[str]:
        """The addresses of `host` to connect to, every one of them checked.

        Raises:
            AddressForbidden: at least one of them may not be used.
            OSError: the name has no address, or the answer took longer than `timeout_s`.
        """
        if _literal_address(host) is not None:
            return self._check_all([host], host, port)
        lookup = self._lookup(host, port, timeout_s, wait_s=timeout_s)
        if lookup is None:
            raise TimeoutError("too many names are being looked up")
        return self._check_all(lookup.answer(), host, port)

    def _lookup(self, host: str, port: int, timeout_s: float, *, wait_s: float) -> Lookup | None:
        return self.lookups.begin(lambda: self.resolve(host, port), timeout_s=timeout_s, wait_s=wait_s)

    def _check_all(self, texts: Sequence[str], host: str, port: int) -> list[str]:
        for text in texts:
            self._check_address(_address(text), host, port)
        return list(texts)

    def _check_port(self, target: Target) -> None:
        if not 0 < target.port < 65536:
            raise AddressForbidden(f"port {target.port} does not exist")
        if target.port in _FOREIGN_PORTS and (target.host, target.port) not in self.exceptions:
            raise AddressForbidden(f"port {target.port} belongs to another protocol")

    def _check_name(self, target: Target) -> None:
        if target.host in _METADATA_NAMES:
            raise AddressForbidden("the host is a cloud's metadata service")
        if (target.host, target.port) in self.exceptions or self._is_own_machine(target.host):
            return
        if f".{target.host}".endswith(LOCAL_SUFFIXES):
            raise AddressForbidden("the host is a local name")

    def _check_address(self, address: Address, host: str, port: int) -> None:
        if is_metadata(address):
            raise AddressForbidden("the host is a cloud's metadata service")
        if is_public(address) or (host, port) in self.exceptions:
            return
        if self.is_development and (address.is_loopback or host == DOCKER_HOST):
            return
        raise AddressForbidden("the host is not on the public internet")

    def _is_own_machine(self, host: str) -> bool:
        return self.is_development and host in ("localhost", DOCKER_HOST)


def parse_url(url: str) -> Target:
    """The one reading of a URL; says nothing about where it may lead.

    Raises:
        AddressForbidden: not http or https, or written so that two programs could read it differently.
    """
    _check_spelling(url)
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise AddressForbidden("the URL can't be read") from error
    host = parsed.raw_host.decode("ascii").lower()
    _check_host(host)
    port = parsed.port if parsed.port is not None else _DEFAULT_PORTS[parsed.scheme]
    return Target(scheme=parsed.scheme, host=host, port=port, path=parsed.raw_path)


def parse_exceptions(text: str) -> frozenset[tuple[str, int]]:
    """The pairs in `host:port,[v6]:port,...`, as an operator writes them in a setting.

    Raises:
        ValueError: an entry has no port, or can't be read.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    return frozenset(_exception(entry) for entry in entries)


def _check_spelling(url: str) -> None:
    if len(url) > MAX_URL_CHARS:
        raise AddressForbidden(f"the URL has {len(url)} characters, {MAX_URL_CHARS} are allowed")
    if any(char <= " " or char == "\x7f" or char == "\\" for char in url):
        raise AddressForbidden("the URL holds white space, a control character or a backslash")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in _DEFAULT_PORTS:
        raise AddressForbidden("only http and https URLs are allowed")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        raise AddressForbidden("a user name or password in a URL is not allowed")
    if not _AUTHORITY.fullmatch(authority):
        raise AddressForbidden("the host or port of the URL can't be read")


def _check_host(host: str) -> None:
    if _literal_address(host) is not None:
        return
    if _NUMBER_LABEL.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise AddressForbidden("an IPv4 address must be written as four plain decimal numbers")
    if not _HOST_NAME.fullmatch(host):
        raise AddressForbidden("the host of the URL is not a host name")


def _literal_address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise AddressForbidden("the name service gave something that is not an address") from error


def _rewrite(target: Target, loopback_means: str | None) -> Target:
    if loopback_means is None:
        return target
    literal = _literal_address(target.host)
    is_loopback = target.host == "localhost" or (literal is not None and literal.is_loopback)
    if not is_loopback:
        return target
    return Target(scheme=target.scheme, host=loopback_means.lower(), port=target.port, path=target.path)


def _exception(entry: str) -> tuple[str, int]:
    """The pair of one entry; a URL, a network or a wildcard is none: it would match nothing, in silence."""
    host, separator, port = entry.rpartition(":")
    has_port = bool(separator) and port.isascii() and port.isdigit() and 0 < int(port) < 65536
    name = host.strip("[]").lower()
    if not has_port or not (_HOST_NAME.fullmatch(name) or _literal_address(name)):
        raise ValueError(f"expected host:port, got {entry!r}")
    return name, int(port)
