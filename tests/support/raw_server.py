"""A TCP server of our own on loopback, for answers that no HTTP library would give."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

Handler = Callable[[socket.socket, bytes], None]
"""Gets the connection and the head of the request as received; whatever it sends is the answer."""


@contextmanager
def raw_server(handle: Handler) -> Generator[int]:
    """A server on a free port of 127.0.0.1, one thread per connection; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, handle), daemon=True).start()
        yield listener.getsockname()[1]
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def answering(*answers: bytes) -> Generator[int]:
    """A server that gives the n-th connection the n-th answer, the last one from then on."""
    left = list(answers)

    def handle(connection: socket.socket, head: bytes) -> None:
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    with raw_server(handle) as port:
        yield port


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """One well-formed answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(location: str) -> bytes:
    """An answer that sends the client to `location`."""
    return response(b"", "302 Found", f"Location: {location}")


def _accept(listener: socket.socket, handle: Handler) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection, handle), daemon=True).start()


def _serve(connection: socket.socket, handle: Handler) -> None:
    with connection, suppress(OSError):
        head = b""
        while b"\r\n\r\n" not in head:
            received = connection.recv(65536)
            if not received:
                return
            head += received
        handle(connection, head)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
