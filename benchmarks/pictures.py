"""Pictures to make shapes from: renders of held-out procedural shapes, the same ones every time."""

from __future__ import annotations

from PIL import Image

PICTURE_PX = 384


def held_out(count: int) -> list[Image.Image]:
    """The first shapes of the model card's evaluation, one of each family."""
    from training.held_out import REPORT_SEED, examples

    chosen = examples(1, REPORT_SEED)[:count]
    return [Image.fromarray(example.picture(PICTURE_PX)) for example in chosen]


def ellipse() -> Image.Image:
    """Where the picture does not matter."""
    from PIL import ImageDraw

    image = Image.new("RGBA", (PICTURE_PX, PICTURE_PX))
    ImageDraw.Draw(image).ellipse((80, 100, 300, 280), fill=(200, 120, 60, 255))
    return image
