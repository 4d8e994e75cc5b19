from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ai_engine.images.cutout import Cutout


def quarter() -> Cutout:
    """Opaque in one quarter, haze in another, clear elsewhere."""
    rgba = np.full((8, 8, 4), 90, np.uint8)
    rgba[:, :, 3] = 0
    rgba[:4, :4, 3] = 255
    rgba[4:, 4:, 3] = 100
    return Cutout(rgba)


def test_only_what_is_mostly_opaque_counts_as_foreground() -> None:
    assert quarter().foreground_share == 0.25


def test_a_png_keeps_every_pixel_those_under_alpha_zero_too() -> None:
    again = Cutout.from_png(quarter().to_png())
    assert np.array_equal(again.rgba, quarter().rgba)
    assert again.facts is None


def test_the_png_is_one_that_others_read_and_has_no_metadata() -> None:
    with Image.open(io.BytesIO(quarter().to_png())) as image:
        assert (image.format, image.mode, image.size, image.info) == ("PNG", "RGBA", (8, 8), {})


@pytest.mark.parametrize(
    "pixels", [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.float32)]
)
def test_what_is_not_rgba_of_eight_bits_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        Cutout(pixels)
