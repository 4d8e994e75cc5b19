"""Meshes from URLs: through the guarded client, each failure with a code of its own."""

from __future__ import annotations

import pytest
from support.raw_server import answering, redirect, response

from ai_engine.caller_meshes.download import fetch_mesh
from ai_engine.caller_meshes.limits import MeshLimits
from ai_engine.errors import JobError, MeshDownloadFailed, MeshTooLarge, MeshUrlForbidden
from ai_engine.outbound.addresses import AddressPolicy
from ai_engine.outbound.client import GuardedClient

LIMITS = MeshLimits(max_bytes=1000, timeout_s=5)


def fetch_from(port: int) -> bytes:
    http = GuardedClient(AddressPolicy(is_development=True))
    return fetch_mesh(f"http://127.0.0.1:{port}/part.stl", http=http, limits=LIMITS)


def test_the_bytes_come_whatever_they_are() -> None:
    with answering(response(b"anything", "200 OK", "Content-Type: text/html")) as port:
        assert fetch_from(port) == b"anything"


@pytest.mark.parametrize(
    ("answer", "error", "is_retryable"),
    [
        (response(bytes(1001)), MeshTooLarge, False),
        (response(b"", "404 Not Found"), MeshDownloadFailed, False),
        (response(b"", "503 Busy"), MeshDownloadFailed, True),
        (redirect("http://10.0.0.1/part.stl"), MeshUrlForbidden, False),
    ],
)
def test_each_failure_has_a_code_and_says_whether_another_try_may_help(
    answer: bytes, error: type[JobError], is_retryable: bool
) -> None:
    with answering(answer) as port, pytest.raises(error) as caught:
        fetch_from(port)
    assert (type(caught.value), caught.value.retryable) == (error, is_retryable)


def test_an_address_that_is_not_public_is_never_asked() -> None:
    http = GuardedClient(AddressPolicy(is_development=False))
    with pytest.raises(MeshUrlForbidden):
        fetch_mesh("http://127.0.0.1:9/part.stl", http=http, limits=LIMITS)
