from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

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


def test_the_orientation_stays() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    still = pixels_only(jpeg(exif=exif))

    assert Image.open(io.BytesIO(still.data)).getexif()[0x0112] == 6


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
