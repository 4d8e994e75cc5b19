"""Makes the pictures of README and docs: `make pictures`, or `python -m examples.readme_pictures [name ...]`.

`demo` is docs/demo.png, each example picture, its cut-out and its mesh by the embedded models, as `make demo` makes it.
`variants` is docs/variants.png, one mesh of the embedded model and what variants of its job have added.
`photographs` is docs/photographs.png, two photographs of scikit-image through ISNet; `MATTING_HOME` names its folder.
The studio's pictures are taken by its own test: `STUDIO_SCREENSHOTS=1 pytest tests/e2e/test_studio.py -k readme`.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ai_engine.images.background import BackgroundRemover, cut_out
from ai_engine.images.cutout import Cutout
from ai_engine.mesh.mesh import Mesh
from ai_engine.settings import Settings
from ai_engine.wishes.additions import Attach, Base, Hollow
from ai_engine.wishes.print_options import PrintOptions

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = Path(__file__).parent / "pictures"
EXAMPLES = ("vase", "mug", "rocket")
PHOTOGRAPHS = ("chelsea", "rocket")
CELL_PX, GAP_PX, SQUARE_PX = 360, 8, 16
SEED, OCTREE_CELLS = 3, 128
PAPER = (250, 250, 248)
VARIANTS = (
    PrintOptions(height_mm=80),
    PrintOptions(height_mm=80, base=Base("round", height_mm=12, text="Apollo 11")),
    PrintOptions(height_mm=80, base=Base("hex", height_mm=12, text="LUNA", text_style="embossed")),
    PrintOptions(height_mm=80, hollow=Hollow(2.0), base=Base("square", height_mm=6)),
    PrintOptions(height_mm=80, attach=Attach("keyring", 6, 4)),
)


def demo() -> Image.Image:
    """One row an example: picture, cut-out, mesh from the front and from behind."""
    from ai_engine.job import JobOptions
    from ai_engine.mesh.render import View, draw
    from ai_engine.pipeline.shape_model import ShapeModel

    settings = Settings(device="cpu")
    model = ShapeModel.load(settings).make_ready(settings)
    remover = BackgroundRemover("tiny", settings.matting_home)
    rows = []
    for name in EXAMPLES:
        file = PICTURES / f"{name}.png"
        cutout = cut_out(file.read_bytes(), remove="always", remover=remover)
        options = JobOptions(seed=SEED, octree_resolution=OCTREE_CELLS)
        mesh = model.generate(cutout.rgba, options, lambda *_: None).mesh
        views = [draw(mesh, View(azimuth_deg=turn), CELL_PX) for turn in (20.0, 200.0)]
        rows.append([Image.open(file), _on_squares(cutout), *views])
    return _sheet(rows)


def variants() -> Image.Image:
    """One row: the mesh, on two bases, hollow (cut open), and with a ring."""
    from ai_engine.job import JobOptions
    from ai_engine.pipeline.shape_model import ShapeModel
    from ai_engine.printing.prepare import finish

    settings = Settings(device="cpu")
    model = ShapeModel.load(settings).make_ready(settings)
    picture = (PICTURES / "rocket.png").read_bytes()
    cutout = cut_out(picture, remove="always", remover=BackgroundRemover("tiny", settings.matting_home))
    options = JobOptions(seed=SEED, octree_resolution=OCTREE_CELLS)
    mesh = model.generate(cutout.rgba, options, lambda *_: None).mesh
    row = [_drawn(finish(mesh, wishes)[0], is_cut=wishes.hollow is not None) for wishes in VARIANTS]
    return _sheet([row])


def _drawn(mesh: Mesh, *, is_cut: bool) -> Image.Image:
    """The finished mesh from the front; its front half away where it is cut."""
    from ai_engine.additions.solid import mesh_of, solid_of
    from ai_engine.mesh.render import View, draw
    from ai_engine.printing.orientation import y_up

    shown = mesh_of(solid_of(mesh).trim_by_plane((0.0, 1.0, 0.0), 0.0)) if is_cut else mesh
    return draw(y_up(shown), View(azimuth_deg=8.0 if is_cut else 14.0, elevation_deg=14.0), CELL_PX)


def photographs() -> Image.Image:
    """One row a photograph: as it is, its cut-out, and in red what of the object was recoloured."""
    import skimage.data

    remover = BackgroundRemover("isnet-general-use", Settings().matting_home)
    rows = []
    for name in PHOTOGRAPHS:
        source = getattr(skimage.data, name)()
        file = io.BytesIO()
        Image.fromarray(source).save(file, "PNG")
        cutout = cut_out(file.getvalue(), remove="always", remover=remover)
        rows.append([Image.fromarray(source), _on_squares(cutout), _recoloured(source, cutout)])
    return _sheet(rows)


def _recoloured(source: NDArray[np.uint8], cutout: Cutout) -> Image.Image:
    """The photograph in grey; red where the cut-out has another colour than it."""
    grey = np.repeat(source.mean(axis=2, keepdims=True) * 0.5 + 100, 3, axis=2).astype(np.uint8)
    is_changed = (cutout.alpha > 0) & np.any(cutout.rgba[..., :3] != source, axis=2)
    grey[is_changed] = (220, 30, 30)
    return Image.fromarray(grey)


def _on_squares(cutout: Cutout) -> Image.Image:
    """The cut-out on the squares that stand for transparency."""
    height, width = cutout.alpha.shape
    rows, columns = np.arange(height) // SQUARE_PX, np.arange(width) // SQUARE_PX
    level = np.where((rows[:, None] + columns) % 2, 222, 246).astype(np.uint8)
    ground = Image.fromarray(np.repeat(level[..., None], 3, axis=2)).convert("RGBA")
    return Image.alpha_composite(ground, cutout.to_image())


def _sheet(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """The pictures in rows, each fitted to the same width."""
    fitted = [
        [one.convert("RGB").resize((CELL_PX, round(CELL_PX * one.height / one.width))) for one in row]
        for row in rows
    ]
    heights = [max(one.height for one in row) + GAP_PX for row in fitted]
    width = GAP_PX + max(len(row) for row in fitted) * (CELL_PX + GAP_PX)
    sheet = Image.new("RGB", (width, GAP_PX + sum(heights)), PAPER)
    for number, row in enumerate(fitted):
        top = GAP_PX + sum(heights[:number])
        for column, one in enumerate(row):
            sheet.paste(one, (GAP_PX + column * (CELL_PX + GAP_PX), top))
    return sheet


MAKERS: dict[str, Callable[[], Image.Image]] = {
    "demo": demo,
    "variants": variants,
    "photographs": photographs,
}


def main() -> None:
    """Makes the pictures that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MAKERS, []], default=[])
    for name in parser.parse_args().names or MAKERS:
        MAKERS[name]().save(DOCS / f"{name}.png", optimize=True)
        print(DOCS / f"{name}.png")


if __name__ == "__main__":
    main()
