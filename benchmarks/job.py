"""Picture to STL, the whole of it: today's pattern against ours, in one run.

The embedded model makes real shapes. A published size has random weights, whose field has no surface: its networks are
run for their cost, and the logits are those of a known body.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.proximity import distances, hausdorff
from ai_engine.mesh_files.stl import write_stl
from benchmarks import today
from benchmarks.measuring import Asked, Row, Table, forget_peak, peak_bytes, ratio, timed
from benchmarks.pictures import ellipse, held_out
from benchmarks.published import EMBEDDED, random_pipeline
from hy3dgen.families.hunyuan3d_2 import FRAME
from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.runtime.warm_up import compile_networks, fit_to_card, warm_up
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline
from tests.support.fields import field_of

EMBEDDED_STEPS = 50
MAX_VERTICES = 20_000


@dataclass
class Seconds:
    """Of each stage, in order."""

    asked: Asked
    stages: dict[str, float] = field(default_factory=dict)
    peak: int = 0

    def of(self, stage: str, work: Callable[[], Any]) -> Any:
        self.stages[stage], result = timed(self.asked, work)
        return result

    @property
    def total(self) -> float:
        return sum(self.stages.values())


def tables(asked: Asked) -> Iterator[Table]:
    variant = asked.variant or ("v2-0" if asked.is_gpu else "tiny")
    resolution = asked.resolution or (256 if asked.is_gpu else 128)
    pipeline = pipeline_of(variant, asked)
    is_random = variant != "tiny"
    if asked.is_gpu:
        pipeline.model = fit_to_card(pipeline.model)
        pipeline.model, _ = compile_networks(pipeline.model)
    warm_up(pipeline.model)
    steps = asked.steps or (pipeline.config.settings.default_steps if is_random else EMBEDDED_STEPS)
    with (
        tempfile.TemporaryDirectory() as folder,
        KnownBody(pipeline.vae, pipeline.device) if is_random else nullcontext(),
    ):
        work = partial(_one_way, asked, pipeline, steps, resolution, Path(folder))
        work(_ours, min(steps, 2))
        (ours, our_mesh), (theirs, their_mesh) = work(_ours), work(_today)
    voxel = 2 * FRAME.half_extent / resolution
    far, vertices_far = hausdorff(our_mesh, their_mesh) / voxel, _vertices_off(our_mesh, their_mesh) / voxel
    yield Table(
        f"A job: {variant}, {steps} steps, octree {resolution}, {asked.device.type}, {asked.dtype}",
        ("", *ours.stages, f"{asked.unit} in all", "ratio", "peak, GB"),
        (_row("today", theirs, theirs), _row("ours, warm", ours, theirs)),
        f"{len(our_mesh.faces):,} faces ours, {len(their_mesh.faces):,} today's; our vertices lie within "
        f"{vertices_far:.3f} voxels of today's surface, the surfaces, whose polygons may be cut along other diagonals, "
        f"{far:.3f} voxels apart at most (Hausdorff). "
        + ("Random weights; the logits are those of a known body." if is_random else "The embedded model."),
    )


def _vertices_off(one: Mesh, other: Mesh) -> float:
    """How far the vertices of one mesh are from the surface of the other."""
    step = max(1, len(one.vertices) // MAX_VERTICES)
    return float(distances(one.vertices[::step].astype(np.float64), other).max())


def pipeline_of(variant: str, asked: Asked) -> Hunyuan3DDiTFlowMatchingPipeline:
    if variant == "tiny":
        return Hunyuan3DDiTFlowMatchingPipeline.from_single_file(EMBEDDED, asked.device, asked.dtype)[0]
    return random_pipeline(variant, asked.device, asked.dtype)


def _one_way(
    asked: Asked,
    pipeline: Hunyuan3DDiTFlowMatchingPipeline,
    steps: int,
    resolution: int,
    folder: Path,
    way: Callable[..., Mesh],
    few_steps: int | None = None,
) -> tuple[Seconds, Mesh]:
    seconds = Seconds(asked)
    picture = ellipse() if pipeline.config.settings.model_id.startswith("hunyuan") else held_out(1)[0]
    forget_peak(asked.device)
    with torch.no_grad():
        mesh = way(pipeline, picture, few_steps or steps, resolution, folder / "mesh.stl", seconds)
    seconds.peak = peak_bytes(asked.device)
    return seconds, mesh


def _ours(
    pipeline: Hunyuan3DDiTFlowMatchingPipeline,
    picture: Any,
    steps: int,
    resolution: int,
    path: Path,
    seconds: Seconds,
) -> Mesh:
    vae = pipeline.vae
    latents = seconds.of(
        "encode, denoise", lambda: pipeline(picture, num_inference_steps=steps, generator=_generator())
    )
    tokens = seconds.of("tokens", lambda: vae(latents / vae.scale_factor))
    decode = partial(
        vae.latents2mesh, octree_resolution=resolution, num_chunks=pipeline.model.points_per_call
    )
    (found,) = seconds.of("decode, extract", lambda: decode(tokens))
    mesh = Mesh(found.vertices, found.faces)
    seconds.of("write STL", lambda: write_stl(mesh, path))
    return mesh


def _today(
    pipeline: Hunyuan3DDiTFlowMatchingPipeline,
    picture: Any,
    steps: int,
    resolution: int,
    path: Path,
    seconds: Seconds,
) -> Mesh:
    vae = pipeline.vae

    def denoise() -> Tensor:
        return today.denoise(pipeline, pipeline.encode(picture), pipeline.noise(_generator()), steps)

    latents = seconds.of("encode, denoise", denoise)
    tokens = seconds.of("tokens", lambda: vae(latents / vae.scale_factor))
    vertices, faces = seconds.of(
        "decode, extract", lambda: today.surface(today.dense_logits(vae.geometry, tokens, resolution))
    )
    seconds.of("write STL", lambda: today.write(vertices, faces, path))
    return Mesh(np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32))


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class KnownBody(AbstractContextManager[None]):
    """The decoder is asked for its cost, a body for the logits."""

    def __init__(self, vae: ShapeVAE, device: torch.device) -> None:
        self.vae, self.body = vae, field_of("solid").to(device)
        self.before = self.vae.execution

    def __enter__(self) -> None:
        inner = self.before.query or self.vae.geometry
        self.vae.execution = replace(
            self.before, query=lambda points, key, value: self._answer(inner(points, key, value), points)
        )
        self.hook = self.vae.geometry.register_forward_hook(
            lambda module, inputs, output: self._answer(output, inputs[0])
        )

    def __exit__(self, *_: object) -> None:
        self.hook.remove()
        self.vae.execution = self.before

    def _answer(self, cost: Tensor, points: Tensor) -> Tensor:
        return self.body(points[0].float())[None] + 0.0 * cost.nan_to_num()


def _row(name: str, one: Seconds, base: Seconds) -> Row:
    return (
        name,
        *(f"{seconds:.3f}" for seconds in one.stages.values()),
        f"{one.total:.2f}",
        ratio(base.total, one.total),
        f"{one.peak / 1e9:.2f}",
    )
