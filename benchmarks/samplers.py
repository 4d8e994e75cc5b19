"""How close each sampler comes to the exact flow, by network calls: latents and shapes of the embedded model.

36 held-out shapes, half of them drawn by the renderer of training, half by the product's mesh renderer, which
training never saw. The exact flow is taken with EXACT_CALLS steps of the two-step method. Distance of the latents:
root mean square of the difference over that of the exact ones. Overlap (IoU): of what is inside, on a grid of points.
"""

from __future__ import annotations

import statistics
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
from hy3dgen.sampling import adams, adams_times, euler, flow_times
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline

PER_RENDERER, GRID_SIDE, HALF_SIDE = 18, 40, 1.01
EXACT_CALLS = 400
GUIDANCE = (2.0, 5.0, 7.0)
CALLS = (6, 8, 10, 12, 14, 16, 20, 24)

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


def ways() -> Iterator[Way]:
    yield Way("Euler, published 50 steps", euler, flow_times(50))
    for calls in (20, 30):
        yield Way("Euler, even grid", euler, even(calls))
    for calls in CALLS:
        yield Way("Adams, even grid", adams, even(calls))
    for calls in CALLS:
        yield Way("Adams, first step of half the length", adams, adams_times(calls))
    for power in (0.8, 1.25, 1.5):
        yield Way(f"Adams, grid t^{power}", adams, bent(16, power))
    for calls in (12, 16):
        for every in (2, 3):
            options = SamplingOptions(guidance_every=every)
            yield Way(f"Adams, half first step, guidance every {every}", adams, adams_times(calls), options)


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
    contexts = [pipeline.encode(picture) for picture in pictures]
    solve = partial(_solve, pipeline, contexts, scale)
    exact = solve(Way("exact", adams, adams_times(EXACT_CALLS)))
    inside = [_inside(pipeline, one) for one in exact]
    rows = []
    for way in ways():
        found = solve(way)
        off = [float((a - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]
        overlaps = [_overlap(_inside(pipeline, a), b) for a, b in zip(found, inside, strict=True)]
        halves = [statistics.mean(overlaps[:PER_RENDERER]), statistics.mean(overlaps[PER_RENDERER:])]
        rows.append(
            Row(
                (
                    way.name,
                    str(way.num_calls),
                    f"{statistics.mean(off):.4f}",
                    f"{max(off):.4f}",
                    f"{statistics.mean(overlaps):.4f}",
                    f"{min(overlaps):.4f}",
                    " / ".join(f"{one:.4f}" for one in halves),
                )
            )
        )
    return Table(
        f"Samplers, embedded model, guidance {scale:g}, {len(pictures)} pictures, {asked.device.type}",
        ("", "calls", "latents off, mean", "most", "mean IoU", "lowest", "IoU of either renderer"),
        tuple(rows),
        f"Against {EXACT_CALLS} calls of the two-step method.",
    )


def _solve(
    pipeline: Hunyuan3DDiTFlowMatchingPipeline, contexts: list[Tensor], scale: float, way: Way
) -> list[Tensor]:
    found = []
    for number, context in enumerate(contexts):
        noise = pipeline.noise(torch.Generator().manual_seed(number))
        velocity = velocity_for(pipeline.dit, context, way.times, scale, way.sampling)
        found.append(way.method(noise, way.times, velocity))
    return found


def _inside(pipeline: Hunyuan3DDiTFlowMatchingPipeline, latents: Tensor) -> Tensor:
    axis = torch.linspace(-HALF_SIDE, HALF_SIDE, GRID_SIDE, device=latents.device)
    points = torch.cartesian_prod(axis, axis, axis)[None]
    tokens = pipeline.vae(latents / pipeline.vae.scale_factor)
    return pipeline.vae.query_geometry(points, tokens)[0] > 0


def _overlap(a: Tensor, b: Tensor) -> float:
    return float((a & b).sum() / (a | b).sum().clamp(min=1))
