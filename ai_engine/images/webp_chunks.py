"""The chunks of a WebP that its pixels need: a still, or the first frame of an animation. Decodes nothing.

Source: RFC 9649, sections 2.3 to 2.7 (RIFF chunks, VP8X, ANMF, ALPH).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ai_engine.images.colour.icc_profile import usable
from ai_engine.images.formats import Still

_ALPHA_FLAG, _PROFILE_FLAG = 0x10, 0x20
_ANIMATION_FLAG = 0x02
_ANMF_HEADER_BYTES = 16


def pixels_only(data: bytes) -> Still:
    """The bitstream and its alpha alone; a still's profile, while browsers take no notice of an animation's.

    Raises ValueError if there is no bitstream, or it is cut short.
    """
    chunks = dict(reversed([*_chunks(data, 12)]))
    extended = chunks.get(b"VP8X", b"")
    is_animated = len(extended) >= 10 and bool(extended[0] & _ANIMATION_FLAG) and b"ANMF" in chunks
    if not is_animated:
        if extended and not extended[0] & _ALPHA_FLAG:
            chunks.pop(b"ALPH", None)
        has_profile = bool(extended) and bool(extended[0] & _PROFILE_FLAG)
        profile = usable(chunks.get(b"ICCP", b""), num_channels=3) if has_profile else b""
        size = _bitstream_size(chunks)
        return Still(_file(chunks, size), size, (0, 0), size, profile=profile)
    frame = chunks[b"ANMF"]
    left, top = 2 * _uint24(frame, 0), 2 * _uint24(frame, 3)
    parts = dict(reversed([*_chunks(frame, _ANMF_HEADER_BYTES)]))
    size = _bitstream_size(parts)
    canvas = (1 + _uint24(extended, 4), 1 + _uint24(extended, 7))
    return Still(_file(parts, size), canvas, (left, top), size)


def _chunks(data: bytes, place: int) -> Iterator[tuple[bytes, bytes]]:
    while place + 8 <= len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        name, body = data[place : place + 4], data[place + 8 : place + 8 + length]
        if name in (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANMF", b"ICCP"):
            if len(body) < length and name != b"ICCP":
                raise ValueError(f"chunk {name!r} is cut short")
            yield name, body
        place += 8 + length + length % 2
        if name == b"ANMF":
            return


def _bitstream_size(chunks: dict[bytes, bytes]) -> tuple[int, int]:
    """Width and height in px: of VP8 14 bits each after its start code, of VP8L 14 bits each, minus one."""
    if b"VP8 " in chunks:
        width, height = struct.unpack_from("<HH", chunks[b"VP8 "].ljust(10, b"\0"), 6)
        return width & 0x3FFF, height & 0x3FFF
    if b"VP8L" in chunks:
        bits = int.from_bytes(chunks[b"VP8L"][1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise ValueError("no bitstream")


def _file(chunks: dict[bytes, bytes], size: tuple[int, int]) -> bytes:
    if b"VP8 " in chunks and b"ALPH" in chunks:
        sides = (size[0] - 1).to_bytes(3, "little") + (size[1] - 1).to_bytes(3, "little")
        header = _chunk(b"VP8X", bytes([_ALPHA_FLAG, 0, 0, 0]) + sides)
        body = header + _chunk(b"ALPH", chunks[b"ALPH"]) + _chunk(b"VP8 ", chunks[b"VP8 "])
    else:
        name = b"VP8 " if b"VP8 " in chunks else b"VP8L"
        body = _chunk(name, chunks[name])
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _uint24(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 3], "little")
