from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from ai_engine.images.avif_boxes import MAX_BOXES, TooManyBoxes, largest_px


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def ispe(width: int, height: int) -> bytes:
    return box(b"ispe", struct.pack(">III", 0, width, height))


def properties(*boxes: bytes) -> bytes:
    """A file whose pictures have `boxes` as their properties."""
    return box(b"ftyp", b"avif") + box(b"meta", bytes(4) + box(b"iprp", box(b"ipco", b"".join(boxes))))


def test_a_file_of_another_program_announces_its_size() -> None:
    file = io.BytesIO()
    Image.new("RGB", (70, 41)).save(file, "AVIF")
    assert largest_px(file.getvalue()) == (70, 41)


def test_of_a_grid_and_its_tiles_the_grid_is_the_largest() -> None:
    assert largest_px(properties(ispe(512, 512), ispe(4000, 3000), ispe(100, 900))) == (4000, 3000)


def test_a_film_is_as_large_as_its_track() -> None:
    header = bytes(76) + struct.pack(">II", 640 << 16, 360 << 16)
    assert largest_px(box(b"ftyp", b"avis") + box(b"moov", box(b"trak", box(b"tkhd", header)))) == (640, 360)


def test_a_box_to_the_end_of_the_file_and_one_of_sixty_four_bits_are_read() -> None:
    inside = bytes(4) + box(b"iprp", box(b"ipco", ispe(9, 8)))
    to_the_end = struct.pack(">I", 0) + b"meta" + inside
    wide = struct.pack(">I", 1) + b"meta" + struct.pack(">Q", 16 + len(inside)) + inside
    assert largest_px(to_the_end) == largest_px(wide) == (9, 8)


@pytest.mark.parametrize("length", [7, 4096])
def test_a_box_that_is_longer_than_its_file_or_shorter_than_its_head_is_cut_short(length: int) -> None:
    with pytest.raises(ValueError, match="cut short"):
        largest_px(struct.pack(">I", length) + b"meta" + bytes(16))


def test_a_file_that_announces_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no picture"):
        largest_px(box(b"ftyp", b"avif"))


def test_more_boxes_than_any_picture_has_are_refused() -> None:
    with pytest.raises(TooManyBoxes):
        largest_px(properties(*[box(b"free", b"")] * (MAX_BOXES + 1)))


@pytest.mark.parametrize("tail", [b"junk" * 9, struct.pack(">I", 4000) + b"free"])
def test_bytes_behind_the_last_box_are_no_fault(tail: bytes) -> None:
    assert largest_px(properties(ispe(9, 8)) + tail) == (9, 8)
