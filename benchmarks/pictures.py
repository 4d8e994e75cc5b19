"""Pictures to make shapes from: renders of held-out procedural shapes, the same ones every time."""

from __future__ import annotations

from PIL import Image

PICTURE_PX = 384


def held_out(count: int) -> list[Image.Image]:
    """The first shapes of the model card's evaluation, one of each family."""
    from training.held_out import REPORT_SEED, examples

    chosen = examples(1, REPORT_SEED)[:count]
    return [Image.fromarray(example.picture(PICTURE_PX)) for example in chosen]


def held_out_meshes(count: int) -> list[Image.Image]:
    """The second shapes of that evaluation, drawn by the product's mesh renderer, which training never saw."""
    import numpy as np

    from ai_engine.mesh.mesh import Mesh
    from ai_engine.mesh.render import View, draw
    from training.evaluate import truth_mesh
    from training.held_out import REPORT_SEED, examples

    chosen = examples(2, REPORT_SEED)[1::2][:count]
    backdrop = np.asarray(
        draw(Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)), View(), PICTURE_PX)
    )
    pictures = []
    for number, example in enumerate(chosen):
        truth = truth_mesh(example.shape)
        view = View(azimuth_deg=-30.0 + 60.0 * number / max(1, count - 1), elevation_deg=18.0)
        pixels = np.asarray(draw(Mesh(truth.vertices, truth.faces), view, PICTURE_PX))
        alpha = np.where((pixels != backdrop).any(-1), 255, 0).astype(np.uint8)
        pictures.append(Image.fromarray(np.dstack([pixels, alpha])))
    return pictures


def ellipse() -> Image.Image:
    """Where the picture does not matter."""
    from PIL import ImageDraw

    image = Image.new("RGBA", (PICTURE_PX, PICTURE_PX))
    ImageDraw.Draw(image).ellipse((80, 100, 300, 280), fill=(200, 120, 60, 255))
    return image
