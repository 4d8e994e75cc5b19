from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ai_engine.images.png_chunks import SIGNATURE, pixels_only

PIXELS = np.random.default_rng(0).integers(0, 255, (7, 5, 3), np.uint8)


def chunk(name: bytes, body: bytes, *, is_sound: bool = True) -> bytes:
    checksum = zlib.crc32(name + body) ^ (0 if is_sound else 1)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def png(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def names(data: bytes) -> list[bytes]:
    found, place = [], len(SIGNATURE)
    while place < len(data):
        length = int.from_bytes(data[place : place + 4])
        found.append(data[place + 4 : place + 8])
        place += 12 + length
    return found


def shown(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_comments_times_and_profiles_are_dropped_and_no_pixel_is() -> None:
    about = PngInfo()
    about.add_text("Comment", "x" * 5000)
    still = pixels_only(png(Image.fromarray(PIXELS), pnginfo=about, dpi=(72, 72), icc_profile=b"none"))

    assert names(still.data) == [b"IHDR", b"IDAT", b"IEND"]
    assert np.array_equal(shown(still.data), PIXELS)
    assert (still.canvas_px, still.frame_px, still.fills_canvas) == ((5, 7), (5, 7), True)


def test_a_comment_with_a_wrong_checksum_refuses_nothing() -> None:
    whole = png(Image.fromarray(PIXELS))
    spoilt = whole[:33] + chunk(b"tEXt", b"a\0b", is_sound=False) + whole[33:]

    assert np.array_equal(shown(pixels_only(spoilt).data), PIXELS)


def test_a_palette_and_its_transparency_stay() -> None:
    image = Image.fromarray(PIXELS).quantize(8)
    still = pixels_only(png(image, transparency=3))

    assert names(still.data) == [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"]


@pytest.mark.parametrize("body", [b"", b"\0", bytes(7)])
def test_transparency_of_a_length_that_its_colours_do_not_have_is_dropped(body: bytes) -> None:
    whole = png(Image.fromarray(PIXELS))
    spoilt = whole[:33] + chunk(b"tRNS", body) + whole[33:]

    assert b"tRNS" not in names(pixels_only(spoilt).data)


def test_of_an_animation_with_a_hidden_still_the_first_frame_is_kept() -> None:
    frame = Image.fromarray(PIXELS[:3, :2])
    (frame_data,) = [body for name, body in bodies(png(frame)) if name == b"IDAT"]
    control = struct.pack(">IIIIIHHBB", 0, 2, 3, 1, 4, 1, 10, 0, 0)
    whole = png(Image.fromarray(PIXELS))
    end = whole.index(b"IEND") - 4
    animated = (
        whole[:33]
        + chunk(b"acTL", struct.pack(">II", 1, 0))
        + whole[33:end]
        + chunk(b"fcTL", control)
        + chunk(b"fdAT", struct.pack(">I", 1) + frame_data)
        + whole[end:]
    )
    still = pixels_only(animated)

    assert (still.canvas_px, still.frame_px, still.offset_px) == ((5, 7), (2, 3), (1, 4))
    assert np.array_equal(shown(still.data), PIXELS[:3, :2])


def bodies(data: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], len(SIGNATURE)
    while place < len(data):
        length = int.from_bytes(data[place : place + 4])
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def test_without_a_header_there_is_no_picture() -> None:
    with pytest.raises(ValueError, match="IHDR"):
        pixels_only(SIGNATURE + chunk(b"IDAT", b""))
