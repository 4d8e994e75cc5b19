"""Makes a loaded pipeline ready for its first job: everything called once, and compiled where that is wished.

A first call loads kernels, picks algorithms and fills memory pools; here that happens before anybody waits. Shapes are
those of the checkpoint's own jobs. Knows no jobs.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from hy3dgen.families.velocity import SamplingOptions, velocity_for
from hy3dgen.field.field_query import MIN_POINTS_PER_CALL
from hy3dgen.field.geometry import Box
from hy3dgen.field.marching_cubes import extract_surface
from hy3dgen.field.octree import decode_field
from hy3dgen.networks.image_encoder import PATCH_PX
from hy3dgen.networks.vecset_decoder import HALF_EXTENT, MC_LEVEL
from hy3dgen.pipeline import Hunyuan3DDiTFlowMatchingPipeline
from hy3dgen.runtime.attention import fastest_kernel, preferring
from hy3dgen.runtime.compiled import FixedShapes
from hy3dgen.sampling import euler

BALL_RADIUS, BALL_CELLS = 0.6, 64
CPU_TOKENS = 64
"""On a CPU a first call costs little beside the work itself: a few tokens show it the way."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleShapes:
    """Sizes of the calls that are tried."""

    num_latents: int
    num_context: int
    points_per_call: int


def sample_shapes(pipeline: Hunyuan3DDiTFlowMatchingPipeline, points_per_call: int) -> SampleShapes:
    """The sizes of a job's calls."""
    config = pipeline.config
    num_context = 1 + (config.conditioner.working_px // PATCH_PX) ** 2
    return SampleShapes(config.settings.num_latents, num_context, points_per_call)


@torch.no_grad()
def warm_up(pipeline: Hunyuan3DDiTFlowMatchingPipeline, points_per_call: int = 8000) -> None:
    """Goes through a job once: a plain picture, noise for its tokens, one step, one call of each fixed size, a ball."""
    shapes = sample_shapes(pipeline, points_per_call)
    if pipeline.device.type == "cpu":
        few = min(CPU_TOKENS, shapes.num_latents)
        shapes = SampleShapes(few, min(CPU_TOKENS, shapes.num_context), min(2048, points_per_call))
    pipeline.prepare_image(Image.new("RGBA", (64, 64), "grey"))
    context = _sample_context(pipeline, shapes.num_context)
    latents = pipeline.noise(torch.Generator().manual_seed(0))[:, : shapes.num_latents]
    times = torch.tensor([0.0, 1.0])
    pipeline.bring(pipeline.dit)
    with preferring(pipeline.attention):
        velocity = velocity_for(pipeline.dit, context, times, 5.0, SamplingOptions(), pipeline.network)
        latents = euler(latents, times, velocity)
    tokens = pipeline.vae(latents / pipeline.vae.scale_factor)
    for num_points in {shapes.points_per_call, min(MIN_POINTS_PER_CALL, shapes.points_per_call)}:
        pipeline.vae.query_geometry(_points(pipeline, num_points), tokens)
    _extract_ball(pipeline.device)


def _extract_ball(device: torch.device) -> None:
    """The octree and the extraction on a field that costs nothing: their kernels are many, and loaded when called."""

    def ball(points: Tensor) -> Tensor:
        return BALL_RADIUS - points.norm(dim=-1)

    box = Box.from_bounds(HALF_EXTENT)
    extract_surface(decode_field(ball, box, BALL_CELLS, level=MC_LEVEL, device=device))


def choose_attention(pipeline: Hunyuan3DDiTFlowMatchingPipeline) -> None:
    """Lets the denoiser use the attention kernel that is fastest here for its number of tokens."""
    shapes, dit = sample_shapes(pipeline, points_per_call=1), pipeline.config.dit
    num_tokens = shapes.num_latents + shapes.num_context
    pipeline.attention = fastest_kernel(
        dit.num_heads, num_tokens, dit.head_width, device=pipeline.device, dtype=pipeline.dtype
    )
    logger.info("attention by %s", pipeline.attention)


def set_compiler_cache(folder: Path) -> None:
    """Lets what is compiled in this process be kept in `folder`, unless the environment names another."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))


def compile_networks(pipeline: Hunyuan3DDiTFlowMatchingPipeline, points_per_call: int = 8000) -> bool:
    """Compiles the denoiser and the geometry decoder for the shapes of jobs; False when something stays plain."""
    has_graphs = pipeline.device.type == "cuda"
    network = FixedShapes(pipeline.dit.velocity, "denoiser", has_graphs=has_graphs)
    decoder = FixedShapes(pipeline.vae.geometry.forward, "geometry decoder", has_graphs=has_graphs)
    shapes = sample_shapes(pipeline, points_per_call)
    with preferring(pipeline.attention):
        is_denoiser_done = _prepare_denoiser(pipeline, network, shapes)
    is_decoder_done = _prepare_decoder(pipeline, decoder, shapes)
    pipeline.network, pipeline.vae.ask_geometry = network, decoder
    return is_denoiser_done and is_decoder_done


@torch.no_grad()
def _prepare_denoiser(
    pipeline: Hunyuan3DDiTFlowMatchingPipeline, network: FixedShapes, shapes: SampleShapes
) -> bool:
    """Both sides of the guidance, or the one there is."""
    dit, latents = pipeline.dit, pipeline.noise(torch.Generator().manual_seed(0))
    seen, blank = (
        dit.context_in(_noise(pipeline, 1, count, dit.config.context_width))
        for count in (shapes.num_context, 1)
    )
    time = torch.full((1,), 0.5, device=pipeline.device)
    rows = dit.modulations(time, 5 * torch.ones_like(time) if dit.config.has_guidance else None)
    is_done = network.prepare(latents, seen, rows, 1)
    if dit.config.has_guidance or not is_done:
        return is_done
    return network.prepare(latents, blank, rows, shapes.num_context)


@torch.no_grad()
def _prepare_decoder(
    pipeline: Hunyuan3DDiTFlowMatchingPipeline, decoder: FixedShapes, shapes: SampleShapes
) -> bool:
    vae = pipeline.vae
    tokens = _noise(pipeline, 1, shapes.num_latents, vae.config.width)
    key, value = vae.geometry.keys_values(tokens)
    sizes = {shapes.points_per_call, min(MIN_POINTS_PER_CALL, shapes.points_per_call)}
    return all(decoder.prepare(_points(pipeline, size), key, value) for size in sizes)


def _sample_context(pipeline: Hunyuan3DDiTFlowMatchingPipeline, num_tokens: int) -> Tensor:
    """Tokens of a picture of noise; on a CPU the encoder sees as few patches as it takes."""
    side_px = pipeline.config.settings.image_px
    pipeline.bring(pipeline.conditioner)
    if pipeline.device.type == "cpu":
        patches_px = PATCH_PX * 7
        pipeline.conditioner.dino(_noise(pipeline, 1, 3, patches_px, patches_px))
        return _noise(pipeline, 1, num_tokens, pipeline.dit.config.context_width)
    return pipeline.conditioner(_noise(pipeline, 1, 3, side_px, side_px))


def _points(pipeline: Hunyuan3DDiTFlowMatchingPipeline, count: int) -> Tensor:
    return torch.linspace(-1, 1, 3 * count, device=pipeline.device).view(1, count, 3)


def _noise(pipeline: Hunyuan3DDiTFlowMatchingPipeline, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator).to(pipeline.device, pipeline.dtype)
