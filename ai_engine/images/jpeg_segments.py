"""The segments of a JPEG that its pixels need, their profile, and a limit on its scans. Decodes nothing.

Sources: ITU-T T.81 (1992) annex B (markers, segments); T.871 (JFIF); Exif 2.3 4.5.4 (APP1); Adobe TN 5116 (APP14);
ICC.1:2001-04 B.4 (APP2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ai_engine.images.colour.icc_profile import assemble, usable
from ai_engine.images.formats import Still, exif_orientation

MAX_SCANS = 100
MAX_SEGMENTS = 1000
"""Of those that are kept. Files of cameras and editors have about 10 scans and 30 segments."""
MAX_SCANNED_PIXELS = 1_100_000_000
"""Pixels times scans: a progressive decoder visits every coefficient in every scan. 64 million in 17 scans."""

_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_SOI, _EOI, _SOS, _COM, _APP1, _APP2 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE1, 0xE2
_SOUND_JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
_ICC = b"ICC_PROFILE\0"
_MIN_JFIF_BYTES, _ADOBE_BYTES = 14, 12
"""Of what follows the length; decoders take no notice of shorter ones."""


class TooManyScans(ValueError):
    """Decoding would cost far more than the picture has pixels."""


def pixels_only(data: bytes) -> Still:
    """The JPEG without comments and application segments, but for what JFIF and Adobe say about its colours.

    The first EXIF before the pixels gives the orientation. A file that is cut short is closed.

    Raises:
        TooManyScans: more scans or segments than `MAX_SCANS`, `MAX_SEGMENTS` or `MAX_SCANNED_PIXELS` allow.
        ValueError: there is no frame.
    """
    parts, frame, exif, profile_pieces, num_scans, is_cut_short = [b"\xff\xd8"], b"", b"", [], 0, True
    for marker, segment in _segments(data):
        if marker == _EOI:
            is_cut_short = False
            break
        frame = frame or (segment if marker in _START_OF_FRAME else b"")
        num_scans += marker == _SOS
        if marker == _APP1 and not num_scans and segment[4:9] == b"Exif\0":
            exif = exif or segment[10:]
        if marker == _APP2 and not num_scans and segment[4:16] == _ICC:
            profile_pieces.append(segment[16:])
        parts += _needed_segments(marker, segment)
        _check_cost(_size(frame), num_scans, len(parts))
    if _size(frame) == (0, 0):
        raise ValueError("no frame")
    profile = usable(assemble(profile_pieces), num_channels=int.from_bytes(frame[9:10]))
    whole, size = b"".join([*parts, b"\xff\xd9"]), _size(frame)
    return Still(whole, size, (0, 0), size, is_cut_short, exif_orientation(exif), profile)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each marker with its segment, a scan with its coded data, up to the end of the picture or of the file."""
    place = 2
    while (place := data.find(b"\xff", place)) >= 0 and place + 1 < len(data):
        marker = data[place + 1]
        if marker in _WITHOUT_LENGTH - {_EOI} or marker in (0x00, 0xFF):
            place += 1 if marker == 0xFF else 2
            continue
        end = place + 2 + max(2, int.from_bytes(data[place + 2 : place + 4]))
        if marker == _SOS:
            end = _end_of_scan(data, end)
        yield marker, data[place:end]
        place = end


def _size(frame: bytes) -> tuple[int, int]:
    """Width and height in px that a start of frame names."""
    return int.from_bytes(frame[7:9]), int.from_bytes(frame[5:7])


def _end_of_scan(data: bytes, begin: int) -> int:
    found = _MARKER_IN_SCAN.search(data, begin)
    return len(data) if found is None else found.start()


def _needed_segments(marker: int, segment: bytes) -> list[bytes]:
    """What of a segment decoding needs: all of it, its colours alone, or nothing."""
    body = segment[4:]
    if marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= _MIN_JFIF_BYTES:
        return [_SOUND_JFIF]
    if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= _ADOBE_BYTES:
        return [b"\xff\xee" + (2 + _ADOBE_BYTES).to_bytes(2) + body[:_ADOBE_BYTES]]
    return [] if marker == _COM or 0xE0 <= marker <= 0xEF else [segment]


def _check_cost(size: tuple[int, int], num_scans: int, num_segments: int) -> None:
    scanned_pixels = size[0] * size[1] * num_scans
    if num_scans > MAX_SCANS or num_segments > MAX_SEGMENTS or scanned_pixels > MAX_SCANNED_PIXELS:
        raise TooManyScans(
            f"{num_scans} scans and {num_segments} segments for {size[0]} x {size[1]} pixels; at most "
            f"{MAX_SCANS}, {MAX_SEGMENTS} and {MAX_SCANNED_PIXELS} pixels times scans are read"
        )
