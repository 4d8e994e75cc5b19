"""The chunks of a PNG that its pixels need, and the profile of its colours. Decodes nothing.

Sources: PNG third edition (W3C, 2025): 5 (chunk layout), 4.3 (precedence of
colour chunks), 11.3.1.1 (tRNS), 11.3.2 to 11.3.4 (acTL, fcTL, fdAT).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ai_engine.images.colour.code_points import profile_of_cicp, profile_of_gamma
from ai_engine.images.colour.icc_profile import unpack, usable
from ai_engine.images.formats import MAX_MISSING_SHARE, Still, exif_orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TRNS_BYTES = {0: 2, 2: 6}
"""Length of tRNS by colour type: one grey sample, one RGB triple of 16 bits. A palette has up to 256."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PALETTE = 3
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""First column and row and the steps to the next, of the passes of an interlaced picture."""
_PIECE_BYTES, _MAX_FOUND_BYTES = 1 << 8, 1 << 16
"""Packed bytes that are unpacked at once, for those are lost where one is damaged; and how many they may become."""
_ZLIB_HEADER_BYTES = 2
_FCTL_BYTES, _ACTL_BYTES = 26, 8

_COLOUR_CHUNKS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"acTL", b"fcTL", b"fdAT", b"IEND", *_COLOUR_CHUNKS}
_GREY = (0, 4)
_INTENTS = (b"\0", b"\1", b"\2", b"\3")
"""What an sRGB chunk may hold."""

Chunk = tuple[bytes, bytes, bool]
"""Name, body and whether its checksum is right."""


def pixels_only(data: bytes) -> Still:
    """The picture that is shown first: IHDR, PLTE, tRNS and IDAT, or the first frame of an animation.

    Raises ValueError if there is no header.
    """
    chunks = list(_chunks(data))
    header = next((body for name, body, _ in chunks if name == b"IHDR"), b"")
    if len(header) != 13:
        raise ValueError("no IHDR")
    canvas = struct.unpack(">II", header[:8])
    begin = next((place for place, chunk in enumerate(chunks) if chunk[0] == b"IDAT"), len(chunks))
    before, after = chunks[:begin], chunks[begin:]
    frame, frame_data = _first_frame(before, after, canvas)
    image_data = frame_data or b"".join(body for name, body, _ in after if name == b"IDAT")
    width, height, left, top = frame if frame_data else (*canvas, 0, 0)
    is_cut_short = not frame_data and not any(name in (b"IEND", b"fcTL") for name, _, _ in after)
    parts = [
        _chunk(b"IHDR", struct.pack(">II", width, height) + header[8:]),
        *_colours(before, depth=header[8], colour_type=header[9]),
        _chunk(b"IDAT", image_data),
        b"" if is_cut_short else _chunk(b"IEND", b""),
    ]
    still = SIGNATURE + b"".join(parts)
    exif = next((body for name, body, is_sound in before if name == b"eXIf" and is_sound), b"")
    profile = _profile(before, colour_type=header[9])
    return Still(still, canvas, (left, top), (width, height), is_cut_short, exif_orientation(exif), profile)


def complete(data: bytes) -> bytes:
    """A file of `pixels_only` whose packed rows are damaged or cut short, with those that it has, packed anew.

    Rows that are missing are clear, or where the picture has no alpha like the last that is there.

    Raises ValueError if more than `MAX_MISSING_SHARE` of the rows are missing, or any of an interlaced picture.
    """
    header = _Header(*struct.unpack_from(">IIBB2xB", data, 16))
    begin = data.index(b"IDAT", 33) + 4
    end = begin + int.from_bytes(data[begin - 8 : begin - 4])
    packer = zlib.compressobj(1)
    packed, num_missing = [], header.num_bytes
    for piece in _unpack(memoryview(data)[begin:end], num_missing):
        packed.append(packer.compress(piece))
        num_missing -= len(piece)
    num_rows, num_bytes = divmod(num_missing, header.row_bytes)
    if num_missing > (0 if header.is_interlaced else MAX_MISSING_SHARE * header.num_bytes):
        raise ValueError(f"{num_rows} of {header.height} rows are missing")
    filter_type = b"\0" if header.colour_type in (4, 6) else b"\2"
    packed.append(packer.compress(bytes(num_bytes) + num_rows * (filter_type + bytes(header.row_bytes - 1))))
    packed.append(packer.flush())
    return data[: begin - 8] + _chunk(b"IDAT", b"".join(packed)) + _chunk(b"IEND", b"")


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    depth: int
    colour_type: int
    is_interlaced: int

    @property
    def row_bytes(self) -> int:
        """Of a whole row, its filter type with it."""
        return self._row_bytes(self.width)

    @property
    def num_bytes(self) -> int:
        """Of all rows, or of those of the seven passes (PNG 8.1)."""
        if not self.is_interlaced:
            return self.row_bytes * self.height
        sizes = [(-(-(self.width - x) // dx), -(-(self.height - y) // dy)) for x, y, dx, dy in _PASSES]
        return sum(self._row_bytes(width) * height for width, height in sizes if width > 0 and height > 0)

    def _row_bytes(self, width: int) -> int:
        return 1 + (width * self.depth * _CHANNELS.get(self.colour_type, 1) + 7) // 8


def _unpack(packed: memoryview, max_bytes: int) -> Iterator[bytes]:
    """The first `max_bytes` that a zlib stream holds, in pieces, up to where it is damaged; no checksum is read."""
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    for place in range(_ZLIB_HEADER_BYTES, len(packed), _PIECE_BYTES):
        piece = bytes(packed[place : place + _PIECE_BYTES])
        while piece and max_bytes:
            try:
                found = unpacker.decompress(piece, min(max_bytes, _MAX_FOUND_BYTES))
            except zlib.error:
                return
            max_bytes -= len(found)
            yield found
            piece = unpacker.unconsumed_tail


def _chunks(data: bytes) -> Iterator[Chunk]:
    """Name, body and whether the CRC is right, up to IEND or to the end of a file that is cut short."""
    place = len(SIGNATURE)
    view = memoryview(data)
    while place + 8 <= len(data):
        length = int.from_bytes(view[place : place + 4])
        name = bytes(view[place + 4 : place + 8])
        body = bytes(view[place + 8 : place + 8 + length])
        checksum = view[place + 8 + length : place + 12 + length]
        if name in _KEPT:
            is_sound = int.from_bytes(checksum) == zlib.crc32(body, zlib.crc32(name))
            yield name, body, is_sound
        if name == b"IEND":
            return
        place += 12 + length


def _colours(before: list[Chunk], *, depth: int, colour_type: int) -> Iterator[bytes]:
    """The palette, and the transparency if it is sound and, as decoders want it, behind the palette."""
    names = [name for name, _, _ in before]
    begin = 0
    if colour_type == _PALETTE and b"PLTE" in names:
        begin = names.index(b"PLTE")
        yield _chunk(b"PLTE", _full_palette(before[begin][1], 2 ** min(depth, 8)))
    for name, body, is_sound in before[begin:]:
        if name == b"tRNS" and is_sound and _is_usable(body, colour_type):
            yield _chunk(name, body if colour_type == _PALETTE else _in_range(body, depth))
            return


def _profile(before: list[Chunk], *, colour_type: int) -> bytes:
    """Of the first colour chunk that makes sense, in the order of PNG 4.3; empty for sRGB, or where none does."""
    found = {name: body for name, body, is_sound in reversed(before) if name in _COLOUR_CHUNKS and is_sound}
    order = [name for name, _, _ in before]
    is_late = b"PLTE" in order and b"cICP" in order[order.index(b"PLTE") :]
    of_code_points = None if is_late else profile_of_cicp(found.get(b"cICP", b""))
    if of_code_points:
        return of_code_points
    name, _, packed = found.get(b"iCCP", b"").partition(b"\0")
    is_named = bool(name) and packed[:1] == b"\0"
    num_channels = 1 if colour_type in _GREY else 3
    embedded = usable(unpack(packed[1:]), num_channels=num_channels) if is_named else b""
    if embedded or found.get(b"sRGB") in _INTENTS:
        return embedded
    return profile_of_gamma(found.get(b"gAMA", b""), found.get(b"cHRM", b"")) or b""


def _in_range(samples: bytes, depth: int) -> bytes:
    """Samples of 16 bits of which the lower `depth` count (PNG 11.3.1.1)."""
    values = struct.unpack(f">{len(samples) // 2}H", samples)
    return struct.pack(f">{len(values)}H", *(value & (1 << depth) - 1 for value in values))


def _full_palette(body: bytes, num_colours: int) -> bytes:
    """The palette with black, as browsers show it, for the indices that it lacks."""
    return body[: len(body) // 3 * 3][: 3 * num_colours].ljust(3 * num_colours, b"\0")


def _is_usable(transparency: bytes, colour_type: int) -> bool:
    if colour_type == _PALETTE:
        return 0 < len(transparency) <= 256
    return len(transparency) == _TRNS_BYTES.get(colour_type)


def _first_frame(
    before: list[Chunk], after: list[Chunk], canvas: tuple[int, int]
) -> tuple[tuple[int, int, int, int], bytes]:
    """Width, height, left, top in px and the data of the first frame, where IDAT is no frame; else no data."""
    counts = [body for name, body, is_sound in before if name == b"acTL" and is_sound]
    controls = [place for place, chunk in enumerate(after) if chunk[0] == b"fcTL"]
    is_first = any(name == b"fcTL" for name, _, _ in before)
    is_animated = bool(counts) and len(counts[0]) == _ACTL_BYTES and counts[0][:4] != bytes(4)
    if is_first or not is_animated or not controls or len(after[controls[0]][1]) != _FCTL_BYTES:
        return (0, 0, 0, 0), b""
    end = controls[1] if len(controls) > 1 else len(after)
    width, height, left, top = struct.unpack(">4I", after[controls[0]][1][4:20])
    if left + width > canvas[0] or top + height > canvas[1]:
        return (0, 0, 0, 0), b""
    return (width, height, left, top), b"".join(
        body[4:] for name, body, _ in after[controls[0] : end] if name == b"fdAT"
    )


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))
