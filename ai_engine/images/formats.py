"""Which picture format a file's first bytes announce. Needs no decoder."""

from __future__ import annotations

from dataclasses import dataclass

NO_PICTURE = "The file is not a PNG, JPEG or WebP picture; send one of these, or AVIF."

MAGIC_BYTES = 12
"""Of a file's beginning, which tell what it is."""
_OTHER_MAGIC = {
    "a GIF": b"GIF8",
    "a BMP picture": b"BM",
    "a TIFF picture": b"II*\0",
    "a TIFF picture in big-endian order": b"MM\0*",
    "a PDF document": b"%PDF",
    "a JPEG XL picture": b"\xff\x0a",
    "a JPEG XL picture in a container": b"\0\0\0\x0cJXL ",
    "a JPEG 2000 picture": b"\0\0\0\x0cjP  ",
    "a Photoshop document": b"8BPS",
    "a ZIP archive": b"PK\x03\x04",
}
_MAGIC = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "WEBP": b"RIFF"}


def picture_format(data: bytes) -> str | None:
    """`PNG`, `JPEG`, `WEBP` or `AVIF`, by the first bytes alone; None for anything else."""
    for name, magic in _MAGIC.items():
        if data.startswith(magic) and (name != "WEBP" or data[8:12] == b"WEBP"):
            return name
    return "AVIF" if data[4:12] in (b"ftypavif", b"ftypavis") else None


def refusal(data: bytes) -> str:
    """The sentence for a file of another format: what it is, where that is known, and what to send instead."""
    for name, magic in _OTHER_MAGIC.items():
        if data.startswith(magic):
            return f"The file is {name}. {NO_PICTURE}"
    if data[4:8] == b"ftyp":
        is_heic = data[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
        return f"The file is {'a HEIC picture' if is_heic else 'a video'}. {NO_PICTURE}"
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return f"The file is an HTML page. {NO_PICTURE}"
    return f"The file is an SVG drawing. {NO_PICTURE}" if b"<svg" in start else NO_PICTURE


@dataclass(frozen=True)
class DownloadLimits:
    """How much of a picture is taken, and for how long it is waited for."""

    max_bytes: int = 20_000_000
    timeout_s: float = 30.0


def over_limit(limits: DownloadLimits, what: str = "picture") -> str:
    """The sentence for a picture of more bytes than `limits` lets through."""
    return f"The {what} has more than {limits.max_bytes / 1e6:g} MB."
