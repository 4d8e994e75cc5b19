from __future__ import annotations

import gzip
import io
import socket
import threading
from pathlib import Path

import pytest
from PIL import Image
from support.raw_server import answering, raw_server, redirect, response

from ai_engine.errors import DownloadError, ImageTooLarge, ImageUrlForbidden, JobError, UnreadableImage
from ai_engine.images.download import fetch_image
from ai_engine.images.formats import DownloadLimits
from ai_engine.outbound.addresses import AddressPolicy
from ai_engine.outbound.client import GuardedClient

CASES = Path(__file__).parent / "cases"
LIMITS = DownloadLimits(max_bytes=20_000, timeout_s=60.0)


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(file, kind)
    return file.getvalue()


def fetch(url: str, limits: DownloadLimits = LIMITS) -> bytes:
    return fetch_image(url, http=GuardedClient(AddressPolicy(is_development=True)), limits=limits)


def fetch_from(port: int, limits: DownloadLimits = LIMITS) -> bytes:
    return fetch(f"http://127.0.0.1:{port}/cat", limits)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_comes_back_byte_for_byte_whatever_its_announced_type(kind: str) -> None:
    picture = encoded(kind)
    with answering(response(picture, "200 OK", "Content-Type: text/html")) as port:
        assert fetch_from(port) == picture


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_other_formats_are_no_picture_here(kind: str) -> None:
    with answering(response(encoded(kind))) as port, pytest.raises(UnreadableImage):
        fetch_from(port)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>not found</html>", b"<svg/>", b"RIFF....WAVE", b"\x89PNG", b"%PDF-1.7", b"\x1f\x8b\x08"],
)
def test_what_is_no_picture_is_told_by_its_first_bytes(body: bytes) -> None:
    with answering(response(body)) as port, pytest.raises(UnreadableImage) as caught:
        fetch_from(port)
    assert caught.value.code == "image_invalid"


@pytest.mark.parametrize(
    ("answers", "is_retryable", "words"),
    [
        ([response(b"", "404 Not Found")], False, "404"),
        ([response(b"", "403 Forbidden")], False, "403"),
        ([response(b"", "500 Oops")], True, "500"),
        ([response(b"", "503 Busy")], True, "503"),
        ([redirect("/again")], False, "redirects"),
        ([b""], True, "HTTP"),
    ],
)
def test_a_server_that_gives_no_picture_is_a_download_failure(
    answers: list[bytes], is_retryable: bool, words: str
) -> None:
    with answering(*answers) as port, pytest.raises(DownloadError, match=words) as caught:
        fetch_from(port)
    assert (caught.value.code, caught.value.retryable) == ("image_download_failed", is_retryable)


def test_a_server_that_is_not_there_is_a_download_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DownloadError, match="accept"):
        fetch_from(port)


def test_a_slow_download_ends_in_time() -> None:
    is_over = threading.Event()

    def handle(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n\x89PNG\r\n\x1a\n")
        while not is_over.wait(0.02):
            connection.sendall(b"x")

    with raw_server(handle) as port, pytest.raises(DownloadError, match="longer than") as caught:
        fetch_from(port, DownloadLimits(timeout_s=0.3))
    is_over.set()
    assert caught.value.retryable


def test_an_endless_download_ends_at_the_size_limit() -> None:
    def handle(connection: socket.socket, head: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n\x89PNG\r\n\x1a\n")
        while True:
            connection.sendall(bytes(65536))

    with raw_server(handle) as port, pytest.raises(ImageTooLarge, match="more than 0\\.02 MB") as caught:
        fetch_from(port)
    assert (caught.value.code, caught.value.retryable) == ("image_too_large", False)


@pytest.mark.parametrize(
    "url", ["http://192.168.0.1/cat.png", "ftp://example.com/cat.png", "http://u:p@example.com/"]
)
def test_a_forbidden_url_is_refused(url: str) -> None:
    with pytest.raises(ImageUrlForbidden) as caught:
        fetch(url)
    assert (caught.value.code, caught.value.retryable) == ("image_url_forbidden", False)


def test_a_redirect_into_the_private_network_is_refused() -> None:
    with answering(redirect("http://10.0.0.1/cat.png")) as port, pytest.raises(ImageUrlForbidden):
        fetch_from(port)


def test_the_message_holds_nothing_of_the_url_or_of_the_other_side() -> None:
    with answering(response(b"remote words", "500 words")) as port, pytest.raises(JobError) as caught:
        fetch(f"http://127.0.0.1:{port}/secret-token")
    assert not any(word in caught.value.detail for word in ("secret", "127.0.0.1", "words"))


def test_a_packed_picture_is_unpacked() -> None:
    picture = encoded("PNG")
    with answering(response(gzip.compress(picture), "200 OK", "Content-Encoding: gzip")) as port:
        assert fetch_from(port) == picture


def test_a_packed_bomb_ends_at_the_size_limit() -> None:
    bomb = gzip.compress(bytes(5_000_000))
    answer = response(bomb, "200 OK", "Content-Encoding: gzip")
    with answering(answer) as port, pytest.raises(ImageTooLarge):
        fetch_from(port)


def test_another_content_coding_is_named() -> None:
    answer = response(b"x", "200 OK", "Content-Encoding: br")
    with answering(answer) as port, pytest.raises(DownloadError, match="content coding"):
        fetch_from(port)


def test_a_transformed_answer_is_a_success() -> None:
    with answering(response(encoded("PNG"), "203 Transformed")) as port:
        assert fetch_from(port) == encoded("PNG")


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/caf\u00e9.png", b"/caf%C3%A9.png"),
        (" /a b.png ", b"/a%20b.png"),
        ("\\a\\b.png?c=\\d", b"/a/b.png?c=%5Cd"),
    ],
)
def test_a_location_is_read_as_browsers_read_it(location: str, path: bytes) -> None:
    heads: list[bytes] = []

    def handle(connection: socket.socket, head: bytes) -> None:
        heads.append(head)
        connection.sendall(redirect(location) if len(heads) == 1 else response(encoded("PNG")))

    with raw_server(handle) as port:
        fetch_from(port)
    assert heads[1].split()[1] == path
    assert b"Accept: image/png, image/webp" in heads[1]


def test_a_forbidden_redirect_is_told_as_the_servers_own() -> None:
    with (
        answering(redirect("http://10.0.0.1/cat.png")) as port,
        pytest.raises(ImageUrlForbidden, match="server redirects"),
    ):
        fetch_from(port)


def test_a_page_is_named_as_one() -> None:
    with (
        answering(response(b"<!doctype html><p>no")) as port,
        pytest.raises(UnreadableImage, match="HTML page"),
    ):
        fetch_from(port)


def test_answers_of_public_reports_are_read_as_a_browser_reads_them() -> None:
    cut_out = (CASES / "cut-clean.png").read_bytes()
    with answering((CASES / "http-gzip.response").read_bytes()) as port:
        assert fetch_from(port) == cut_out
    for name, path in (("utf8", b"/caf%C3%A9.png"), ("space", b"/my%20photo.png")):
        heads: list[bytes] = []
        moved = (CASES / f"http-location-{name}.response").read_bytes()

        def handle(
            connection: socket.socket, head: bytes, seen: list[bytes] = heads, first: bytes = moved
        ) -> None:
            seen.append(head)
            connection.sendall(first if len(seen) == 1 else response(cut_out))

        with raw_server(handle) as port:
            assert fetch_from(port) == cut_out
        assert heads[1].split()[1] == path
