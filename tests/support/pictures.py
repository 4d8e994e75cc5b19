"""Pictures that tests draw themselves."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw


def draw_disc(path: Path) -> Path:
    """A red disc on transparent ground, at `path`, which is given back."""
    picture = Image.new("RGBA", (96, 96))
    ImageDraw.Draw(picture).ellipse((16, 16, 80, 80), fill="firebrick")
    path.parent.mkdir(exist_ok=True)
    picture.save(path)
    return path
