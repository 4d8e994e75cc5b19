"""The chunks of a PNG that its pixels need. Decodes nothing.

Sources: PNG third edition (W3C, 2025): 5 (chunk layout), 11.3.1.1 (tRNS), 11.3.2 to 11.3.4 (acTL, fcTL, fdAT).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from ai_engine.images.formats import Still

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TRNS_BYTES = {0: 2, 2: 6}
"""Length of tRNS by colour type: one grey sample, one RGB triple of 16 bits. A palette has up to 256."""


def pixels_only(data: bytes) -> Still:
    """The picture that is shown first: IHDR, PLTE, tRNS, eXIf and IDAT, or the first frame of an animation.

    Raises ValueError if there is no header.
    """
    chunks = list(_chunks(data))
    header = next((body for name, body, _ in chunks if name == b"IHDR"), b"")
    if len(header) != 13:
        raise ValueError("no IHDR")
    canvas = struct.unpack(">II", header[:8])
    frame, frame_data = _first_frame(chunks)
    image_data = frame_data or b"".join(body for name, body, _ in chunks if name == b"IDAT")
    width, height, left, top = frame if frame_data else (*canvas, 0, 0)
    is_cut_short = not frame_data and not any(name in (b"IEND", b"fcTL") for name, _, _ in chunks)
    parts = [
        _chunk(b"IHDR", struct.pack(">II", width, height) + header[8:]),
        *_beside_pixels(chunks, header),
        _chunk(b"IDAT", image_data),
        b"" if is_cut_short else _chunk(b"IEND", b""),
    ]
    return Still(SIGNATURE + b"".join(parts), canvas, (left, top), (width, height))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Name, body and whether the CRC is right, up to IEND or to the end of a file that is cut short."""
    place = len(SIGNATURE)
    view = memoryview(data)
    while place + 8 <= len(data):
        length = int.from_bytes(view[place : place + 4])
        name = bytes(view[place + 4 : place + 8])
        body = bytes(view[place + 8 : place + 8 + length])
        checksum = view[place + 8 + length : place + 12 + length]
        if name in (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"acTL", b"fcTL", b"fdAT", b"IEND"):
            is_sound = int.from_bytes(checksum) == zlib.crc32(body, zlib.crc32(name))
            yield name, body, is_sound
        if name == b"IEND":
            return
        place += 12 + length


def _beside_pixels(chunks: list[tuple[bytes, bytes, bool]], header: bytes) -> Iterator[bytes]:
    """The first sound PLTE, tRNS and eXIf, in this order."""
    for wanted in (b"PLTE", b"tRNS", b"eXIf"):
        for name, body, is_sound in chunks:
            if name == wanted and (is_sound or name == b"PLTE") and _is_usable(name, body, header[9]):
                yield _chunk(name, body)
                break


def _is_usable(name: bytes, body: bytes, colour_type: int) -> bool:
    if name != b"tRNS":
        return len(body) > 0
    if colour_type == 3:
        return 0 < len(body) <= 256
    return len(body) == _TRNS_BYTES.get(colour_type)


def _first_frame(chunks: list[tuple[bytes, bytes, bool]]) -> tuple[tuple[int, int, int, int], bytes]:
    """Width, height, left, top in px and the data of the first frame, where IDAT is no frame; else no data."""
    names = [name for name, _, _ in chunks]
    controls = [place for place, name in enumerate(names) if name == b"fcTL"]
    starts = [place for place, name in enumerate(names) if name == b"IDAT"]
    is_hidden = b"acTL" in names and controls and starts and controls[0] > starts[0]
    if not is_hidden or len(chunks[controls[0]][1]) < 20:
        return (0, 0, 0, 0), b""
    end = controls[1] if len(controls) > 1 else len(chunks)
    frame_data = b"".join(body[4:] for name, body, _ in chunks[controls[0] : end] if name == b"fdAT")
    width, height, left, top = struct.unpack(">4I", chunks[controls[0]][1][4:20])
    return (width, height, left, top), frame_data


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))
