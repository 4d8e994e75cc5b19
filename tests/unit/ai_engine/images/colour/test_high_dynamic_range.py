"""What is known of PQ and HLG without a browser; test_conversion has what Chromium shows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ai_engine.images.colour.code_points import SRGB
from ai_engine.images.colour.conversion import to_srgb
from ai_engine.images.colour.high_dynamic_range import HIGH_DYNAMIC_RANGE, profile_of_wide_range
from ai_engine.images.colour.icc_profile import Primaries, space_of

BT_2020 = Primaries((0.3127, 0.3290), (0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
PAPER_WHITE = {16: 0.5807, 18: 0.7500}
"""Samples of 203 cd/m2 (BT.2408, table 1)."""


@pytest.mark.parametrize("transfer", HIGH_DYNAMIC_RANGE)
def test_black_is_black_peak_is_white_and_paper_is_half_of_it(transfer: int) -> None:
    profile = profile_of_wide_range(BT_2020, BT_2020, transfer)
    assert profile is not None
    assert space_of(profile) == "RGB"
    levels = np.array([0, round(255 * PAPER_WHITE[transfer]), 255], np.uint8)
    shown = np.asarray(to_srgb(Image.fromarray(levels[None, :, None].repeat(3, 2)), profile))[0]

    assert np.abs(shown[:, 1].astype(int) - (0, 188, 255)).max() <= 3
    assert np.ptp(shown.astype(int), axis=1).max() <= 1, "greys stay grey"


@pytest.mark.parametrize("transfer", HIGH_DYNAMIC_RANGE)
def test_brighter_samples_are_shown_brighter(transfer: int) -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2))
    shown = np.asarray(to_srgb(ramp, profile_of_wide_range(SRGB, BT_2020, transfer) or b""))[0, :, 1]
    assert (np.diff(shown.astype(int)) >= 0).all()


def test_primaries_of_no_colours_have_no_profile() -> None:
    nothing = Primaries((0.3, 0.3), (0.3, 0.3), (0.3, 0.3), (0.3, 0.3))
    assert profile_of_wide_range(nothing, BT_2020, 16) is None
