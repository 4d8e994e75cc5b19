"""From a picture on a plain ground to the mesh, through the matting file: `python -m training.evaluate_own_mask`.

Held-out shapes and views as in `evaluate`, set on plain grounds at 512 px, cut out by the service's own remover, then
10 steps at the model's own guidance, IoU on a 32-cubed grid. Beside it the same pictures with their true alpha.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ai_engine.images.background import BackgroundRemover, cut_out
from training.composites import PLAIN
from training.evaluate import MODEL, NUM_STEPS, Judge
from training.grounds import random_ground
from training.held_out import REPORT_SEED, Example, examples

SIDE_PX, OBJECT_PX = 512, 448


def on_plain_ground(example: Example, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """The example on a plain ground, RGB, and alone with its true alpha, RGBA; both 512 px."""
    alone = Image.new("RGBA", (SIDE_PX, SIDE_PX))
    margin = (SIDE_PX - OBJECT_PX) // 2
    alone.paste(Image.fromarray(example.picture(OBJECT_PX)), (margin, margin))
    ground = random_ground(rng, SIDE_PX, PLAIN.grounds).clip(0, 1)
    picture = Image.fromarray((ground * 255).astype(np.uint8)).convert("RGBA")
    return Image.alpha_composite(picture, alone).convert("RGB"), alone


def overlap(judge: Judge, example: Example, picture: Image.Image, seed: int) -> float:
    """IoU of the shape made from an RGBA picture."""
    generator = torch.Generator().manual_seed(seed)
    latents = judge.pipeline(picture, NUM_STEPS, generator=generator)
    with torch.no_grad():
        tokens = judge.vae(latents / judge.vae.scale_factor)
        return judge.overlap(example.shape, tokens)


def file_bytes(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def line(name: str, values: list[float]) -> str:
    """Mean and median in one line."""
    found: NDArray[np.float64] = np.array(values)
    return f"{name:12s} {len(found)} pictures   mean IoU {found.mean():.3f}   median {np.median(found):.3f}"


def main() -> None:
    """Prints both lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-family", type=int, default=4)
    options = parser.parse_args()
    judge = Judge(MODEL, has_tiles=False)
    remover = BackgroundRemover("tiny", Path("models/matting"))
    remover.load()
    rng = np.random.default_rng([*REPORT_SEED, 5])
    by_alpha, by_mask = [], []
    for number, example in enumerate(examples(options.per_family, REPORT_SEED)):
        picture, alone = on_plain_ground(example, rng)
        cutout = cut_out(file_bytes(picture), remove="always", remover=remover).to_image()
        by_alpha.append(overlap(judge, example, alone, number))
        by_mask.append(overlap(judge, example, cutout, number))
    print(line("true alpha", by_alpha))
    print(line("own mask", by_mask))


if __name__ == "__main__":
    main()
