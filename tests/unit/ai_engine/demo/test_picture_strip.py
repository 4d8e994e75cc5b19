from __future__ import annotations

import numpy as np
from PIL import Image
from support.solid_shapes import cube

from ai_engine.demo.picture_strip import picture_strip
from ai_engine.images.cutout import Cutout

SIDE_PX, GUTTER_PX = 128, 4


def strip(picture: Image.Image, rgba: np.ndarray) -> np.ndarray:
    return np.asarray(picture_strip(picture, Cutout(rgba), cube(), side_px=SIDE_PX))


def panel(strip: np.ndarray, number: int) -> np.ndarray:
    left = GUTTER_PX + number * (SIDE_PX + GUTTER_PX)
    return strip[GUTTER_PX : GUTTER_PX + SIDE_PX, left : left + SIDE_PX]


def test_picture_cut_out_and_the_mesh_from_two_sides_stand_side_by_side() -> None:
    red = Image.new("RGB", (64, 64), "red")
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[16:48, 16:48] = (0, 0, 255, 255)
    whole = strip(red, rgba)

    assert whole.shape == (SIDE_PX + GUTTER_PX + 10, 4 * (SIDE_PX + GUTTER_PX) + GUTTER_PX, 3)
    assert (panel(whole, 0) == (255, 0, 0)).all()
    assert panel(whole, 1)[SIDE_PX // 2, SIDE_PX // 2].tolist() == [0, 0, 255]
    assert not np.array_equal(panel(whole, 2), panel(whole, 3)), "front and back"


def test_transparency_shows_as_checks_of_two_greys() -> None:
    whole = strip(Image.new("RGB", (64, 64)), np.zeros((512, 512, 4), np.uint8))
    greys = np.unique(panel(whole, 1).reshape(-1, 3)[:, 0])

    assert {222, 246} <= set(greys.tolist())


def test_a_wide_picture_is_shown_whole_with_paper_above_and_below() -> None:
    whole = strip(Image.new("RGB", (128, 32), "red"), np.zeros((8, 8, 4), np.uint8))
    column = panel(whole, 0)[:, SIDE_PX // 2]

    assert column[SIDE_PX // 2].tolist() == [255, 0, 0]
    assert column[0].tolist() == column[-1].tolist() == [250, 250, 249]
