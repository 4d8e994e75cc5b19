"""Warm-up of a loaded model: every kind of call made once, and compiled where that is wished, before the first job.

A first call loads kernels, picks algorithms and fills memory pools; here that happens before a job waits for it.
Shapes are those of the model's own jobs. Knows no jobs.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.compiler import nested_compile_region

from hy3dgen.families.velocity import SamplingOptions
from hy3dgen.field.decode_options import POINTS_PER_CALL, DecodeOptions
from hy3dgen.field.field_query import MIN_POINTS_PER_CALL, points_that_fit
from hy3dgen.field.geometry import Frame
from hy3dgen.field.marching_cubes import extract_surface
from hy3dgen.field.octree import decode_field
from hy3dgen.networks.image_encoder import PATCH_PX
from hy3dgen.networks.layers import call_block
from hy3dgen.networks.stream_dit import DiT
from hy3dgen.runtime.attention import fastest_kernel, fastest_merge, median_seconds, preferring
from hy3dgen.runtime.compiled import FixedShapes
from hy3dgen.runtime.out_of_memory import free_memory, is_shortage
from hy3dgen.sampling import euler
from hy3dgen.shape_model import ShapeModel

BALL_RADIUS, BALL_CELLS = 0.6, 64
CPU_TOKENS, CPU_POINTS = 64, 2048
"""On a CPU a first call costs little beside the work itself: a few tokens and points show it the way."""

CALL_SIZES = (POINTS_PER_CALL, 4 * POINTS_PER_CALL, 16 * POINTS_PER_CALL)
USUAL_BATCHES = (35_937, 2_800, 1_200, 6_400, 238_688, 126_201, 1, 153_356, 529, 1_060)
"""How many points a decode of a body with thin parts asks at once, one after the other, at 256 cells a side."""

MAX_COMPILE_THREADS = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleShapes:
    """Sizes of the calls that are tried."""

    num_latents: int
    num_context: int
    points_per_call: int
    has_one_size: bool

    @property
    def call_sizes(self) -> set[int]:
        """The numbers of points that calls of the field have: on a GPU one, so that all are rounded alike."""
        left_over = self.points_per_call if self.has_one_size else MIN_POINTS_PER_CALL
        return {self.points_per_call, min(left_over, self.points_per_call)}


def sample_shapes(model: ShapeModel, points_per_call: int | None = None) -> SampleShapes:
    """The sizes of a job's calls; of the field's as the model has them unless given."""
    num_context = 1 + (model.family.conditioner.config.working_px // PATCH_PX) ** 2
    points_per_call = points_per_call or model.points_per_call
    return SampleShapes(model.family.num_latents, num_context, points_per_call, model.device.type == "cuda")


@torch.no_grad()
def warm_up(model: ShapeModel, points_per_call: int | None = None) -> None:
    """Goes through a job once: a plain picture, noise for its tokens, one step, one call of each fixed size, a ball."""
    shapes = sample_shapes(model, points_per_call)
    if model.device.type == "cpu":
        shapes = SampleShapes(
            min(CPU_TOKENS, shapes.num_latents),
            min(CPU_TOKENS, shapes.num_context),
            min(CPU_POINTS, shapes.points_per_call),
            has_one_size=False,
        )
    context = _sample_context(model, shapes.num_context)
    latents = model.noise(torch.Generator().manual_seed(0))[:, : shapes.num_latents]
    times = torch.tensor([0.0, 1.0])
    model.execution.load(model.family.dit)
    with preferring(model.execution.attention):
        scale = model.defaults.guidance_scale
        latents = euler(latents, times, model.guided_velocity(context, times, scale, SamplingOptions()))
    tokens = model.tokens(latents)
    for num_points in shapes.call_sizes:
        model.query(_points(model, num_points), tokens)
    _extract_ball(model.family.vae.frame, model.device)
    if model.device.type == "cuda":
        # The trials before the first job took more than jobs do.
        free_memory()
        torch.cuda.reset_peak_memory_stats(model.device)


def _extract_ball(frame: Frame, device: torch.device) -> None:
    """Runs the octree and the extraction on a field that costs nothing: that loads their many kernels."""

    def ball(points: Tensor) -> Tensor:
        return BALL_RADIUS - points.norm(dim=-1)

    extract_surface(decode_field(ball, frame.box, BALL_CELLS, iso=frame.iso, device=device))


def fit_to_card(model: ShapeModel) -> ShapeModel:
    """The model with what is fastest on its GPU, found by trying: attention kernels, points per call."""
    return choose_points_per_call(choose_attention(model))


def choose_attention(model: ShapeModel) -> ShapeModel:
    """The model with the attention kernels that are fastest here for the denoiser's numbers of tokens."""
    shapes, dit = sample_shapes(model), model.family.dit
    sizes = dit.config
    num_tokens = shapes.num_latents + shapes.num_context
    kernel = fastest_kernel(
        sizes.num_heads, num_tokens, sizes.head_width, device=model.device, dtype=model.dtype
    )
    logger.info("attention by %s", kernel)
    if isinstance(dit, DiT) and not dit.config.has_guidance and model.dtype != torch.float32:
        with preferring(kernel):
            dit.merge_by = fastest_merge(
                sizes.num_heads,
                shapes.num_latents + 1,
                sizes.head_width,
                shapes.num_context,
                device=model.device,
                dtype=model.dtype,
            )
        logger.info("attention without a picture by %s", dit.merge_by or "repeating")
    return model.running(attention=kernel)


@torch.no_grad()
def choose_points_per_call(model: ShapeModel) -> ShapeModel:
    """The model with the number of points per call by which a usual decode takes least, small last calls padded.

    A large card is filled by more points; on a small one they only pad more.
    """
    vae = model.family.vae
    model.execution.load(vae)
    key, value = vae.geometry.keys_values(_noise(model, 1, model.family.num_latents, vae.config.width))
    options, seconds = DecodeOptions(), dict[int, float]()
    fitting = points_that_fit(
        model.device, bytes_per_point=options.bytes_per_point, memory_share=options.memory_share
    )
    for size in (one for one in CALL_SIZES if one <= fitting):
        try:
            points = _points(model, size)
            call_s = median_seconds(partial(vae.geometry, points, key, value), model.device)
        except RuntimeError as error:
            if not is_shortage(error):
                raise
            break
        seconds[size] = call_s * sum(-(-batch // size) for batch in USUAL_BATCHES)
    chosen = min(seconds, key=lambda size: seconds[size], default=MIN_POINTS_PER_CALL)
    logger.info("%d points a call", chosen)
    return model.running(points_per_call=chosen)


def has_compiler() -> bool:
    """True when there is a C compiler, which what compiles networks calls at run time: `CC`, or one of that name."""
    names = [os.environ.get("CC") or "cc", "gcc", "clang", "g++", "clang++"]
    return any(shutil.which(name) for name in names)


def set_compiler_cache(folder: Path) -> None:
    """Sets `folder` as the place of what is compiled in this process, unless the environment names another.

    Also bounds the compiler's processes, of which each keeps 0.3 GB.
    """
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(MAX_COMPILE_THREADS))
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))


def compile_networks(model: ShapeModel, points_per_call: int | None = None) -> tuple[ShapeModel, bool]:
    """The model with denoiser and geometry decoder compiled for the shapes of jobs; False when something stays plain.

    A denoiser with long skips stays plain. Blocks of one kind are compiled once for all of them; where that can't be,
    each by itself.
    """
    shapes, has_graphs = sample_shapes(model, points_per_call), model.device.type == "cuda"
    decoder = FixedShapes(model.family.vae.geometry.forward, "geometry decoder", has_graphs=has_graphs)
    is_decoder_done = _prepare_decoder(model, decoder, shapes)
    if is_decoder_done:
        model = model.running(points_per_call=shapes.points_per_call)
    if not isinstance(model.family.dit, DiT):
        return model.running(query=decoder), False
    for blocks in (nested_compile_region(call_block), call_block):
        model.family.dit.call_block = blocks
        denoiser = FixedShapes(model.family.dit.velocity, "denoiser", has_graphs=has_graphs)
        with preferring(model.execution.attention):
            is_denoiser_done = _prepare_denoiser(model, model.family.dit, denoiser, shapes)
        if is_denoiser_done:
            break
    return model.running(denoise=denoiser, query=decoder), is_denoiser_done and is_decoder_done


@torch.no_grad()
def _prepare_denoiser(model: ShapeModel, dit: DiT, denoiser: FixedShapes, shapes: SampleShapes) -> bool:
    """Both sides of the guidance, or the one there is."""
    latents = model.noise(torch.Generator().manual_seed(0))
    seen, blank = (
        dit.context_in(_noise(model, 1, count, dit.config.context_width)) for count in (shapes.num_context, 1)
    )
    time = torch.full((1,), 0.5, device=model.device)
    scale = torch.full_like(time, model.defaults.guidance_scale)
    rows = dit.modulations(time, scale if dit.config.has_guidance else None)
    is_done = denoiser.prepare(latents, seen, rows, 1)
    if dit.config.has_guidance or not is_done:
        return is_done
    return denoiser.prepare(latents, blank, rows, shapes.num_context)


@torch.no_grad()
def _prepare_decoder(model: ShapeModel, decoder: FixedShapes, shapes: SampleShapes) -> bool:
    vae = model.family.vae
    tokens = _noise(model, 1, shapes.num_latents, vae.config.width)
    key, value = vae.geometry.keys_values(tokens)
    return all(decoder.prepare(_points(model, size), key, value) for size in shapes.call_sizes)


def _sample_context(model: ShapeModel, num_tokens: int) -> Tensor:
    """Tokens of a plain picture; on a CPU the encoder sees as few patches as it takes."""
    pixels = model.prepare_image(Image.new("RGBA", (64, 64), "grey"))
    if model.device.type != "cpu":
        return model.encode_pixels(pixels)
    model.execution.load(model.family.conditioner)
    patches_px = PATCH_PX * 7
    model.family.conditioner.dino(_noise(model, 1, 3, patches_px, patches_px))
    return _noise(model, 1, num_tokens, model.family.dit.config.context_width)


def _points(model: ShapeModel, count: int) -> Tensor:
    return torch.linspace(-1, 1, 3 * count, device=model.device).view(1, count, 3)


def _noise(model: ShapeModel, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator).to(model.device, model.dtype)
