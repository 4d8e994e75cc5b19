"""How well the matting file separates objects it never saw: `python -m training.evaluate_matting`.

Runs through the service's own door to rembg (`u2net_custom`, mask only) on held-out composites at 512 px, seeded.
`--onnx FILE` measures another file of the kind; `--grid FILE.png` draws pictures beside their masks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ai_engine.images.background import BackgroundRemover
from training.composites import KINDS, Composite
from training.held_out_composites import REPORT_SEED, held_out_composites
from training.shapes import FAMILY_NAMES

SIDE_PX = 512
PER_FAMILY = 6
GRID_PX, GRID_COLUMNS = 128, 6


@dataclass(frozen=True)
class Score:
    """One mask against the truth."""

    overlap: float
    clear_share: float
    """Share of the true background where the mask is exactly 0."""


def score(mask: NDArray[np.uint8], alpha: NDArray[np.float32]) -> Score:
    """IoU of what is more than half opaque, and how much of the true background is exactly clear."""
    found, true, ground = mask > 127, alpha > 0.5, alpha == 0
    either = (found | true).sum()
    return Score(float((found & true).sum() / max(either, 1)), float((mask[ground] == 0).mean()))


def open_remover(onnx: Path | None) -> BackgroundRemover:
    """The service's remover, with another file if one is given."""
    remover = BackgroundRemover("tiny", Path(__file__).parents[1] / "models" / "matting")
    if onnx is not None:
        remover.weights_path = onnx.absolute()
    remover.load()
    return remover


def _line(name: str, scores: Sequence[Score], seconds: float) -> str:
    overlaps = np.array([s.overlap for s in scores])
    clear = np.mean([s.clear_share for s in scores])
    return (
        f"{name:16s} {len(scores):4d}   {overlaps.mean():.3f}  {np.median(overlaps):.3f}  "
        f"{(overlaps > 0.8).mean():.2f}  {(overlaps > 0.9).mean():.2f}  {clear:.4f}   {seconds / len(scores) * 1e3:.0f}"
    )


def _by_family(scores: Sequence[Score]) -> str:
    names = FAMILY_NAMES
    means = sorted(
        (float(np.mean([s.overlap for s in scores[i :: len(names)]])), n) for i, n in enumerate(names)
    )
    return " ".join(f"{name} {mean:.2f}" for mean, name in means)


def draw_grid(pairs: Sequence[tuple[Composite, NDArray[np.uint8]]], path: Path) -> None:
    """Writes pictures, each with its mask on its right."""
    cells = [
        np.hstack(
            [cv2.resize(a, (GRID_PX, GRID_PX), interpolation=cv2.INTER_AREA) for a in (one.picture, grey)]
        )
        for one, mask in pairs
        for grey in [cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB)]
    ]
    rows = [
        np.hstack(cells[i : i + GRID_COLUMNS]) for i in range(0, len(cells) - GRID_COLUMNS + 1, GRID_COLUMNS)
    ]
    Image.fromarray(np.vstack(rows)).save(path)


def main() -> None:
    """Prints one line per set of pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--grid", type=Path)
    parser.add_argument("--per-family", type=int, default=PER_FAMILY)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    count = options.per_family * len(FAMILY_NAMES)
    # Drawn before rembg is loaded: its import may switch numba's compiler off for the whole process.
    sets = {kind: held_out_composites(REPORT_SEED, count, SIDE_PX, kind) for kind in KINDS}
    sets["busy, no family"] = held_out_composites(REPORT_SEED, count // 3, SIDE_PX, "busy", is_union=True)
    remover = open_remover(options.onnx)
    print("ground          count  IoU mean median  >0.8  >0.9  clear    ms")
    shown = []
    for name, composites in sets.items():
        started = time.process_time()
        masks = [remover.mask(Image.fromarray(one.picture)) for one in composites]
        seconds = time.process_time() - started
        scores = [score(mask, one.alpha) for mask, one in zip(masks, composites, strict=True)]
        print(_line(name, scores, seconds))
        if not name.endswith("family"):
            print("   ", _by_family(scores))
        shown += list(zip(composites, masks, strict=True))[: 6 * GRID_COLUMNS]
    if options.grid:
        draw_grid(shown, options.grid)


if __name__ == "__main__":
    main()
