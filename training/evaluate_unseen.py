"""What the model reaches on pictures by renderers that training never saw: `python -m training.evaluate_unseen`.

Held-out shapes as in `evaluate`, drawn by `unseen_renders`; several guidance scales on the same pictures and the
same noise. Give `--model` twice to compare two files. IoU on a 32-cubed grid.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from training.evaluate import MODEL, NUM_STEPS, Judge, truth_mesh
from training.held_out import REPORT_SEED, Example, examples
from training.shapes import FAMILY_NAMES
from training.unseen_renders import STYLES, unseen_picture

PICTURE_PX, MAX_AZIMUTH_DEG = 256, 25.0
GUIDANCE_SCALES = (2.0, 5.0)


def picture_of(example: Example, style: str, number: int, max_azimuth_deg: float) -> Image.Image:
    """The example by an unseen renderer; camera and colour follow from its number."""
    mesh = truth_mesh(example.shape)
    triangles = mesh.vertices.astype(np.float64)[mesh.faces]
    rng = np.random.default_rng([*REPORT_SEED, STYLES.index(style), number])
    return Image.fromarray(unseen_picture(triangles, style, rng, max_azimuth_deg, PICTURE_PX))


@torch.no_grad()
def overlap_of(judge: Judge, example: Example, picture: Image.Image, number: int, guidance: float) -> float:
    """IoU of the shape that the picture gives; the noise follows from the number."""
    latents = judge.pipeline(
        picture,
        num_inference_steps=NUM_STEPS,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(number),
    )
    return judge.overlap(example.shape, judge.vae(latents / judge.vae.scale_factor))  # type: ignore[operator]


def print_families(families: list[str], overlap: NDArray[np.float64], heads: list[str]) -> None:
    """One row a family with a mean per column of overlap [n, columns], then all."""
    print(f"  {'':12s}" + "".join(f"{head:>14s}" for head in heads))
    for name in [*FAMILY_NAMES, "all"]:
        mine = overlap[[name in (family, "all") for family in families]]
        print(f"  {name:12s}" + "".join(f"{value:14.3f}" for value in mine.mean(0)))


def main() -> None:
    """Prints a table per style: a row a family, a column per model and guidance scale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, action="append")
    parser.add_argument("--per-family", type=int, default=8)
    parser.add_argument("--max-azimuth-deg", type=float, default=MAX_AZIMUTH_DEG)
    options = parser.parse_args()
    models: list[Path] = options.model or [MODEL]
    judges = [Judge(model, has_tiles=False) for model in models]
    chosen = examples(options.per_family, REPORT_SEED)
    heads = [f"{path.stem} g{scale:g}" for path in models for scale in GUIDANCE_SCALES]
    for style in STYLES:
        rows = []
        for number, example in enumerate(chosen):
            picture = picture_of(example, style, number, options.max_azimuth_deg)
            rows.append([overlap_of(j, example, picture, number, g) for j in judges for g in GUIDANCE_SCALES])
        print(
            f"{style}, {len(chosen)} shapes, azimuth within {options.max_azimuth_deg:g} degrees", flush=True
        )
        print_families([e.shape.family for e in chosen], np.array(rows), heads)


if __name__ == "__main__":
    main()
