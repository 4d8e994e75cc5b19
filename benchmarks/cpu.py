"""The embedded model on one core, picture file to STL, and where the time goes.

The stages are the service's own functions, called in a row in one process.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image
from torch import Tensor

from ai_engine.images.background import cut_out, open_remover
from ai_engine.job import JobOptions
from ai_engine.mesh_files.mesh_file import through_stl
from ai_engine.pipeline.shape_model import ShapeModel
from ai_engine.printing.prepare import finish
from ai_engine.printing.preview import preview_png
from ai_engine.settings import Settings
from ai_engine.stage import Stage
from benchmarks.measuring import Asked, Table
from benchmarks.pictures import held_out

NUM_PICTURES = 5
STAGES = ("read, cut out", "encode, denoise", "decode, extract", "finish, write STL, report", "preview")


class Line:
    """The stages between a picture's bytes and the files that are delivered."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.remover = open_remover(settings.matting_model, settings.matting_home)
        if self.remover is not None:
            self.remover.load()
        self.model = ShapeModel.load(settings)

    def make_ready(self) -> None:
        self.model = self.model.make_ready(self.settings)

    def run(self, picture: Image.Image, resolution: int, steps: int | None = None) -> dict[str, float]:
        """Processor seconds of each stage. The background is removed from the picture on grey ground."""
        clock = [time.process_time()]

        def lap() -> None:
            clock.append(time.process_time())

        cutout = cut_out(_file(picture), remove="always", remover=self.remover)
        lap()
        options = JobOptions(seed=0, num_inference_steps=steps, octree_resolution=resolution)
        shape = self.model.generate(cutout.rgba, options, _lap_after_denoising(lap))
        lap()
        with tempfile.TemporaryDirectory() as folder:
            finished, _ = finish(shape.mesh, see=lambda mesh: through_stl(mesh, Path(folder) / "mesh.stl"))
        lap()
        preview_png(finished)
        lap()
        return dict(zip(STAGES, (after - now for now, after in pairwise(clock)), strict=True))


def tables(asked: Asked) -> Iterator[Table]:
    resolution = asked.resolution or 128
    begun_s = time.process_time()
    line = Line(Settings(device="cpu"))
    line.make_ready()
    ready_s = time.process_time() - begun_s
    pictures = held_out(NUM_PICTURES + 1)
    line.run(pictures[0], resolution, asked.steps)
    runs = [line.run(picture, resolution, asked.steps) for picture in pictures[1:]]
    total = median(sum(run.values()) for run in runs)
    rows = [
        (stage, f"{(cost := median(run[stage] for run in runs)):.3f}", f"{100 * cost / total:.0f} %")
        for stage in STAGES
    ]
    in_network = _network_share(line, pictures[1], resolution, asked.steps)
    steps = asked.steps or line.model.model.defaults.num_steps
    yield Table(
        f"The embedded model on one core: {steps} steps, octree {resolution}",
        ("stage", "CPU s", "share"),
        (*rows, ("all", f"{total:.3f}", "")),
        f"Medians over {NUM_PICTURES} held-out pictures, after one warm job. Load and warm-up: {ready_s:.2f} CPU s. Of "
        f"decoding and extraction {100 * in_network:.0f} % are spent in the network.",
    )


def _network_share(line: Line, picture: Image.Image, resolution: int, steps: int | None) -> float:
    """The share of decoding and extraction in which the network is asked."""
    vae, spent_s = line.model.model.family.vae, 0.0

    def ask(*arguments: Tensor) -> Tensor:
        nonlocal spent_s
        begun_s = time.process_time()
        logits = vae.geometry(*arguments)
        spent_s += time.process_time() - begun_s
        return logits

    vae.execution = replace(vae.execution, query=ask)
    seconds = line.run(picture, resolution, steps)
    vae.execution = replace(vae.execution, query=None)
    return spent_s / seconds["decode, extract"]


def _lap_after_denoising(lap: Callable[[], None]) -> Callable[[Stage, int, int], None]:
    def progress(stage: Stage, done: int, total: int) -> None:
        if stage == Stage.DENOISE and done == total:
            lap()

    return progress


def _file(picture: Image.Image) -> bytes:
    """A PNG without transparency, as a photograph comes."""
    ground: Any = Image.new("RGBA", picture.size, (190, 195, 200, 255))
    file = io.BytesIO()
    Image.alpha_composite(ground, picture).convert("RGB").save(file, "PNG")
    return file.getvalue()
