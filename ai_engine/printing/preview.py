"""`preview.png`: a mesh from the front and from behind, side by side. Knows no files and no jobs."""

from __future__ import annotations

import io

from PIL import Image

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.render import View, draw
from ai_engine.printing.orientation import y_up

FRONT = View(azimuth_deg=30.0, elevation_deg=18.0)
BACK = View(azimuth_deg=210.0, elevation_deg=18.0)
SIDE_PX = 320


def preview_png(mesh: Mesh, *, is_z_up: bool = False, side_px: int = SIDE_PX) -> bytes:
    """A PNG of two square views of `side_px`; some 80 kB."""
    upright = y_up(mesh) if is_z_up else mesh
    picture = Image.new("RGB", (2 * side_px, side_px))
    for place, view in enumerate((FRONT, BACK)):
        picture.paste(draw(upright, view, side_px), (place * side_px, 0))
    file = io.BytesIO()
    # The smallest file would take ten times as long to pack, for a sixth less.
    picture.save(file, "PNG")
    return file.getvalue()
