"""What the model reaches where training does not flatter it: `python -m training.evaluate_unseen`.

Held-out shapes in several sets: by training's own renderer, by the two of `unseen_renders`, by those with proportions
near the ends of training's ranges, and on a plain ground through the embedded background remover. Several guidance
scales on the same pictures and the same noise; give `--model` twice to compare two files. IoU on a 32-cubed grid.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ai_engine.images.background import BackgroundRemover, cut_out
from training.evaluate import MODEL, PICTURE_PX, Judge, truth_mesh
from training.evaluate_own_mask import file_bytes, on_plain_ground
from training.held_out import REPORT_SEED, Example, examples
from training.proportions import outer_shape
from training.renders import random_view
from training.shapes import FAMILY_NAMES, Shape
from training.unseen_renders import STYLES, unseen_picture

UNSEEN_PX, MAX_AZIMUTH_DEG = 256, 25.0
GUIDANCE_SCALES = (2.0, 5.0)
_OUTER_STREAM, _GROUND_STREAM = 6, 7


@dataclass(frozen=True)
class Pictures:
    """How the pictures of the sets are taken."""

    per_family: int
    max_azimuth_deg: float = MAX_AZIMUTH_DEG

    def own(self) -> Iterator[tuple[Shape, Image.Image]]:
        """By training's own renderer."""
        for example in examples(self.per_family, REPORT_SEED):
            yield example.shape, Image.fromarray(example.picture(PICTURE_PX))

    def unseen(self, style: str) -> Iterator[tuple[Shape, Image.Image]]:
        """The same shapes by a renderer that training never saw."""
        for number, example in enumerate(examples(self.per_family, REPORT_SEED)):
            yield example.shape, picture_of(example, style, number, self.max_azimuth_deg)

    def outer(self, style: str) -> Iterator[tuple[Shape, Image.Image]]:
        """Shapes whose proportions lie near the ends of training's ranges, by an unseen renderer."""
        for number, example in enumerate(outer_examples(self.per_family)):
            yield example.shape, picture_of(example, style, number, self.max_azimuth_deg)

    def ground(self) -> Iterator[tuple[Shape, Image.Image]]:
        """On plain grounds, cut out by the embedded remover."""
        remover = BackgroundRemover("tiny", Path("models/matting"))
        remover.load()
        for number, example in enumerate(examples(self.per_family, REPORT_SEED)):
            rng = np.random.default_rng([*REPORT_SEED, _GROUND_STREAM, number])
            picture, _ = on_plain_ground(example, rng)
            yield example.shape, cut_out(file_bytes(picture), remove="always", remover=remover).to_image()


SETS: dict[str, Callable[[Pictures], Iterator[tuple[Shape, Image.Image]]]] = {
    "own": Pictures.own,
    "shaded": lambda pictures: pictures.unseen("shaded"),
    "drawn": lambda pictures: pictures.unseen("drawn"),
    "outer-shaded": lambda pictures: pictures.outer("shaded"),
    "outer-drawn": lambda pictures: pictures.outer("drawn"),
    "ground": Pictures.ground,
}


def outer_examples(per_family: int) -> list[Example]:
    """`per_family` shapes of every family with proportions near the ends of training's ranges."""
    made = []
    for family, name in enumerate(FAMILY_NAMES):
        for i in range(per_family):
            rng = np.random.default_rng([*REPORT_SEED, _OUTER_STREAM, family, i])
            made.append(Example(outer_shape(rng, name), random_view(rng)))
    return made


def picture_of(example: Example, style: str, number: int, max_azimuth_deg: float) -> Image.Image:
    """The example by an unseen renderer; camera and colour follow from its number."""
    mesh = truth_mesh(example.shape)
    triangles = mesh.vertices.astype(np.float64)[mesh.faces]
    rng = np.random.default_rng([*REPORT_SEED, STYLES.index(style), number])
    return Image.fromarray(unseen_picture(triangles, style, rng, max_azimuth_deg, UNSEEN_PX))


@torch.no_grad()
def overlap_of(judge: Judge, shape: Shape, picture: Image.Image, number: int, guidance: float) -> float:
    """IoU of the shape that the picture gives; the noise follows from the number."""
    return judge.overlap(shape, judge.tokens(picture, number, guidance))


def print_families(families: list[str], overlap: NDArray[np.float64], heads: list[str]) -> None:
    """One row a family with a mean per column of overlap [n, columns], then all."""
    print(f"  {'':12s}" + "".join(f"{head:>14s}" for head in heads))
    for name in [*FAMILY_NAMES, "all"]:
        mine = overlap[[name in (family, "all") for family in families]]
        print(f"  {name:12s}" + "".join(f"{value:14.3f}" for value in mine.mean(0)), flush=True)


def main() -> None:
    """Prints a table per set: a row a family, a column per model and guidance scale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, action="append")
    parser.add_argument("--set", choices=sorted(SETS), action="append", dest="sets")
    parser.add_argument("--per-family", type=int, default=8)
    parser.add_argument("--guidance", type=float, nargs="+", default=GUIDANCE_SCALES)
    parser.add_argument("--max-azimuth-deg", type=float, default=MAX_AZIMUTH_DEG)
    options = parser.parse_args()
    models: list[Path] = options.model or [MODEL]
    judges = [Judge(model, has_tiles=False) for model in models]
    heads = [f"{path.stem} g{scale:g}" for path in models for scale in options.guidance]
    pictures = Pictures(options.per_family, options.max_azimuth_deg)
    for name in options.sets or SETS:
        families, rows = [], []
        for number, (shape, picture) in enumerate(SETS[name](pictures)):
            families.append(shape.family)
            rows.append([overlap_of(j, shape, picture, number, g) for j in judges for g in options.guidance])
        print(f"{name}, {len(rows)} shapes, azimuth within {options.max_azimuth_deg:g} degrees")
        print_families(families, np.array(rows), heads)


if __name__ == "__main__":
    main()
