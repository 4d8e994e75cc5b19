"""What is said of cut-outs: facts of masks whose answers are known, and of photographs that nobody here made."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from ai_engine.facts import CutOutFacts
from ai_engine.images.background import RemoveBackground, cut_out
from ai_engine.images.cutout_facts import measure

CASES = Path(__file__).parent / "cases"
SIDE_PX = 400


def facts(alpha: np.ndarray, source: str = "tiny", num_parts: int = 1, num_dropped: int = 0) -> CutOutFacts:
    return measure(alpha.astype(np.uint8), source=source, num_parts=num_parts, num_dropped=num_dropped)


def box(top: int, left: int, bottom: int, right: int, opacity: int = 255) -> np.ndarray:
    alpha = np.zeros((SIDE_PX, SIDE_PX))
    alpha[top:bottom, left:right] = opacity
    return alpha


def of_picture(rgba: np.ndarray, remove: RemoveBackground = "auto") -> CutOutFacts:
    file = io.BytesIO()
    Image.fromarray(rgba).save(file, "PNG")
    found = cut_out(file.getvalue(), remove=remove, remover=None).facts
    assert found is not None
    return found


def test_an_object_that_stands_free_has_its_share_and_no_warnings() -> None:
    assert facts(box(100, 100, 300, 300)) == CutOutFacts("tiny", 0.25, (), 0, ())


def test_borders_that_the_object_touches_are_named() -> None:
    found = facts(box(100, 0, SIDE_PX, 200))
    assert (found.borders, found.warnings) == (("left", "bottom"), ("touches_border",))


def test_a_single_tip_at_a_border_is_no_touch() -> None:
    alpha = box(100, 100, 300, 300)
    alpha[0:100, 200:202] = 255
    assert facts(alpha).borders == ()


def test_a_callers_cutout_that_is_cropped_to_its_object_is_not_warned_of_borders() -> None:
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    middle = (SIDE_PX - 1) / 2
    disc = np.where((x - middle) ** 2 + (y - middle) ** 2 <= (middle + 0.5) ** 2, 255, 0)
    assert facts(disc, source="alpha").warnings == ()
    assert facts(disc, source="tiny").warnings == ("touches_border",)


@pytest.mark.parametrize(
    ("alpha", "warning"),
    [
        (box(0, 0, SIDE_PX, SIDE_PX), "covers_everything"),
        (box(100, 100, 200, 200), "small"),
        (box(100, 100, 300, 300, opacity=140), "soft"),
    ],
)
def test_what_is_suspicious_is_warned_of(alpha: np.ndarray, warning: str) -> None:
    assert warning in facts(alpha).warnings


def test_glass_round_a_small_solid_core_is_not_small() -> None:
    alpha = np.maximum(box(100, 100, 300, 300, opacity=90), box(190, 190, 210, 210))
    assert facts(alpha).warnings == ("soft",)


def test_soft_edges_alone_are_not_soft() -> None:
    alpha = box(100, 100, 300, 300)
    alpha[100:104, 100:300] = alpha[296:300, 100:300] = 120
    assert "soft" not in facts(alpha).warnings


def test_parts_are_counted_where_they_are_dropped_and_where_they_are_left() -> None:
    pixels = np.zeros((SIDE_PX, SIDE_PX, 4), np.uint8)
    pixels[50:200, 50:180] = pixels[220:350, 220:350] = (200, 30, 30, 255)
    pixels[5, 5] = pixels[390, 10:14] = (0, 0, 0, 255)
    found = of_picture(pixels)
    assert (found.source, found.parts_dropped, found.warnings) == ("alpha", 2, ("several_objects",))


def test_an_opaque_photograph_of_which_nothing_is_cut_out_covers_everything() -> None:
    found = of_picture(skimage.data.coffee(), "never")
    assert (found.source, found.share) == ("none", 1.0)
    assert "covers_everything" in found.warnings


@pytest.mark.parametrize(
    ("name", "num_dropped"), [("cut-clean", 0), ("cut-stray-pixel", 1), ("gray2-white", 0)]
)
def test_a_reported_cutout_is_the_callers_own_with_nothing_to_warn_of(name: str, num_dropped: int) -> None:
    found = cut_out((CASES / f"{name}.png").read_bytes(), remove="auto", remover=None).facts
    assert found == CutOutFacts("alpha", 0.2146, (), num_dropped, ())
