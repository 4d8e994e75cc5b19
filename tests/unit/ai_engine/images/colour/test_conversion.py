"""Colours as Chromium 156 shows them; test_picture_colours asks the Chromium that is installed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.colour_pictures import (
    ADOBE_RGB,
    LINEAR_GREY,
    chunk,
    colour_pictures,
    file_of,
    patches_of,
    picture,
    png,
    press_profile,
    profile,
)

from ai_engine.images.background import cut_out
from ai_engine.images.colour.conversion import to_srgb
from ai_engine.images.image_file import read_picture

PICTURES = colour_pictures()
SHOWN = {
    "linear": "e56e6e 6ee56e 6e6ee5 e5cab7 606060 bcbcbc",
    "linear grey": "9f9f9f c0c0c0 838383 d1d1d1 606060 bcbcbc",
    "linear palette": "e56e6e 6ee56e 6e6ee5 e5cab7 606060 bcbcbc",
    "linear grey of 16 bits": "9f9f9f c0c0c0 838383 d1d1d1 606060 bcbcbc",
    "linear with alpha": "e56e6e 6ee56e 6e6ee5 e5cab7 606060 bcbcbc",
    "dark": "b20707 07b207 0707b2 b27350 030303 595959",
    "gamma of sRGB": "c82828 28c828 2828c8 c89678 1e1e1e 808080",
    "gamma and Display P3": "dc0012 00cd00 2323d2 d29574 181818 818181",
    "Display P3 without gamma": "c82828 28c828 2828c8 c89678 1e1e1e 808080",
    "no gamma": "c82828 28c828 2828c8 c89678 1e1e1e 808080",
    "chromaticities of no colours": "c82828 28c828 2828c8 c89678 1e1e1e 808080",
    "sRGB before gamma": "c82828 28c828 2828c8 c89678 1e1e1e 808080",
    "profile before sRGB": "e92323 00c900 2323cd d99777 181818 818181",
    "code points before a profile": "da001a 00cc00 2828d0 d19373 1e1e1e 808080",
    "BT.2020": "f9001b 00d300 0023d2 e38e72 1e1e1e 808080",
    "linear code points": "e56e6e 6ee56e 6e6ee5 e5cab7 606060 bcbcbc",
    "PQ of BT.2020": "ff0000 00ff00 0000ff ff4429 040404 848484",
    "HLG of BT.2020": "e6000d 00d000 0013ad e3725d 0d0d0d 636363",
    "PQ of BT.709": "ff0404 03ff03 0303ff ff844c 040404 848484",
    "unspecified code points, gamma": "e56e6e 6ee56e 6e6ee5 e5cab7 606060 bcbcbc",
    "damaged profile, gamma": "e56e6e 6ee56e 6e6ee5 e5cab7 606060 bcbcbc",
    "profile of grey for colours": "c82828 28c828 2828c8 c89678 1e1e1e 808080",
    "profile of grey": "9f9f9f c0c0c0 838383 d1d1d1 606060 bcbcbc",
    "profile of colours for grey": "575757 878787 373737 a3a3a3 181818 818181",
    "profile with alpha": "e92323 00c900 2323cd d99777 181818 818181",
    "JPEG Adobe RGB": "e92323 00c900 2323cd d99878 181818 818181",
    "JPEG Adobe RGB in pieces": "e92323 00c900 2323cd d99878 181818 818181",
    "JPEG linear grey": "9f9f9f c0c0c0 838383 d1d1d1 606060 bcbcbc",
    "JPEG of a press": "ab3e03 617538 53255a c58f67 4a1000 956c5d",
    "JPEG of inks": "c82828 28c828 2828c8 c89678 1e1e1e 808080",
    "JPEG of inks, profile of RGB": "c82828 28c828 2828c8 c89678 1e1e1e 808080",
    "WebP Adobe RGB": "e92323 00c900 2323cd d99777 181818 818181",
    "AVIF Adobe RGB": "e92323 00ca00 2024cc d99877 181818 818181",
    "AVIF Display P3": "da001a 00cd00 2529cf d19473 1e1e1e 808080",
    "AVIF of a camera's curve": "c82828 28c927 2629c7 c89778 1e1e1e 808080",
    "AVIF unspecified": "c82828 28c927 2629c7 c89778 1e1e1e 808080",
    "AVIF linear": "e56e6e 6ee66d 6c70e5 e5cab7 606060 bcbcbc",
    "AVIF HLG of Display P3": "c7000b 00cc00 171bad ce7b5e 0d0d0d 636363",
}
"""The six patches in Chromium, by kind."""


def test_the_table_holds_every_kind() -> None:
    assert SHOWN.keys() == PICTURES.keys()


@pytest.mark.parametrize("kind", SHOWN)
def test_colours_are_read_as_chromium_shows_them(kind: str) -> None:
    shown = np.frombuffer(bytes.fromhex(SHOWN[kind]), np.uint8).reshape(-1, 3)
    tolerance = 4 if {"press", "PQ", "HLG"} & set(kind.split()) else 1
    assert np.abs(patches_of(read_picture(PICTURES[kind])) - shown).max() <= tolerance


@pytest.mark.parametrize("pixels", ["RGBA", "RGB", "CMYK"])
def test_without_a_profile_the_colours_stay(pixels: str) -> None:
    image = picture(pixels)
    found = to_srgb(image, b"")
    assert found.mode == ("RGB" if pixels == "CMYK" else pixels)
    assert np.array_equal(np.asarray(found), np.asarray(image.convert(found.mode)))


def test_alpha_is_untouched() -> None:
    image = picture("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    found = read_picture(file_of(image, "PNG", icc_profile=ADOBE_RGB))

    assert np.array_equal(np.asarray(found.getchannel("A")), np.asarray(image.getchannel("A")))
    assert not np.array_equal(np.asarray(found)[..., :3], np.asarray(image)[..., :3])


def test_the_cut_out_has_the_colours_that_are_shown() -> None:
    image = Image.new("RGBA", (96, 96))
    image.paste((200, 40, 40, 255), (30, 20, 70, 80))
    colours = cut_out(file_of(image, "PNG", icc_profile=ADOBE_RGB), remove="auto", remover=None).rgba

    assert colours[48, 48].tolist() == [0xE9, 0x23, 0x23, 255]


SEEDS = {"RGB": ADOBE_RGB, "L": LINEAR_GREY, "CMYK": press_profile()}


@given(
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
    damages=st.lists(st.tuples(st.integers(0, 2500), st.binary(min_size=1, max_size=8)), max_size=6),
    length=st.none() | st.integers(0, 600),
)
@settings(deadline=None, max_examples=150)
def test_no_damage_of_a_profile_refuses_a_picture(
    mode: str, damages: list[tuple[int, bytes]], length: int | None
) -> None:
    spoilt = bytearray(SEEDS[mode][:length])
    for place, body in damages:
        spoilt[place % max(len(spoilt), 1) : place % max(len(spoilt), 1) + len(body)] = body
    assert read_picture(file_of(picture(mode), "JPEG", icc_profile=bytes(spoilt) or b"x")).size == (96, 16)


@given(body=st.binary(max_size=400))
@settings(deadline=None, max_examples=50)
def test_bytes_that_are_no_profile_change_no_colour(body: bytes) -> None:
    plain = np.asarray(picture())
    head = ADOBE_RGB[:132]
    for data in (body, head + body):
        assert read_picture(png(profile(data))).size == (96, 16)
    for spoilt in (chunk(b"iCCP", body), profile(body)):
        assert np.array_equal(np.asarray(read_picture(png(spoilt))), plain)
    for kind in ("JPEG", "WEBP"):
        file = file_of(picture(), kind, icc_profile=body or b"x")
        assert np.array_equal(
            np.asarray(read_picture(file)), np.asarray(read_picture(file_of(picture(), kind)))
        )


def test_the_class_of_a_profile_does_not_matter() -> None:
    plain, other = (png(profile(ADOBE_RGB[:12] + kind + ADOBE_RGB[16:])) for kind in (b"mntr", b"link"))
    assert np.array_equal(np.asarray(read_picture(plain)), np.asarray(read_picture(other)))


def test_a_profile_of_a_large_picture_is_applied_to_its_working_size() -> None:
    image = picture().resize((4800, 800), Image.Resampling.NEAREST)
    found = np.asarray(read_picture(file_of(image, "JPEG", icc_profile=ADOBE_RGB)))
    assert found.shape[1] == 2048
    assert np.abs(found[100, 100].astype(int) - (0xE9, 0x23, 0x23)).max() <= 1
