"""Contact sheet of one job: picture, cut-out, mesh from two sides. Knows no files."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ai_engine.images.cutout import Cutout
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.render import View, draw

FRONT = View(azimuth_deg=30.0, elevation_deg=18.0)
BACK = View(azimuth_deg=215.0, elevation_deg=18.0)
GUTTER_SHARE = 0.03
CAPTION_SHARE = 0.08
CHECK_PX = 16

_PAPER = (250, 250, 249)
_INK = (70, 72, 76)


def picture_strip(picture: Image.Image, cutout: Cutout, mesh: Mesh, *, side_px: int = 512) -> Image.Image:
    """RGB, four square panels of `side_px` side by side, each with a caption below."""
    panels = {
        "picture": _fit(picture.convert("RGB"), side_px),
        "cut-out": _fit(_on_checks(cutout), side_px),
        "mesh": draw(mesh, FRONT, side_px),
        "from behind": draw(mesh, BACK, side_px),
    }
    gutter, caption = round(GUTTER_SHARE * side_px), round(CAPTION_SHARE * side_px)
    size = (len(panels) * (side_px + gutter) + gutter, side_px + gutter + caption)
    strip = Image.new("RGB", size, _PAPER)
    for index, (name, panel) in enumerate(panels.items()):
        left = gutter + index * (side_px + gutter)
        strip.paste(panel, (left, gutter))
        _write(strip, name, centre_x=left + side_px // 2, centre_y=gutter + side_px + caption // 2)
    return strip


def _fit(image: Image.Image, side_px: int) -> Image.Image:
    """The whole image, centred in a square of the paper's colour."""
    return ImageOps.pad(image, (side_px, side_px), Image.Resampling.LANCZOS, color=_PAPER)


def _on_checks(cutout: Cutout) -> Image.Image:
    """The cut-out over the checks that stand for transparency."""
    height, width = cutout.alpha.shape
    check_px = max(1, CHECK_PX * max(height, width) // 512)
    rows, columns = np.arange(height) // check_px, np.arange(width) // check_px
    is_dark = (rows[:, None] + columns[None]) % 2 == 0
    checks = np.where(is_dark, np.uint8(222), np.uint8(246))
    ground = Image.fromarray(np.dstack([checks, checks, checks, np.full_like(checks, 255)]), "RGBA")
    return Image.alpha_composite(ground, cutout.to_image()).convert("RGB")


def _write(strip: Image.Image, text: str, *, centre_x: int, centre_y: int) -> None:
    font = ImageFont.load_default(size=strip.height * 0.032)
    ImageDraw.Draw(strip).text((centre_x, centre_y), text, fill=_INK, font=font, anchor="mm")
