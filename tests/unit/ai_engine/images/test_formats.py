from __future__ import annotations

import struct

import pytest

from ai_engine.images.formats import (
    MAGIC_BYTES,
    NO_PICTURE,
    DownloadLimits,
    exif_orientation,
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


@pytest.mark.parametrize("major", [b"mif1", b"miaf", b"msf1", b"isom"])
def test_a_file_is_avif_by_any_of_its_brands(major: bytes) -> None:
    assert picture_format(b"\0\0\0\x20ftyp" + major + b"\0\0\0\0mif1avif" + bytes(8)) == "AVIF"


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
        (b"<!-- an error -->\n<head><title>404", "an HTML page"),
        (b'<?xml version="1.0"?><svg xmlns="">', "an SVG drawing"),
        ("<?xml version='1.0'?><svg/>".encode("utf-16"), "an SVG drawing"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (b'{"error": "not found"}', "a JSON document"),
        (b"Not found", "text"),
        (b"data:image/png;base64,iVBORw0KGgo", "the text of a data URL"),
        (b"", "empty"),
        (b"\0\0\1\0\1\0 ", "a Windows icon"),
        (b"MM\0+\0\x08", "a TIFF picture in big-endian order"),
        (b"\xff\x0a\0", "a JPEG XL picture"),
        (b"P6\n9 9\n255\n", "a PNM picture"),
        (b"\0\0\0\x18ftypavci\0\0\0\0mif1avci", "a HEIF picture"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a camera's raw picture"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86", "a video"),
        (b"RIFF\0\0\0\0AVI LIST", "a video"),
        (b"\x1f\x8b\x08\0", "a packed file"),
    ],
)
def test_a_refusal_says_what_the_file_is_and_what_to_send(data: bytes, what: str) -> None:
    assert refusal(data) == f"The file is {what}. {NO_PICTURE}"


def test_what_is_not_recognised_is_not_named() -> None:
    assert refusal(b"\0" * 40) == refusal(b"\1\2\3" * 9) == NO_PICTURE


def test_the_limit_is_said_in_megabytes() -> None:
    assert over_limit(DownloadLimits(max_bytes=2_500_000)) == "The picture has more than 2.5 MB."
    assert over_limit(DownloadLimits(), "mask") == "The mask has more than 20 MB."


def exif(order: str, *, tag: int = 0x0112, kind: int = 3, count: int = 1, value: int = 6) -> bytes:
    """An EXIF block of two entries, the second of which is given."""
    mark = b"II" if order == "<" else b"MM"
    entries = struct.pack(f"{order}HHII", 0x010F, 2, 4, 0) + struct.pack(
        f"{order}HHIHH", tag, kind, count, value, 0
    )
    return mark + struct.pack(f"{order}HIH", 42, 8, 2) + entries + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_of_exif_is_read_in_both_byte_orders(order: str, value: int) -> None:
    assert exif_orientation(exif(order, value=value)) == value


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"junk",
        b"II*\0",
        exif("<")[:-12],
        exif("<", value=0),
        exif("<", value=9),
        exif("<", kind=4),
        exif("<", count=2),
        exif("<", tag=0x0113),
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0" + exif("<"),
    ],
)
def test_what_says_no_orientation_leaves_the_picture_as_it_is(block: bytes) -> None:
    assert exif_orientation(block) == 1
