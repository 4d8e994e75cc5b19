from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from ai_engine.errors import ImageTooLarge, UnreadableImage
from ai_engine.images.image_file import WORKING_SIDE_PX, read_picture

HALVES = np.zeros((40, 60, 3), np.uint8)
HALVES[:, :30] = (250, 10, 10)
HALVES[:, 30:] = (10, 10, 250)
"""Red left, blue right."""


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, *, bit_depth: int = 8, colour_type: int = 2, rows: bytes = b"") -> bytes:
    """A PNG of the given header; `rows` are its filtered rows before compression."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def assert_red_left_blue_right(image: Image.Image) -> None:
    pixels = np.asarray(image.convert("RGB")).astype(int)
    left, right = pixels[:, : pixels.shape[1] // 3], pixels[:, -(pixels.shape[1] // 3) :]
    assert left[..., 0].min() > 180 > 80 > left[..., 2].max()
    assert right[..., 2].min() > 180 > 80 > right[..., 0].max()


@pytest.mark.parametrize(
    "convert",
    [
        lambda image: file_of(image, "PNG"),
        lambda image: file_of(image, "WEBP", lossless=True),
        lambda image: file_of(image, "JPEG", quality=95),
        lambda image: file_of(image, "JPEG", quality=95, progressive=True),
        lambda image: file_of(image.convert("CMYK"), "JPEG", quality=95),
        lambda image: file_of(image.convert("P"), "PNG"),
        lambda image: file_of(image.quantize(4), "PNG"),
        lambda image: file_of(image, "PNG", interlace=True),
    ],
    ids=["png", "webp", "jpeg", "progressive", "cmyk", "palette", "four colours", "interlaced"],
)
def test_every_kind_of_file_gives_the_same_picture(convert: Callable[[Image.Image], bytes]) -> None:
    image = read_picture(convert(Image.fromarray(HALVES)))
    assert (image.mode, image.size) == ("RGB", (60, 40))
    assert_red_left_blue_right(image)


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(20, 0)
    image = read_picture(file_of(Image.fromarray(ramp), "PNG"))
    assert image.mode == "RGB"
    assert np.asarray(image)[0, :, 0] == pytest.approx(ramp[0] / 257, abs=1)


def test_sixteen_bit_colour_keeps_its_colours() -> None:
    row = b"\0" + struct.pack(">3H", 60000, 2000, 2000) * 20 + struct.pack(">3H", 2000, 2000, 60000) * 20
    assert_red_left_blue_right(read_picture(png(40, 30, bit_depth=16, rows=row * 30)))


def test_grey_becomes_colour_and_grey_with_alpha_keeps_it() -> None:
    grey = Image.fromarray(HALVES).convert("L")
    assert read_picture(file_of(grey, "PNG")).mode == "RGB"
    with_alpha = grey.convert("LA")
    with_alpha.putalpha(77)
    assert np.all(np.asarray(read_picture(file_of(with_alpha, "PNG")))[..., 3] == 77)


def test_one_bit_pictures_are_read() -> None:
    assert read_picture(file_of(Image.fromarray(HALVES).convert("1"), "PNG")).mode == "RGB"


def test_a_palette_with_transparency_becomes_alpha() -> None:
    image = Image.fromarray(HALVES).quantize(2)
    red = int(np.asarray(image)[0, 0])
    pixels = read_picture(file_of(image, "PNG", transparency=red))
    assert pixels.mode == "RGBA"
    assert np.all(np.asarray(pixels)[:, :30, 3] == 0)
    assert np.all(np.asarray(pixels)[:, 30:, 3] == 255)


def test_a_transparent_colour_becomes_alpha() -> None:
    pixels = read_picture(file_of(Image.fromarray(HALVES), "PNG", transparency=(250, 10, 10)))
    assert pixels.mode == "RGBA"
    assert np.asarray(pixels)[0, 0, 3] == 0


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    first, second = Image.fromarray(HALVES), Image.new("RGB", (60, 40), "green")
    data = file_of(first, kind, save_all=True, append_images=[second, second], duration=50, lossless=True)
    assert_red_left_blue_right(read_picture(data))


_TURN_TO_STORE = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_taken_sideways_stands_upright(kind: str, orientation: int) -> None:
    turn = _TURN_TO_STORE[orientation]
    stored = Image.fromarray(HALVES)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_picture(
        file_of(stored if turn is None else stored.transpose(turn), kind, exif=exif, quality=95)
    )
    assert image.size == (60, 40)
    assert_red_left_blue_right(image)


def test_a_damaged_exif_block_does_not_matter() -> None:
    data = file_of(Image.fromarray(HALVES), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\xff\xff")
    assert_red_left_blue_right(read_picture(data))


def test_metadata_is_dropped() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    image = read_picture(file_of(Image.fromarray(HALVES), "PNG", exif=exif, dpi=(72, 72)))
    assert image.info == {}
    assert b"camera" not in file_of(image, "PNG")


def test_a_large_picture_is_scaled_to_the_working_size_and_keeps_its_shape() -> None:
    large = Image.fromarray(HALVES).resize((4500, 3000), Image.Resampling.NEAREST)
    for kind in ("PNG", "JPEG"):
        image = read_picture(file_of(large, kind))
        assert image.size == (WORKING_SIDE_PX, 1365)
        assert_red_left_blue_right(image)


@pytest.mark.parametrize("size", [(30_000, 30_000), (8_001, 8_000), (2**31 - 1, 2**31 - 1), (64_000_001, 1)])
def test_too_many_pixels_are_refused_before_any_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLarge) as caught:
        read_picture(png(*size))
    assert "64 million pixels" in caught.value.detail


def test_the_limit_can_be_set_lower() -> None:
    with pytest.raises(ImageTooLarge, match="60 x 40"):
        read_picture(file_of(Image.fromarray(HALVES), "PNG"), max_pixels=2000)


@pytest.mark.parametrize("size", [(0, 0), (0, 50), (50, 0), (1, 1), (15, 400)])
def test_a_picture_without_room_for_an_object_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UnreadableImage):
        read_picture(png(*size, rows=b"\0" * 50_000))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.8])
def test_a_truncated_file_is_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    data = file_of(Image.fromarray(noise), kind, quality=90)
    with pytest.raises(UnreadableImage):
        read_picture(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_damaged_bytes_give_a_picture_or_a_clear_refusal(kind: str) -> None:
    rng = np.random.default_rng(1)
    data = file_of(Image.fromarray(HALVES), kind)
    for _ in range(200):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            damaged[place] = rng.integers(0, 256)
        try:
            read_picture(bytes(damaged))
        except (UnreadableImage, ImageTooLarge):
            continue


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"GIF89a" + bytes(100), b"RIFF\0\0\0\0WAVE", b"<svg></svg>"]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match="PNG, JPEG or WebP"):
        read_picture(data)


def test_a_format_hidden_behind_another_ones_first_bytes_is_refused() -> None:
    with pytest.raises(UnreadableImage):
        read_picture(b"\xff\xd8\xff" + file_of(Image.fromarray(HALVES), "GIF"))
