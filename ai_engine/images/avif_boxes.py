"""The boxes of an AVIF file that name its sizes and its colours, walked before a decoder sees it. Decodes nothing.

Source: ISO/IEC 14496-12 (box structure), ISO/IEC 23008-12 section 6.5.3 (ispe), AVIF specification section 2.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator

from ai_engine.images.colour.code_points import profile_of_nclx
from ai_engine.images.formats import MAX_BRAND_BYTES

MAX_BOXES = 2000
"""Of one file; stills have some dozens, one `ispe` for each tile of a grid and for its alpha."""
_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0}
"""Boxes whose boxes are looked into, and the bytes of version and flags before these."""
_EXIF_ITEM = re.compile(rb"(infe(?:\x02.{7}|\x03.{9}))Exif", re.DOTALL)
"""The entry (ISO/IEC 14496-12, 8.11.6) of an item that holds EXIF."""
_NCLX_BYTES = 11
_TRACK_SIZE_END = 8
"""A track header ends with width and height, 16.16 fixed point."""


class TooManyBoxes(ValueError):
    """The file has more boxes than any picture needs; a decoder's time grows with them."""


def largest_px(data: bytes) -> tuple[int, int]:
    """Width and height of the largest picture that the file announces: grid, tile, alpha or film.

    Raises:
        TooManyBoxes: it has more than `MAX_BOXES`.
        ValueError: it announces none, or a box is cut short.
    """
    sizes = []
    for number, (kind, body) in enumerate(_boxes(memoryview(data), 0)):
        if number >= MAX_BOXES:
            raise TooManyBoxes(f"more than {MAX_BOXES} boxes")
        if kind == b"ispe" and len(body) >= 12:
            sizes.append((_uint32(body, 4), _uint32(body, 8)))
        if kind == b"tkhd" and len(body) >= _TRACK_SIZE_END:
            sizes.append((_uint32(body, len(body) - 8) >> 16, _uint32(body, len(body) - 4) >> 16))
    if not sizes:
        raise ValueError("no picture is announced")
    return max(sizes, key=lambda size: size[0] * size[1])


def profile_of_codes(data: bytes) -> bytes:
    """The ICC profile of the first colour box that holds code points; nothing where it is sRGB, unknown or missing.

    Source: ISO/IEC 14496-12, 12.1.5 (colr).
    """
    for kind, body in itertools.islice(_boxes(memoryview(data), 0), MAX_BOXES):
        if kind == b"colr" and bytes(body[:4]) == b"nclx" and len(body) >= _NCLX_BYTES:
            return profile_of_nclx(*struct.unpack_from(">HH", body, 4)) or b""
    return b""


def without_exif(data: bytes) -> bytes:
    """The file with its EXIF items disowned, which may be damaged and turn nothing, and a major brand of AVIF.

    Rotation and mirror boxes stay. Pillow looks at no other brand than the major one.
    """
    major, is_still = data[8:12], b"avif" in data[8:MAX_BRAND_BYTES]
    brand = b"avif" if is_still and major != b"avis" else b"avis"
    return data[:8] + brand + _EXIF_ITEM.sub(rb"\1free", data[12:])


def _boxes(data: memoryview, depth: int) -> Iterator[tuple[bytes, memoryview]]:
    """Every box and its content, those within containers after their own."""
    place = 0
    while place + 8 <= len(data):
        length, kind, head = _uint32(data, place), bytes(data[place + 4 : place + 8]), 8
        if length == 1:
            length, head = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        if length == 0:
            length = len(data) - place
        if length < head or place + length > len(data):
            if depth == 0 and place > 0:
                return  # Bytes behind the last box, or picture data whose end is missing: the decoder judges.
            raise ValueError(f"box {kind!r} is cut short")
        body = data[place + head : place + length]
        yield kind, body
        if kind in _CONTAINERS and depth < len(_CONTAINERS):
            yield from _boxes(body[_CONTAINERS[kind] :], depth + 1)
        place += length


def _uint32(data: memoryview, place: int) -> int:
    return int.from_bytes(data[place : place + 4], "big")
