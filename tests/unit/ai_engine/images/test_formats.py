from __future__ import annotations

import pytest

from ai_engine.images.formats import (
    MAGIC_BYTES,
    NO_PICTURE,
    DownloadLimits,
    over_limit,
    picture_format,
    refusal,
)

KNOWN = {
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1",
    "WEBP": b"RIFF\x24\0\0\0WEBPVP8 ",
    "AVIF": b"\0\0\0\x20ftypavif\0\0\0\0",
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_picture_is_known_by_its_first_twelve_bytes(name: str) -> None:
    assert picture_format(KNOWN[name]) == picture_format(KNOWN[name][:MAGIC_BYTES]) == name


@pytest.mark.parametrize("data", [b"", b"RIFF\x24\0\0\0WAVEfmt ", b"\xff\xd8", b"GIF89a", b"<svg/>"])
def test_anything_else_is_no_picture(data: bytes) -> None:
    assert picture_format(data) is None


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"GIF89a" + bytes(8), "a GIF"),
        (b"II*\0" + bytes(8), "a TIFF picture"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video"),
        (b"\xef\xbb\xbf \n<!DOCTYPE html><html>", "an HTML page"),
        (b'<?xml version="1.0"?><svg xmlns="">', "an SVG drawing"),
    ],
)
def test_a_refusal_says_what_the_file_is_and_what_to_send(data: bytes, what: str) -> None:
    assert refusal(data) == f"The file is {what}. {NO_PICTURE}"


def test_what_is_not_recognised_is_not_named() -> None:
    assert refusal(b"\0" * 40) == NO_PICTURE


def test_the_limit_is_said_in_megabytes() -> None:
    assert over_limit(DownloadLimits(max_bytes=2_500_000)) == "The picture has more than 2.5 MB."
    assert over_limit(DownloadLimits(), "mask") == "The mask has more than 20 MB."
