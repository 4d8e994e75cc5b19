from __future__ import annotations

import gzip
import zlib

import pytest

from ai_engine.outbound.content_coding import MAX_MEMBERS, TransferTooLarge, without_codings
from ai_engine.outbound.deadline import TransferFailed

BODY = bytes(range(256)) * 20


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("", BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY)),
        (" GZip ", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY) + b"behind it"),
        ("gzip", gzip.compress(BODY[:99]) + gzip.compress(BODY[99:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", zlib.compress(BODY, wbits=-15)),
        ("deflate, gzip", gzip.compress(zlib.compress(BODY))),
        ("gzip, identity", gzip.compress(BODY)),
        ("none", BODY),
        ("aws-chunked", BODY),
        ("binary,gzip", gzip.compress(BODY)),
    ],
)
def test_codings_are_undone_as_browsers_undo_them(header: str, body: bytes) -> None:
    assert without_codings(body, header, len(BODY)) == BODY


@pytest.mark.parametrize("name", ["br", "zstd", "compress"])
def test_a_coding_that_is_not_undone_is_named(name: str) -> None:
    with pytest.raises(TransferFailed, match=f"content coding {name};"):
        without_codings(b"x", f"gzip, {name.upper()}", 9)


@pytest.mark.parametrize("header", ["gzip", "deflate"])
@pytest.mark.parametrize("body", [b"", b"\x89PNG plain", gzip.compress(BODY)[:-9], zlib.compress(BODY)[:-9]])
def test_a_body_that_is_not_in_its_coding_or_cut_short_is_refused(header: str, body: bytes) -> None:
    with pytest.raises(TransferFailed, match=header):
        without_codings(body, header, len(BODY))


@pytest.mark.parametrize(
    "body",
    [gzip.compress(BODY), gzip.compress(BODY[:9]) * 600, gzip.compress(gzip.compress(bytes(9_000_000)))],
)
def test_no_more_is_unpacked_than_is_allowed(body: bytes) -> None:
    with pytest.raises(TransferTooLarge):
        without_codings(body, "gzip, gzip" if len(body) == 132 else "gzip", 500)


def test_a_body_of_many_members_ends_after_some() -> None:
    assert without_codings(gzip.compress(b"") * 100_000, "gzip", 9) == b""
    assert without_codings(gzip.compress(b"a") * (MAX_MEMBERS + 9), "gzip", 999) == b"a" * MAX_MEMBERS


def test_more_codings_than_any_server_has_are_refused() -> None:
    with pytest.raises(TransferFailed, match="more than 3"):
        without_codings(b"", "gzip," * 4, 9)
