from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from support.colour_pictures import ADOBE_RGB

from ai_engine.images.webp_chunks import pixels_only

RED, BLUE = (Image.new("RGB", (30, 20), colour) for colour in ("red", "blue"))


def webp(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", **options)
    return file.getvalue()


def shown(data: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


@pytest.mark.parametrize("is_lossless", [True, False])
def test_metadata_is_dropped_and_no_pixel_is(is_lossless: bool) -> None:
    whole = webp(RED, lossless=is_lossless, xmp=b"<x/>" * 500, icc_profile=b"p" * 200)
    still = pixels_only(whole)

    assert b"XMP " not in still.data
    assert b"ICCP" not in still.data
    assert np.array_equal(shown(still.data), shown(whole))
    assert (still.canvas_px, still.frame_px, still.offset_px) == ((30, 20), (30, 20), (0, 0))


def test_a_profile_is_that_of_a_still_whose_header_announces_one() -> None:
    whole = webp(RED, lossless=True, icc_profile=ADOBE_RGB)
    flags = whole.index(b"VP8X") + 8
    unsaid = whole[:flags] + bytes([whole[flags] & ~0x20]) + whole[flags + 1 :]
    animated = webp(RED, save_all=True, append_images=[BLUE], lossless=True, icc_profile=ADOBE_RGB)

    assert pixels_only(whole).profile == ADOBE_RGB
    assert pixels_only(unsaid).profile == pixels_only(animated).profile == b""


def test_alpha_of_a_lossy_file_stays() -> None:
    image = RED.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    whole = webp(image, lossless=False, alpha_quality=100)

    assert np.array_equal(shown(pixels_only(whole).data, "RGBA"), shown(whole, "RGBA"))


def test_of_an_animation_the_first_frame_is_kept() -> None:
    still = pixels_only(webp(RED, save_all=True, append_images=[BLUE], lossless=True))

    assert b"ANMF" not in still.data
    assert shown(still.data)[0, 0].tolist() == [255, 0, 0]
    assert still.canvas_px == (30, 20)


def test_a_bitstream_that_is_cut_short_is_refused() -> None:
    whole = webp(RED, lossless=True)
    with pytest.raises(ValueError, match="cut short"):
        pixels_only(whole[:-8])


def test_a_container_without_a_bitstream_is_refused() -> None:
    with pytest.raises(ValueError, match="no bitstream"):
        pixels_only(b"RIFF\x04\0\0\0WEBP")


def test_alpha_that_the_header_does_not_announce_is_not_shown() -> None:
    image = RED.convert("RGBA")
    image.putalpha(77)
    whole = bytearray(webp(image, lossless=False))
    assert b"ALPH" in pixels_only(bytes(whole)).data
    whole[20] &= ~0x10
    assert b"ALPH" not in pixels_only(bytes(whole)).data
