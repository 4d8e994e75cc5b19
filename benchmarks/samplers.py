"""How close each sampler comes to the exact flow, by network calls: latents and shapes of the embedded model.

36 held-out shapes, half of them drawn by the renderer of training, half by the product's mesh renderer, which
training never saw. The exact flow is taken with EXACT_CALLS steps of the two-step method. Distance of the latents:
root mean square of the difference over that of the exact ones. Overlap (IoU): of what is inside, on a grid of points.
Each row is written to stderr as soon as it is there: a whole run takes some ten minutes.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmarks.measuring import Asked, Row, Table
from benchmarks.pictures import held_out, held_out_meshes
from benchmarks.published import EMBEDDED
from hy3dgen.families.velocity import SamplingOptions, velocity_for
from hy3dgen.sampling import ADAMS_GRID_POWER, adams, adams_times, euler, flow_times
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline

PER_RENDERER, GRID_SIDE, HALF_SIDE = 18, 28, 1.01
EXACT_CALLS = 200
GUIDANCE = (5.0, 2.0, 7.0)

EXACT_GUIDANCE = SamplingOptions()


@dataclass(frozen=True)
class Way:
    """A sampler on a grid: latents of a noise and a picture's context."""

    name: str
    method: Callable[..., Tensor]
    times: Tensor
    sampling: SamplingOptions = EXACT_GUIDANCE

    @property
    def num_calls(self) -> int:
        """Of the network's conditional side."""
        return int((self.times.diff() != 0).sum())


def even(num_calls: int) -> Tensor:
    return torch.linspace(0, 1, num_calls + 1)


def bent(num_calls: int, power: float) -> Tensor:
    """Denser early for `power` above 1."""
    return even(num_calls) ** power


def half_first(num_calls: int) -> Tensor:
    """Equal steps but for the first, of half their length."""
    ends = torch.arange(1, num_calls + 1) - 0.5
    return torch.cat([torch.zeros(1), ends / ends[-1]])


def ways() -> Iterator[Way]:
    yield Way("Euler, published 50 steps", euler, flow_times(50))
    yield Way("Euler, even grid", euler, even(20))
    for calls in (16, 12, 20, 14, 10, 8, 24, 6):
        yield Way(f"Adams, the product's grid, t^{ADAMS_GRID_POWER}", adams, adams_times(calls))
    for calls in (12, 16):
        yield Way("Adams, even grid", adams, even(calls))
        yield Way("Adams, first step of half the length", adams, half_first(calls))
    yield Way("Adams, grid t^1.5", adams, bent(16, 1.5))
    every_other = SamplingOptions(guidance_every=2)
    yield Way("Adams, the product's grid, guidance every 2", adams, adams_times(16), every_other)


def tables(asked: Asked) -> Iterator[Table]:
    pipeline, _ = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
        Path(EMBEDDED), asked.device, torch.float32
    )
    pictures = held_out(PER_RENDERER) + held_out_meshes(PER_RENDERER)
    for scale in GUIDANCE:
        yield _table(asked, pipeline, pictures, scale)


@torch.no_grad()
def _table(
    asked: Asked, pipeline: Hunyuan3DDiTFlowMatchingPipeline, pictures: list[Image.Image], scale: float
) -> Table:
    contexts = torch.cat([pipeline.encode(picture) for picture in pictures])
    solve = partial(_solve, pipeline, contexts, scale)
    exact = solve(Way("exact", adams, even(EXACT_CALLS)))
    inside = _inside(pipeline, exact)
    rows = []
    for way in ways():
        rows.append(_row(way, solve(way), exact, inside, pipeline))
        print(f"guidance {scale:g}: {' | '.join(rows[-1])}", file=sys.stderr, flush=True)
    weights = hashlib.sha256(Path(EMBEDDED).read_bytes()).hexdigest()[:12]
    return Table(
        f"Samplers, embedded model, guidance {scale:g}, {len(pictures)} pictures, {asked.device.type}",
        ("", "calls", "latents off, mean", "most", "mean IoU", "lowest", "IoU of either renderer"),
        tuple(rows),
        f"Against {EXACT_CALLS} calls of the two-step method; weights {weights}.",
    )


def _row(
    way: Way, found: Tensor, exact: Tensor, inside: Tensor, pipeline: Hunyuan3DDiTFlowMatchingPipeline
) -> Row:
    off = (found - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    there = _inside(pipeline, found)
    overlaps = ((there & inside).sum(1) / (there | inside).sum(1).clamp(min=1)).tolist()
    halves = [statistics.mean(overlaps[:PER_RENDERER]), statistics.mean(overlaps[PER_RENDERER:])]
    return (
        way.name,
        str(way.num_calls),
        f"{off.mean():.4f}",
        f"{off.max():.4f}",
        f"{statistics.mean(overlaps):.4f}",
        f"{min(overlaps):.4f}",
        " / ".join(f"{one:.4f}" for one in halves),
    )


def _solve(pipeline: Hunyuan3DDiTFlowMatchingPipeline, contexts: Tensor, scale: float, way: Way) -> Tensor:
    """The latents [pictures, tokens, channels] of contexts [pictures, context, width], each from its own noise."""
    noise = torch.cat(
        [pipeline.noise(torch.Generator().manual_seed(number)) for number in range(len(contexts))]
    )
    velocity = velocity_for(pipeline.dit, contexts, way.times, scale, way.sampling)
    return way.method(noise, way.times, velocity)


def _inside(pipeline: Hunyuan3DDiTFlowMatchingPipeline, latents: Tensor) -> Tensor:
    """Which points of a grid over the whole box are inside: [pictures, points]."""
    axis = torch.linspace(-HALF_SIDE, HALF_SIDE, GRID_SIDE, device=latents.device)
    points = torch.cartesian_prod(axis, axis, axis)[None]
    tokens = pipeline.vae(latents / pipeline.vae.scale_factor)
    return torch.cat([pipeline.vae.query_geometry(points, one[None]) > 0 for one in tokens])
