"""Letters as the font has them: counted, measured, fitted, and refused where it has none."""

from __future__ import annotations

import pytest
from fontTools.pens.areaPen import AreaPen
from fontTools.ttLib import TTFont

from ai_engine.additions.lettering import FONT, contour_points, fit_text, letters, missing
from ai_engine.errors import AdditionUnfit


@pytest.mark.parametrize("letter", ["A", "B", "g", "8", "ß", "Ä"])
def test_an_outline_has_the_area_that_the_font_library_says(letter: str) -> None:
    font = TTFont(FONT)
    glyphs, pen = font.getGlyphSet(), AreaPen(font.getGlyphSet())
    glyphs[font.getBestCmap()[ord(letter)]].draw(pen)
    em = font["head"].unitsPerEm
    assert letters(letter)[0].area() == pytest.approx(abs(pen.value) / em**2, rel=0.01)


def test_holes_of_letters_stay_open() -> None:
    assert [len(contour_points(glyph)) for glyph in letters("B8oI")] == [3, 3, 2, 1]


def test_a_blank_has_a_width_and_no_outline() -> None:
    assert len(letters("a b")) == 2
    wide = letters("a b")[1].bounds()[0] - letters("a b")[0].bounds()[2]
    narrow = letters("ab")[1].bounds()[0] - letters("ab")[0].bounds()[2]
    assert wide > narrow + 0.1


def test_missing_characters_are_named_once_in_order() -> None:
    assert missing("Zażółć 日本日") == "日本"


def test_a_missing_character_is_refused_by_name() -> None:
    with pytest.raises(AdditionUnfit, match=r"'日' \(U\+65E5\)"):
        letters("日")


def test_a_text_of_blanks_is_refused() -> None:
    with pytest.raises(AdditionUnfit, match="no character that shows"):
        letters("   ")


@pytest.mark.parametrize(("width", "height"), [(100, 8), (20, 100)])
def test_a_line_fills_its_field_in_one_direction_and_stays_in_it(width: float, height: float) -> None:
    left, bottom, right, top = fit_text("Figtree", width_mm=width, height_mm=height).bounds()
    assert (right - left, top - bottom) <= (width + 1e-6, height + 1e-6)
    assert right - left == pytest.approx(width, rel=1e-4) or top - bottom == pytest.approx(height, rel=1e-4)
    assert (left + right, bottom + top) == pytest.approx((0, 0), abs=1e-4)


def test_thin_strokes_are_refused_with_the_height_that_would_fit() -> None:
    with pytest.raises(AdditionUnfit, match=r"only 1\.\d mm high"):
        fit_text("Figtree", width_mm=100, height_mm=1.2)
