"""Which picture format a file's first bytes announce, and what of a file reaches the decoder. Needs no decoder."""

from __future__ import annotations

from dataclasses import dataclass, field

NO_PICTURE = "The file is not a PNG, JPEG or WebP picture; send one of these, or AVIF."

MAGIC_BYTES = 1024
"""How much of a file's beginning says what it is."""
MAX_BRANDS = 64
"""So many compatible brands are read of the first box of a HEIF file."""
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
    """`PNG`, `JPEG`, `WEBP` or `AVIF`, by the first bytes or brands alone; None for anything else."""
    for name, magic in _MAGIC.items():
        if data.startswith(magic) and (name != "WEBP" or data[8:12] == b"WEBP"):
            return name
    brands = _brands(data)
    is_avif = brands[:1] in ([b"avif"], [b"avis"]) or (
        brands[:1] in ([b"mif1"], [b"msf1"]) and not {b"avif", b"avis"}.isdisjoint(brands)
    )
    return "AVIF" if is_avif else None


def _brands(data: bytes) -> list[bytes]:
    """Major brand and compatible brands of an ISO media file (ISO/IEC 14496-12, 4.3); none of other files."""
    if data[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(data[:4], "big"), len(data), 16 + 4 * MAX_BRANDS)
    return [data[8:12], *(data[place : place + 4] for place in range(16, end - 3, 4))]


def _media(brands: list[bytes]) -> str:
    """What an ISO media file of these brands is."""
    if not {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}.isdisjoint(brands):
        return "a HEIC picture"
    return "a HEIF picture" if brands[0] in (b"mif1", b"msf1") else "a video"


def refusal(data: bytes) -> str:
    """The sentence for a file of another format: what it is, where that is known, and what to send instead."""
    for name, magic in _OTHER_MAGIC.items():
        if data.startswith(magic):
            return f"The file is {name}. {NO_PICTURE}"
    if brands := _brands(data):
        return f"The file is {_media(brands)}. {NO_PICTURE}"
    start = data[:MAGIC_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
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


@dataclass(frozen=True)
class Still:
    """A file of one `frame_px` (width, height), which lies at `offset_px` (left, top) in a `canvas_px`.

    `is_cut_short`: the end of the file is missing, and was closed so that a decoder comes to its end.
    """

    data: bytes = field(repr=False)
    canvas_px: tuple[int, int]
    offset_px: tuple[int, int]
    frame_px: tuple[int, int]
    is_cut_short: bool = False

    @property
    def fills_canvas(self) -> bool:
        """True when the frame is the whole picture."""
        return self.frame_px == self.canvas_px
