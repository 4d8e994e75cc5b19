from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from support.colour_pictures import ADOBE_RGB

from ai_engine.images.jpeg_segments import TooManyScans, pixels_only

PICTURE = Image.fromarray(
    np.random.default_rng(0).integers(0, 255, (5, 9, 3), np.uint8).repeat(8, 0).repeat(8, 1)
)


def jpeg(image: Image.Image = PICTURE, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def shown(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body


@pytest.mark.parametrize("is_progressive", [False, True])
def test_comments_and_previews_are_dropped_and_no_pixel_is(is_progressive: bool) -> None:
    whole = jpeg(progressive=is_progressive, comment=b"c" * 900)
    with_preview = whole[:2] + segment(0xED, b"Photoshop 3.0\0" + b"p" * 900) + whole[2:]
    still = pixels_only(with_preview)

    assert len(still.data) < len(whole)
    assert np.array_equal(shown(still.data), shown(whole))
    assert (still.canvas_px, still.fills_canvas, still.is_cut_short) == ((72, 40), True, False)


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def test_the_orientation_is_that_of_the_first_exif_before_the_pixels() -> None:
    first, second = segment(0xE1, exif(6)), segment(0xE1, exif(3))
    xmp, whole = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), jpeg()
    scan = whole.rindex(b"\xff\xda")

    assert pixels_only(whole).orientation == 1
    assert pixels_only(whole[:2] + xmp + first + second + whole[2:]).orientation == 6
    assert pixels_only(whole[:scan] + first + whole[scan:]).orientation == 6
    assert pixels_only(whole[:-2] + first + whole[-2:]).orientation == 1


def test_the_profile_is_the_first_before_the_pixels() -> None:
    parts = (b"\1\2" + ADOBE_RGB[:300], b"\2\2" + ADOBE_RGB[300:])
    first, second = (segment(0xE2, b"ICC_PROFILE\0" + part) for part in parts)
    whole = jpeg()

    assert pixels_only(whole).profile == b""
    assert pixels_only(whole[:2] + second + first + whole[2:]).profile == ADOBE_RGB
    assert pixels_only(whole[:2] + first + whole[2:]).profile == b""
    assert pixels_only(whole[:-2] + first + second + whole[-2:]).profile == b""


@pytest.mark.parametrize(("mode", "is_used"), [("L", True), ("RGB", True), ("CMYK", False)])
def test_a_profile_of_rgb_is_used_for_what_it_can_describe(mode: str, is_used: bool) -> None:
    assert bool(pixels_only(jpeg(PICTURE.convert(mode), icc_profile=ADOBE_RGB)).profile) is is_used


def test_no_exif_reaches_the_decoder() -> None:
    assert b"Exif" not in pixels_only(jpeg(exif=exif(6))).data


@pytest.mark.parametrize("marker", [0xE0, 0xEE])
@pytest.mark.parametrize("body", [b"", b"JFIF\0", b"JFIF\0\1", b"JFXX\0\x10", b"Adobe", b"Adobe\0\x64"])
def test_what_is_too_short_to_say_anything_of_the_colours_is_dropped(marker: int, body: bytes) -> None:
    whole = jpeg()
    assert pixels_only(whole[:20] + segment(marker, body) + whole[20:]).data == pixels_only(whole).data


def test_of_two_adobe_segments_the_last_counts_as_for_every_decoder() -> None:
    whole = jpeg()
    adobe = [segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([kind])) for kind in (1, 0)]
    in_two, in_last = (whole[:2] + colours + whole[20:] for colours in (b"".join(adobe), adobe[1]))

    assert np.array_equal(shown(pixels_only(in_two).data), shown(in_last))
    assert not np.array_equal(shown(in_last), shown(whole))


def test_a_file_without_a_frame_is_no_picture() -> None:
    with pytest.raises(ValueError, match="no frame"):
        pixels_only(b"\xff\xd8\xff\xe0\0\x04ab")


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours_keep_what_says_how_they_are_meant(mode: str) -> None:
    whole = jpeg(PICTURE.convert(mode))
    assert np.array_equal(shown(pixels_only(whole).data), shown(whole))


def test_what_lies_behind_the_end_is_dropped() -> None:
    whole = jpeg()
    assert pixels_only(whole + b"a video, say" * 100).data == pixels_only(whole).data


def test_a_file_whose_end_is_missing_is_closed_and_says_so() -> None:
    still = pixels_only(jpeg()[:-2])

    assert still.is_cut_short
    assert still.data.endswith(b"\xff\xd9")
    assert np.array_equal(shown(still.data), shown(jpeg()))


def test_more_scans_than_any_picture_has_are_refused_before_they_are_decoded() -> None:
    whole = jpeg(progressive=True)
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    with pytest.raises(TooManyScans):
        pixels_only(whole[:-2] + scan * 2000 + whole[-2:])
