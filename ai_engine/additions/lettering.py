"""A line of text as plane outlines, in Figtree Bold (OFL-1.1, `figtree-OFL.txt` beside it)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import manifold3d
import numpy as np
from fontTools.pens.basePen import BasePen
from fontTools.ttLib import TTFont

from ai_engine.errors import AdditionUnfit
from ai_engine.mesh.surface import Doubles

FONT = Path(__file__).parent / "figtree-bold.ttf"
CURVE_STEPS = 6
MIN_LINE_MM = 0.4
"""The line of the usual nozzle: thinner strokes are not printed."""
MIN_WIDE_SHARE = 0.8
"""Of a letter's area, what must belong to strokes as wide as that; its corners always lose a little."""


class _Polygons(BasePen):  # type: ignore[misc] # the only way in that fontTools offers
    """Collects a glyph's contours, curves cut into `CURVE_STEPS` chords."""

    def __init__(self, glyphs: object) -> None:
        super().__init__(glyphs)
        self.contours: list[list[tuple[float, float]]] = []

    def _moveTo(self, pt: tuple[float, float]) -> None:  # noqa: N802
        self.contours.append([pt])

    def _lineTo(self, pt: tuple[float, float]) -> None:  # noqa: N802
        self.contours[-1].append(pt)

    def _qCurveToOne(self, pt1: tuple[float, float], pt2: tuple[float, float]) -> None:  # noqa: N802
        start, control, end = (np.asarray(point) for point in (self.contours[-1][-1], pt1, pt2))
        for t in np.arange(1, CURVE_STEPS + 1) / CURVE_STEPS:
            x, y = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
            self.contours[-1].append((float(x), float(y)))


@lru_cache(maxsize=1)
def _font() -> TTFont:
    return TTFont(FONT)


def missing(text: str) -> str:
    """The characters of `text` that the font lacks, each once."""
    known = _font().getBestCmap()
    return "".join(dict.fromkeys(letter for letter in text if ord(letter) not in known))


def letters(text: str) -> list[manifold3d.CrossSection]:
    """Each letter that shows, placed on the line: in em, the line's middle at x = 0, capitals from y = 0.

    Raises:
        AdditionUnfit: the font lacks a character, or the text shows nothing.
    """
    lacking = missing(text)
    if lacking:
        raise AdditionUnfit(f"The font has no {lacking[0]!r} (U+{ord(lacking[0]):04X}).")
    font = _font()
    em, glyphs, names = font["head"].unitsPerEm, font.getGlyphSet(), font.getBestCmap()
    found: list[manifold3d.CrossSection] = []
    pen_x = 0.0
    for letter in text:
        name = names[ord(letter)]
        pen = _Polygons(glyphs)
        glyphs[name].draw(pen)
        contours = [np.asarray(contour, np.float64) for contour in pen.contours if len(contour) > 2]
        if contours:
            # TrueType winds outer contours clockwise.
            outline = manifold3d.CrossSection(
                [contour[::-1] for contour in contours], manifold3d.FillRule.NonZero
            )
            found.append(outline.translate((pen_x, 0.0)).scale((1 / em, 1 / em)))
        pen_x += glyphs[name].width
    if not found:
        raise AdditionUnfit("The text has no character that shows.")
    left, _, right, _ = manifold3d.CrossSection.compose(found).bounds()
    return [letter.translate((-(left + right) / 2, 0.0)) for letter in found]


def fit_text(text: str, *, width_mm: float, height_mm: float) -> manifold3d.CrossSection:
    """The line of text as large as fits a field of that width and height, its middle at the origin.

    Raises:
        AdditionUnfit: the font lacks a character, or strokes would be thinner than a printer's line.
    """
    glyphs = letters(text)
    line = manifold3d.CrossSection.compose(glyphs)
    left, bottom, right, top = line.bounds()
    scale = min(width_mm / (right - left), height_mm / (top - bottom))
    for letter in glyphs:
        if not _is_printable(letter.scale((scale, scale))):
            raise AdditionUnfit(
                f"The text fits its side only {scale * (top - bottom):.1f} mm high, where its strokes "
                f"are thinner than a printer's line of {MIN_LINE_MM} mm: shorten it, or take a larger base."
            )
    return line.translate((0.0, -(bottom + top) / 2)).scale((scale, scale))


def _is_printable(letter: manifold3d.CrossSection) -> bool:
    """Whether nearly all of the letter is left where strokes thinner than a line are wiped out."""
    half = MIN_LINE_MM / 2
    opened = letter.offset(-half).offset(half)
    return bool(opened.area() >= MIN_WIDE_SHARE * letter.area())


def contour_points(section: manifold3d.CrossSection) -> list[Doubles]:
    """The contours of a plane figure as arrays [n, 2]."""
    return [np.asarray(contour, np.float64) for contour in section.to_polygons()]
