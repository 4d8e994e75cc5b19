"""Background removal on the CPU: seconds a picture, of every matting model whose file is there.

`MATTING_HOME` names the folder of the published models. Pictures are the photographs that come with scikit-image.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

import skimage.data
from PIL import Image

from ai_engine.images.background import MATTING_MODELS, BackgroundRemover, Refinement
from ai_engine.settings import Settings
from benchmarks.measuring import Asked, Table

PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "astronaut")
THREADS = (1, 2)


def tables(asked: Asked) -> Iterator[Table]:
    """One row a model and number of threads."""
    pictures = [Image.fromarray(getattr(skimage.data, name)()) for name in PHOTOGRAPHS]
    rows: list[tuple[str, ...]] = []
    for name in MATTING_MODELS:
        refinements: tuple[Refinement, ...] = ("grabcut", "none") if name == "tiny" else ("none",)
        for refine in refinements:
            for num_threads in THREADS:
                row = _row(name, refine, num_threads, pictures, asked.rounds or 2)
                rows += [row] if row else []
    yield Table(
        "Background removal, one picture",
        ("matting model", "MATTING_REFINE", "MATTING_THREADS", "wall s", "CPU s"),
        tuple(rows),
    )


def _row(
    name: str, refine: Refinement, num_threads: int, pictures: list[Image.Image], num_rounds: int
) -> tuple[str, ...] | None:
    """None where the model's file is missing."""
    remover = BackgroundRemover(name, Settings().matting_home, refine=refine, num_threads=num_threads)
    if not remover.weights_path.is_file():
        return None
    remover.mask(pictures[0])
    walls, cpus = [], []
    for picture in num_rounds * pictures:
        wall, cpu = time.perf_counter(), time.process_time()
        remover.mask(picture)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return name, refine, str(num_threads), f"{median(walls):.2f}", f"{median(cpus):.2f}"
