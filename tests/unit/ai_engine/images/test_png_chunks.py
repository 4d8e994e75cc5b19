from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.colour_pictures import ADOBE_RGB

from ai_engine.images.png_chunks import SIGNATURE, complete, pixels_only

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


def with_chunks(before: bytes = b"", after: bytes = b"", image: Image.Image | None = None) -> bytes:
    """A picture with chunks before its pixels and behind them."""
    whole = png(Image.fromarray(PIXELS) if image is None else image)
    end = whole.index(b"IEND") - 4
    return whole[:33] + before + whole[33:end] + after + whole[end:]


PACKED = b"\0\0" + zlib.compress(ADOBE_RGB)


@pytest.mark.parametrize(
    ("body", "profile"),
    [
        (b"name" + PACKED, ADOBE_RGB),
        (b"name" + PACKED + b"junk", ADOBE_RGB),
        (PACKED, b""),
        (b"name\0\1" + PACKED[2:], b""),
        (b"name" + PACKED[:-4], b""),
        (b"name", b""),
        (b"", b""),
    ],
    ids=["sound", "longer", "nameless", "another packing", "cut short", "no profile", "empty"],
)
def test_a_profile_is_unpacked_where_the_chunk_is_sound(body: bytes, profile: bytes) -> None:
    assert pixels_only(with_chunks(before=chunk(b"iCCP", body))).profile == profile
    assert pixels_only(with_chunks(before=chunk(b"iCCP", body, is_sound=False))).profile == b""
    assert pixels_only(with_chunks(after=chunk(b"iCCP", body))).profile == b""


@pytest.mark.parametrize(("body", "is_srgb"), [(b"\0", True), (b"\3", True), (b"\4", False), (b"", False)])
def test_an_srgb_chunk_hides_the_gamma_where_it_names_an_intent(body: bytes, is_srgb: bool) -> None:
    linear = chunk(b"gAMA", struct.pack(">I", 100_000))
    found = pixels_only(with_chunks(before=linear + chunk(b"sRGB", body))).profile
    assert (found == b"") is is_srgb


def test_code_points_behind_the_palette_are_too_late() -> None:
    image = Image.fromarray(PIXELS).quantize(8)
    display_p3, whole = chunk(b"cICP", b"\x0c\x0d\0\1"), png(image)
    place = whole.index(b"IDAT") - 4

    assert pixels_only(with_chunks(before=display_p3, image=image)).profile
    assert pixels_only(whole[:place] + display_p3 + whole[place:]).profile == b""


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()[6:]


def test_the_orientation_is_that_of_a_sound_exif_chunk_before_the_pixels() -> None:
    turned = chunk(b"eXIf", exif(6))
    assert pixels_only(with_chunks(before=turned)).orientation == 6
    assert pixels_only(with_chunks(after=turned)).orientation == 1
    assert pixels_only(with_chunks(before=chunk(b"eXIf", exif(6), is_sound=False))).orientation == 1
    assert b"eXIf" not in pixels_only(with_chunks(before=turned)).data


def test_transparency_of_a_palette_counts_behind_it_and_before_the_pixels_alone() -> None:
    clear, image = chunk(b"tRNS", b"\0"), Image.fromarray(PIXELS).quantize(8)
    for spoilt in (with_chunks(before=clear, image=image), with_chunks(after=clear, image=image)):
        assert b"tRNS" not in names(pixels_only(spoilt).data)


def test_a_palette_is_as_long_as_its_indices_need() -> None:
    whole = png(Image.fromarray(PIXELS).quantize(8))
    (palette,) = [body for name, body in bodies(whole) if name == b"PLTE"]
    short = whole.replace(chunk(b"PLTE", palette), chunk(b"PLTE", palette[:4]))
    (found,) = [body for name, body in bodies(pixels_only(short).data) if name == b"PLTE"]

    assert found == palette[:3].ljust(3 * 16, b"\0")


def test_a_clear_grey_of_more_bits_than_its_picture_has_is_read_modulo_those() -> None:
    grey = Image.fromarray(PIXELS[..., 0])
    still = pixels_only(with_chunks(before=chunk(b"tRNS", b"\x70\x21"), image=grey))
    assert chunk(b"tRNS", b"\0\x21") in still.data


@pytest.mark.parametrize(
    ("before", "control_px", "after"),
    [
        (b"", (5, 7, 0, 0), chunk(b"acTL", struct.pack(">II", 1, 0))),
        (chunk(b"acTL", struct.pack(">II", 1, 0), is_sound=False), (5, 7, 0, 0), b""),
        (chunk(b"acTL", struct.pack(">II", 0, 0)), (5, 7, 0, 0), b""),
        (chunk(b"acTL", struct.pack(">II", 1, 0)), (5, 7, 1, 0), b""),
    ],
    ids=["counted behind the pixels", "damaged", "no frames", "outside"],
)
def test_of_what_is_no_sound_animation_the_still_is_shown(
    before: bytes, control_px: tuple[int, ...], after: bytes
) -> None:
    (frame_data,) = [body for name, body in bodies(png(Image.fromarray(255 - PIXELS))) if name == b"IDAT"]
    control = chunk(b"fcTL", struct.pack(">5IHHBB", 0, *control_px, 1, 10, 0, 0))
    frame = chunk(b"fdAT", struct.pack(">I", 1) + frame_data)
    still = pixels_only(with_chunks(before=before, after=after + control + frame))

    assert np.array_equal(shown(still.data), PIXELS)


TALL = np.random.default_rng(1).integers(0, 255, (60, 41, 4), np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P"])
def test_rows_that_a_cut_takes_are_clear_or_like_the_last_that_is_there(mode: str) -> None:
    whole = png(Image.fromarray(TALL).convert(mode))
    still = pixels_only(whole[: int(0.95 * len(whole))])
    mended = np.asarray(Image.open(io.BytesIO(complete(still.data))))

    assert still.is_cut_short
    assert np.array_equal(mended[:54], np.asarray(Image.fromarray(TALL).convert(mode))[:54])
    assert np.array_equal(mended[-1], 0 * mended[-1] if mode in ("RGBA", "LA") else mended[-2])


@pytest.mark.parametrize("is_interlaced", [0, 1])
def test_pixels_whose_checksum_is_wrong_or_missing_are_all_kept(is_interlaced: int) -> None:
    passes = [TALL[y::dy, x::dx, :3] for x, y, dx, dy in (PASSES if is_interlaced else [(0, 0, 1, 1)])]
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 41, 60, 8, 2, 0, 0, is_interlaced))
    for end in (b"", b"abcd"):
        spoilt = SIGNATURE + head + chunk(b"IDAT", zlib.compress(rows)[:-4] + end) + chunk(b"IEND", b"")
        assert np.array_equal(shown(complete(pixels_only(spoilt).data)), TALL[..., :3])


PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def test_a_file_that_lacks_more_than_a_tenth_of_its_rows_is_not_completed() -> None:
    whole = png(Image.fromarray(TALL))
    with pytest.raises(ValueError, match="of 60 rows are missing"):
        complete(pixels_only(whole[: int(0.85 * len(whole))]).data)
