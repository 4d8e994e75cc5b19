"""Network backend of the HTTP client: SSRF check at the socket, and a deadline on every wait.

A host's addresses are checked where the socket is opened, on the very address that is then connected to, so a name
that changes its answer between check and use gains nothing (DNS rebinding).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import httpcore2

from ai_engine.outbound.addresses import AddressPolicy
from ai_engine.outbound.deadline import Deadline, TransferFailed

CHUNK_BYTES = 65536


class CheckedBackend(httpcore2.NetworkBackend):
    """Opens sockets to checked addresses only."""

    def __init__(
        self,
        policy: AddressPolicy,
        deadline: Deadline,
        *,
        connect_timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._deadline = deadline
        self._connect_timeout_s = connect_timeout_s
        self._clock = clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """A socket connected to one of the host's allowed addresses.

        Raises:
            AddressForbidden: the host has an address that may not be used.
            TransferFailed: no address accepts a connection in time.
        """
        budget = Deadline(min(self._connect_timeout_s, self._deadline.remaining_s()), 0.0, self._clock)
        try:
            addresses = self._policy.addresses(host, port, timeout_s=budget.remaining_s())
        except OSError as error:
            raise TransferFailed("the host's name can't be resolved", is_retryable=True) from error
        return _TimedStream(_first_open(addresses, port, budget), self._deadline)


class _TimedStream(httpcore2.NetworkStream):
    """A connected socket on which every wait ends with the exchange's deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._sock.settimeout(self._deadline.remaining_s())
        try:
            return self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise self._deadline.overdue() from error
        except OSError as error:
            raise httpcore2.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        unsent = memoryview(buffer)
        while unsent:
            # Once per piece: a peer that drains one byte at a time must not renew its time with each.
            self._sock.settimeout(self._deadline.remaining_s())
            try:
                unsent = unsent[self._sock.send(unsent[:CHUNK_BYTES]) :]
            except TimeoutError as error:
                raise self._deadline.overdue() from error
            except OSError as error:
                raise httpcore2.WriteError(str(error)) from error

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        self._sock.settimeout(self._deadline.remaining_s())
        try:
            return _TimedStream(
                ssl_context.wrap_socket(self._sock, server_hostname=server_hostname), self._deadline
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


def _first_open(addresses: list[str], port: int, budget: Deadline) -> socket.socket:
    for num_left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        try:
            sock = socket.create_connection((address, port), budget.remaining_s() / num_left)
        except OSError:
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    raise TransferFailed("the host does not accept a connection", is_retryable=True)
