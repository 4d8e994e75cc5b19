from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ImageCms
from support.colour_pictures import ADOBE_RGB, LINEAR_GREY, press_profile

from ai_engine.images.colour.code_points import SRGB, srgb_light
from ai_engine.images.colour.icc_profile import (
    MAX_PROFILE_BYTES,
    Primaries,
    assemble,
    build_profile,
    levels,
    space_of,
    unpack,
    usable,
)


@pytest.mark.parametrize(
    ("profile", "space"), [(ADOBE_RGB, "RGB"), (LINEAR_GREY, "L"), (press_profile(), "CMYK"), (b"", None)]
)
def test_a_profile_describes_the_samples_that_its_header_names(profile: bytes, space: str | None) -> None:
    assert space_of(profile) == space


def test_littlecms_s_own_profile_of_srgb_is_sound() -> None:
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert space_of(made) == "RGB"


@pytest.mark.parametrize(
    ("place", "body"),
    [
        (0, b"\xff" * 4),
        (8, b"\5"),
        (16, b"Lab "),
        (16, b"6CLR"),
        (20, b"RGB "),
        (36, b"junk"),
        (68, bytes(12)),
        (128, b"\xff" * 4),
        (136, b"\x7f\xff\xff\xff"),
        (140, bytes(4)),
    ],
    ids=[
        "longer than it is",
        "of version 5",
        "of Lab",
        "of six inks",
        "to no PCS",
        "unsigned",
        "another illuminant",
        "too many tags",
        "a tag outside",
        "an empty tag",
    ],
)
def test_a_profile_that_no_picture_s_samples_have_is_unsound(place: int, body: bytes) -> None:
    assert space_of(ADOBE_RGB[:place] + body + ADOBE_RGB[place + len(body) :]) is None


@pytest.mark.parametrize("length", [0, 4, 127, 128, 131, 140, len(ADOBE_RGB) - 1])
def test_a_profile_that_is_cut_short_is_unsound(length: int) -> None:
    assert space_of(ADOBE_RGB[:length]) is None


def test_bytes_behind_a_profile_do_no_harm_up_to_the_limit() -> None:
    assert space_of(ADOBE_RGB.ljust(MAX_PROFILE_BYTES, b"\0")) == "RGB"
    assert space_of(ADOBE_RGB.ljust(MAX_PROFILE_BYTES + 1, b"\0")) is None


@pytest.mark.parametrize(
    ("profile", "channels"),
    [(ADOBE_RGB, {1, 3}), (LINEAR_GREY, {1}), (press_profile(), {4}), (b"x" * 500, set())],
)
def test_a_profile_is_used_for_the_channels_that_browsers_use_it_for(
    profile: bytes, channels: set[int]
) -> None:
    assert {count for count in range(6) if usable(profile, num_channels=count)} == channels


def test_what_is_packed_is_unpacked_up_to_the_limit() -> None:
    packed = zlib.compress(ADOBE_RGB)
    assert unpack(packed) == ADOBE_RGB
    assert unpack(packed[:-1]) == unpack(b"junk") == unpack(b"") == b""
    assert unpack(zlib.compress(bytes(10 * MAX_PROFILE_BYTES))) == b""


def test_pieces_are_joined_by_their_numbers() -> None:
    assert assemble([b"\2\2b", b"\1\2a"]) == b"ab"
    assert assemble([b"\1\1a"]) == b"a"
    for pieces in (
        [],
        [b"\1\2a"],
        [b"\1\2a", b"\1\2a"],
        [b"\0\2a", b"\1\2a"],
        [b"\1\3a", b"\2\2b"],
        [b"\1"],
        [b""],
    ):
        assert assemble(pieces) == b""


def test_a_built_profile_has_the_columns_and_the_curve_that_it_is_built_of() -> None:
    made = build_profile(SRGB, srgb_light(levels()))
    assert made is not None
    assert len(made) == struct.unpack_from(">I", made)[0]
    found = ImageCms.ImageCmsProfile(io.BytesIO(made)).profile
    published = ImageCms.createProfile("sRGB")

    assert found.version == pytest.approx(2.1)
    for name in ("red_colorant", "green_colorant", "blue_colorant"):
        columns = getattr(found, name), getattr(published, name)
        assert columns[0][0] == pytest.approx(columns[1][0], abs=2e-3)
    sums = np.sum([getattr(found, f"{name}_colorant")[0] for name in ("red", "green", "blue")], axis=0)
    assert sums == pytest.approx([0.9642, 1, 0.8249], abs=1e-3)


@pytest.mark.parametrize(
    "primaries",
    [
        Primaries((0.3, 0.3), (0.3, 0.3), (0.3, 0.3), (0.3, 0.3)),
        Primaries((0.3, 0.0), (0.64, 0.33), (0.3, 0.6), (0.15, 0.06)),
        Primaries((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
        Primaries((0.3, 1e-5), (0.64, 0.33), (0.3, 0.6), (0.15, 0.06)),
    ],
)
def test_of_primaries_that_span_no_colours_no_profile_is_built(primaries: Primaries) -> None:
    assert build_profile(primaries, levels()) is None
