"""Options that are off by default: what each saves, and how far its shapes are from the exact ones.

The embedded model on held-out pictures; same noise. Overlap (IoU) of what is inside, on a grid of points.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measuring import Asked, Row, Table
from benchmarks.pictures import held_out
from benchmarks.published import EMBEDDED
from hy3dgen.families.hunyuan3d_2 import FRAME
from hy3dgen.families.velocity import SamplingOptions
from hy3dgen.networks.stream_dit import Modulation
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline
from hy3dgen.weights.float8 import use_float8

NUM_PICTURES, GRID_SIDE, STEPS = 18, 48, 50

Make = Callable[[], Hunyuan3DDiTFlowMatchingPipeline]


def tables(asked: Asked) -> Iterator[Table]:
    steps = asked.steps or STEPS
    pictures = held_out(NUM_PICTURES)
    load = partial(_load, asked.device)
    plain = load()
    exact, seconds = _shapes(asked, plain, pictures, steps, SamplingOptions())
    rows = [_row("exact", exact, exact, seconds, seconds)]
    for name, make, options, num_steps in _ways(load, plain, steps):
        found, taken = _shapes(asked, make(), pictures, num_steps, options)
        rows.append(_row(name, found, exact, taken, seconds))
    yield Table(
        f"Options, embedded model, {steps} steps, {len(pictures)} pictures, {asked.device.type}",
        ("", "mean IoU with exact", "lowest", f"denoising, {asked.unit} a picture", "of exact"),
        tuple(rows),
        "Seconds of float8 and bfloat16 on a CPU say nothing of a GPU, which multiplies those faster.",
    )


def _ways(
    load: Make, plain: Hunyuan3DDiTFlowMatchingPipeline, steps: int
) -> Iterator[tuple[str, Make, SamplingOptions, int]]:
    same = lambda: plain  # noqa: E731
    exact = SamplingOptions()
    yield "pair in one batch", same, SamplingOptions("batched"), steps
    for between in ((0.1, 0.9), (0.2, 0.8), (0.0, 0.5)):
        yield f"guidance between {between}", same, SamplingOptions(guidance_between=between), steps
    for every in (2, 3, 5):
        yield f"guidance at every {every}th step", same, SamplingOptions(guidance_every=every), steps
    yield "half the steps", same, exact, steps // 2
    yield "bfloat16", partial(load, dtype=torch.bfloat16), exact, steps
    yield "float8 matrices", lambda: _with_float8(load()), exact, steps
    yield "weights kept in float8, computed in float32", lambda: _rounded_weights(load()), exact, steps


def _load(device: torch.device, dtype: torch.dtype = torch.float32) -> Hunyuan3DDiTFlowMatchingPipeline:
    return Hunyuan3DDiTFlowMatchingPipeline.from_single_file(Path(EMBEDDED), device, dtype)[0]


def _with_float8(pipeline: Hunyuan3DDiTFlowMatchingPipeline) -> Hunyuan3DDiTFlowMatchingPipeline:
    use_float8(pipeline.dit.blocks, Modulation)
    return pipeline


def _rounded_weights(pipeline: Hunyuan3DDiTFlowMatchingPipeline) -> Hunyuan3DDiTFlowMatchingPipeline:
    """As layerwise casting keeps them: all matrices of the denoiser rounded to float8, without scales."""
    for parameter in pipeline.dit.parameters():
        if parameter.ndim == 2:
            parameter.copy_(parameter.to(torch.float8_e4m3fn).to(parameter.dtype))
    return pipeline


@torch.no_grad()
def _shapes(
    asked: Asked,
    pipeline: Hunyuan3DDiTFlowMatchingPipeline,
    pictures: list,
    steps: int,
    options: SamplingOptions,
) -> tuple[list[Tensor], float]:
    """Which points of the grid are inside, for each picture, and the median seconds of denoising."""
    axis = torch.linspace(-FRAME.half_extent, FRAME.half_extent, GRID_SIDE, device=asked.device)
    points = torch.cartesian_prod(axis, axis, axis)[None]
    inside, seconds = [], []
    for number, picture in enumerate(pictures):
        generator = torch.Generator().manual_seed(number)
        begun = asked.now()
        latents = pipeline(picture, num_inference_steps=steps, generator=generator, sampling=options)
        seconds.append(asked.now() - begun)
        tokens = pipeline.vae(latents / pipeline.vae.scale_factor)
        inside.append(pipeline.vae.query_geometry(points, tokens)[0] > 0)
    return inside, statistics.median(seconds)


def _row(name: str, found: list[Tensor], exact: list[Tensor], seconds: float, base: float) -> Row:
    overlaps = [float((a & b).sum() / (a | b).sum()) for a, b in zip(found, exact, strict=True)]
    shown = (f"{statistics.mean(overlaps):.4f}", f"{min(overlaps):.4f}")
    return (name, *shown, f"{seconds:.3f}", f"{100 * seconds / base:.0f} %")
