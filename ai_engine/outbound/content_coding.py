"""Undoes the content codings of an answer's body (RFC 9110 8.4.1), to a limit of bytes. Knows no connections."""

from __future__ import annotations

import zlib

from ai_engine.outbound.deadline import TransferFailed

MAX_CODINGS = 3
MAX_MEMBERS = 64
"""Of one gzip body; each is a copy of the rest."""
_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""What zlib calls the codings that are undone."""
_NOT_UNDONE = frozenset({"br", "zstd", "compress", "x-compress", "dcb", "dcz"})
_CODINGS = _NOT_UNDONE.union(_WINDOW_BITS)
_RAW_DEFLATE_BITS = -15
_GZIP_MAGIC = b"\x1f\x8b"


class TransferTooLarge(Exception):
    """The body is larger than was asked for; the rest of it was not read."""


def without_codings(body: bytes, header: str, max_bytes: int) -> bytes:
    """The body with the codings that `Content-Encoding` lists undone, the last one first.

    As in browsers, a word that is no coding (none, binary) means nothing, and deflate may lack its zlib header.

    Raises:
        TransferTooLarge: it unpacks to more than `max_bytes`.
        TransferFailed: a coding is one that is not undone, there are too many, or the body is not in it.
    """
    stripped = (part.strip() for part in header.lower().split(","))
    names = [name for name in stripped if name in _CODINGS]
    if len(names) > MAX_CODINGS:
        raise TransferFailed(f"the body has more than {MAX_CODINGS} content codings", is_retryable=False)
    for name in reversed(names):
        body = _undone(body, name, max_bytes)
    return body


def _undone(body: bytes, name: str, max_bytes: int) -> bytes:
    if name in _NOT_UNDONE:
        raise TransferFailed(
            f"the body has the content coding {name}; only gzip and deflate are undone", is_retryable=False
        )
    try:
        return _unpack(body, name, _WINDOW_BITS[name], max_bytes)
    except zlib.error as error:
        if name == "deflate":
            return _raw(body, max_bytes)
        raise TransferFailed(f"the body is not the {name} that it announces", is_retryable=True) from error


def _raw(body: bytes, max_bytes: int) -> bytes:
    try:
        return _unpack(body, "deflate", _RAW_DEFLATE_BITS, max_bytes)
    except zlib.error as error:
        raise TransferFailed("the body is not the deflate that it announces", is_retryable=True) from error


def _unpack(body: bytes, name: str, window_bits: int, max_bytes: int) -> bytes:
    """One stream, or of gzip one member after another (RFC 1952 2.2); what lies behind is dropped."""
    parts: list[bytes] = []
    num_left = max_bytes
    while not parts or (name != "deflate" and body.startswith(_GZIP_MAGIC) and len(parts) < MAX_MEMBERS):
        unpacker = zlib.decompressobj(window_bits)
        parts.append(unpacker.decompress(body, num_left + 1))
        num_left -= len(parts[-1])
        if num_left < 0:
            raise TransferTooLarge(f"more than {max_bytes} bytes after unpacking {name}")
        if not unpacker.eof:
            raise TransferFailed(f"the {name} body is cut short", is_retryable=True)
        body = unpacker.unused_data
    return b"".join(parts)
