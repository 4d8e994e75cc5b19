from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ai_engine.images.colour.code_points import (
    profile_of_cicp,
    profile_of_code_points,
    profile_of_gamma,
    profile_of_nclx,
    srgb_light,
)
from ai_engine.images.colour.conversion import to_srgb
from ai_engine.images.colour.icc_profile import space_of

GREY = Image.fromarray(np.arange(256, dtype=np.uint8)[None].repeat(3, 0)).convert("RGB")


def shown(profile: bytes | None, *values: int) -> list[int]:
    """What greys of these values become."""
    assert profile is not None
    return [int(np.asarray(to_srgb(GREY, profile))[0, value, 1]) for value in values]


def gamma_of(value: float) -> bytes:
    return struct.pack(">I", round(value * 100_000))


def test_srgb_s_curve_has_its_published_values() -> None:
    assert srgb_light(np.array([0, 0.04045, 0.5, 1])) == pytest.approx([0, 0.0031308, 0.2140411, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("transfer", "shown_in_chromium"),
    [
        (1, [4, 54, 121, 147, 189, 239]),
        (4, [7, 62, 129, 154, 193, 240]),
        (5, [1, 40, 106, 134, 179, 237]),
        (7, [34, 81, 141, 164, 199, 242]),
        (8, [71, 137, 188, 203, 225, 248]),
        (13, [16, 64, 128, 153, 192, 240]),
        (16, [1, 30, 132, 200, 255, 255]),
        (17, [3, 48, 118, 146, 191, 247]),
        (18, [3, 43, 99, 126, 189, 243]),
    ],
)
def test_greys_of_a_transfer_function_are_shown_as_in_chromium(
    transfer: int, shown_in_chromium: list[int]
) -> None:
    found = shown(profile_of_code_points(1, transfer), 16, 64, 128, 153, 192, 240)
    assert found == pytest.approx(shown_in_chromium, abs=2)


@pytest.mark.parametrize("numbers", [(2, 13), (1, 2), (2, 2), (3, 13), (1, 3), (0, 0), (255, 255)])
def test_numbers_that_say_nothing_have_no_profile(numbers: tuple[int, int]) -> None:
    assert profile_of_code_points(*numbers) is None


@pytest.mark.parametrize("body", [b"", b"\x0c\x0d\0", b"\x0c\x0d\0\0", b"\x0c\x0d\1\1", b"\x0c\x0d\0\1\0"])
def test_code_points_that_no_png_can_have_are_ignored(body: bytes) -> None:
    assert profile_of_cicp(body) is None
    assert profile_of_cicp(b"\x0c\x0d\0\1") is not None


def test_an_avif_that_leaves_its_colours_open_is_srgb() -> None:
    assert profile_of_nclx(2, 2) == profile_of_nclx(1, 1) == profile_of_nclx(1, 13)
    assert profile_of_nclx(9, 2) == profile_of_code_points(9, 13)
    assert profile_of_nclx(3, 13) is None


def test_a_gamma_is_undone() -> None:
    assert shown(profile_of_gamma(gamma_of(1), b""), 0, 51, 255) == [0, 124, 255]
    assert shown(profile_of_gamma(gamma_of(0.3), b""), 0, 255) == [0, 255]


@pytest.mark.parametrize("value", [0.44, 0.45455, 0.47, 0])
def test_a_gamma_close_to_srgb_s_and_none_change_nothing(value: float) -> None:
    assert profile_of_gamma(gamma_of(value), b"") is None


@given(gamma=st.binary(max_size=5), chromaticities=st.just(b"") | st.binary(min_size=31, max_size=33))
def test_whatever_the_chunks_hold_gives_a_sound_profile_or_none(gamma: bytes, chromaticities: bytes) -> None:
    made = profile_of_gamma(gamma, chromaticities)
    assert made is None or space_of(made) == "RGB"
    assert to_srgb(GREY, made or b"").size == GREY.size
