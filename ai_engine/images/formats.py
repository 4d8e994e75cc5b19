"""Which picture format a file's first bytes announce, and what of a file reaches the decoder. Needs no decoder."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

NO_PICTURE = "The file is not a PNG, JPEG or WebP picture; send one of these, or AVIF."

MAGIC_BYTES = 1024
"""How much of a file's beginning says what it is."""
MAX_BRAND_BYTES = 16 + 4 * 64
"""So much of the first box of a HEIF file is read: 64 compatible brands."""
MAX_MISSING_SHARE = 0.1
"""Of the height of a PNG or JPEG, which may be missing at its end; browsers show such a picture."""
_OTHER_MAGIC = {
    "a GIF": (b"GIF8",),
    "a BMP picture": (b"BM",),
    "a TIFF picture": (b"II*\0", b"II+\0"),
    "a TIFF picture in big-endian order": (b"MM\0*", b"MM\0+"),
    "a Windows icon": (b"\0\0\1\0",),
    "a PDF document": (b"%PDF",),
    "a PostScript document": (b"%!PS",),
    "a JPEG XL picture": (b"\xff\x0a",),
    "a JPEG XL picture in a container": (b"\0\0\0\x0cJXL ",),
    "a JPEG 2000 picture": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    "a JPEG XR picture": (b"II\xbc",),
    "an OpenEXR picture": (b"v/1\x01",),
    "a Radiance HDR picture": (b"#?RADIANCE", b"#?RGBE"),
    "a Photoshop document": (b"8BPS",),
    "a DDS texture": (b"DDS ",),
    "a QOI picture": (b"qoif",),
    "a PNM picture": tuple(b"P%d%c" % (kind, blank) for kind in range(1, 8) for blank in b" \t\r\n"),
    "a glTF model": (b"glTF",),
    "a video": (b"\x1a\x45\xdf\xa3",),
    "an audio file": (b"ID3", b"OggS", b"fLaC"),
    "a ZIP archive": (b"PK\x03\x04",),
    "a packed file": (b"\x1f\x8b\x08", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"),
}
_RIFF_FORMS = {b"AVI ": "a video", b"WAVE": "an audio file"}
_HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<meta", b"<script")
_COMMENT = re.compile(rb"<!--.*?-->\s*", re.DOTALL)
_ORIENTATION, _SHORT = 0x0112, 3
_MAGIC = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "WEBP": b"RIFF"}


def picture_format(data: bytes) -> str | None:
    """`PNG`, `JPEG`, `WEBP` or `AVIF`, by the first bytes or brands alone; None for anything else."""
    for name, magic in _MAGIC.items():
        if data.startswith(magic) and (name != "WEBP" or data[8:12] == b"WEBP"):
            return name
    return None if {b"avif", b"avis"}.isdisjoint(_brands(data)) else "AVIF"


def _brands(data: bytes) -> list[bytes]:
    """Major brand and compatible brands of an ISO media file (ISO/IEC 14496-12, 4.3); none of other files."""
    if data[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(data[:4], "big"), len(data), MAX_BRAND_BYTES)
    return [data[8:12], *(data[place : place + 4] for place in range(16, end - 3, 4))]


def refusal(data: bytes) -> str:
    """The sentence for a file of another format: what it is, where that is known, and what to send instead."""
    what = _media(_brands(data)) or _other_format(data) or _document(data)
    return f"The file is {what}. {NO_PICTURE}" if what else NO_PICTURE


def _media(brands: list[bytes]) -> str:
    """What an ISO media file of these brands is; nothing for no brands."""
    if not {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}.isdisjoint(brands):
        return "a HEIC picture"
    if not {b"mif1", b"msf1", b"avci"}.isdisjoint(brands):
        return "a HEIF picture"
    if b"crx " in brands:
        return "a camera's raw picture"
    return "a video" if brands else ""


def _other_format(data: bytes) -> str:
    if data.startswith(b"RIFF"):
        return _RIFF_FORMS.get(data[8:12], "")
    found = (what for what, magics in _OTHER_MAGIC.items() if data.startswith(magics))
    return "empty" if not data else next(found, "")


def _document(data: bytes) -> str:
    """What a file of text is: pages and error documents of servers come in place of pictures."""
    start = data[:MAGIC_BYTES]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        start = start.decode("utf-16", "ignore").encode()
    start = _COMMENT.sub(b"", start.lstrip(b"\xef\xbb\xbf \t\r\n").lower())
    if start.startswith(_HTML_STARTS):
        return "an HTML page"
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<?xml", b"<error")):
        return "an XML document"
    if start.startswith(b"data:"):
        return "the text of a data URL"
    is_text = bool(start) and not any(byte < 32 and byte not in b"\t\r\n\f\x1b" for byte in start)
    return ("a JSON document" if start.startswith((b"{", b"[")) else "text") if is_text else ""


def exif_orientation(tiff: bytes) -> int:
    """The orientation 1..8 that the first directory of an EXIF block names; 1 where none can be read.

    Source: Exif 2.3, 4.5.2 and 4.6.4 A (TIFF header, tag 0x0112, one SHORT).
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        (start,) = struct.unpack_from(f"{order}4xI", tiff)
        (num_entries,) = struct.unpack_from(f"{order}H", tiff, start)
        for place in range(start + 2, start + 2 + 12 * num_entries, 12):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, place)
            if tag == _ORIENTATION and (kind, count) == (_SHORT, 1) and 1 <= value <= 8:
                return int(value)
    except struct.error:
        pass
    return 1


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

    `orientation` is EXIF's, 1 for upright. `is_cut_short`: the end of the file is missing. `profile`: the ICC profile
    of its colours, empty for sRGB.
    """

    data: bytes = field(repr=False)
    canvas_px: tuple[int, int]
    offset_px: tuple[int, int]
    frame_px: tuple[int, int]
    is_cut_short: bool = False
    orientation: int = 1
    profile: bytes = field(default=b"", repr=False)

    @property
    def fills_canvas(self) -> bool:
        """True when the frame is the whole picture."""
        return self.frame_px == self.canvas_px and self.offset_px == (0, 0)
