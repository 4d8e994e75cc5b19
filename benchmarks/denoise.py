"""Denoising: today's pattern against ours, step by step in turns, at the exact published size.

A few steps are timed and multiplied to a whole job. The velocity of both is compared in the same run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks import today
from benchmarks.measuring import (
    NOT_MEASURED,
    Asked,
    Row,
    Table,
    forget_peak,
    in_turns,
    peak_bytes,
    ratio,
    timed,
)
from benchmarks.published import filled, networks_of
from hy3dgen.families.variants import GUIDANCE_SCALE, ModelConfig
from hy3dgen.families.velocity import Pairing, SamplingOptions, velocity_for
from hy3dgen.networks.image_encoder import PATCH_PX
from hy3dgen.networks.stream_dit import DiTConfig, Modulation
from hy3dgen.runtime.attention import fastest_kernel, preferring
from hy3dgen.runtime.compiled import FixedShapes, deviation
from hy3dgen.sampling import Velocity, times_for
from hy3dgen.weights.float8 import can_multiply, use_float8

STEP_TIME = 0.5
MATRIX, MATRIX_ON_GPU, PRODUCTS_ON_GPU = (4442, 1024, 4096), (8192, 8192, 8192), 20


def tables(asked: Asked) -> Iterator[Table]:
    variant = asked.variant or ("v2-0" if asked.is_gpu else "v2-mini")
    with torch.no_grad():
        dtypes = (torch.bfloat16, torch.float16) if asked.is_gpu else (torch.float32,)
        for dtype in dtypes:
            yield _Denoising(asked, variant, dtype).table()


@dataclass
class Way:
    """One way to ask for a step's velocity, and what came of it."""

    name: str
    velocity: Velocity
    num_calls: int
    flops: float
    once_s: float = 0.0
    step_s: float = 0.0
    peak: int = 0
    result: Tensor | None = None


class _Denoising:
    """One checkpoint's denoiser with random weights, and the ways to ask it for one step."""

    def __init__(self, asked: Asked, variant: str, dtype: torch.dtype) -> None:
        self.asked, self.variant, self.dtype = asked, variant, dtype
        networks = networks_of(variant)
        self.config, self.dit = networks.config, networks.dit
        filled(self.dit, asked.device, dtype)
        settings = self.config.settings
        self.steps = asked.steps or settings.default_steps
        self.times = times_for(settings.schedule, self.steps, settings.consistency_timesteps)
        self.num_calls = len(set(self.times.tolist())) - 1
        generator = torch.Generator().manual_seed(0)
        draw = partial(torch.randn, generator=generator)
        num_context = context_tokens(self.config)
        self.latents = draw(1, settings.num_latents, self.config.dit.latent_channels).to(asked.device, dtype)
        self.context = draw(1, num_context, self.config.dit.context_width).to(asked.device, dtype)
        self.step_at = float(self.times[self.num_calls // 2])

    def table(self) -> Table:
        matrix = _matrix_tflops(self.asked, self.dtype)
        today_way = Way(
            "today: pair in one batch, nothing kept", self._today, self.steps, self._flops("batched")
        )
        ways = [today_way, *self._ways()]
        self._measure(ways)
        if self.dtype == torch.bfloat16 and can_multiply(self.asked.device):
            ways.append(self._float8_way())  # last: it changes the denoiser
            self._measure(ways[-1:])
        unit = self.asked.unit
        header = ("", f"{unit} a step", f"{unit} a job of {self.steps} steps (multiplied)", "ratio")
        kind = f"{str(self.dtype).removeprefix('torch.')}, {self.asked.device.type}"
        return Table(
            f"Denoising, {self.variant}, {kind}",
            (*header, "TFLOP/s", "of a matrix product's rate", "peak, GB", "velocity off by, relative"),
            tuple(self._row(way, today_way, matrix) for way in ways),
            f"A plain matrix product of {MATRIX_ON_GPU if self.asked.is_gpu else MATRIX} runs at {matrix:.3f} TFLOP/s "
            "here, single thread on a CPU. TFLOP/s count what is multiplied in the way of that row.",
        )

    def _measure(self, ways: list[Way]) -> None:
        """Medians of steps in turns; results are those of the last."""

        def step(way: Way) -> None:
            way.result = way.velocity(self.latents, self.step_at)

        for way in ways if self.asked.is_gpu else ():
            forget_peak(self.asked.device)
            step(way)
            way.peak = peak_bytes(self.asked.device)
        rounds = self.asked.rounds or (10 if self.asked.is_gpu else 2)
        seconds = in_turns(self.asked, *(partial(step, way) for way in ways), rounds=rounds, warm_ups=0)
        for way, taken in zip(ways, seconds, strict=True):
            way.step_s = taken

    def _ways(self) -> list[Way]:
        if not self.asked.is_gpu:
            return [self._way("ours", "folded")]
        ways = [self._way("ours, eager", "folded")]
        if not self.config.dit.has_guidance:
            ways.append(self._way("ours, eager, pair in one batch", "batched"))
        return [*ways, self._compiled_way("ours, compiled")]

    def _way(self, name: str, pairing: Pairing, network: FixedShapes | None = None) -> Way:
        options = SamplingOptions(pairing)
        make = partial(velocity_for, self.dit, self.context, self.times, GUIDANCE_SCALE, options, network)
        once_s, velocity = timed(self.asked, make)
        return Way(name, velocity, self.num_calls, self._flops(pairing), once_s)

    def _compiled_way(self, name: str) -> Way:
        shape = self.config.dit
        tokens = self.latents.shape[1] + self.context.shape[1]
        kernel = fastest_kernel(
            shape.num_heads, tokens, shape.head_width, device=self.asked.device, dtype=self.dtype
        )
        network = FixedShapes(self.dit.velocity, "denoiser", has_graphs=True)
        rows = self.dit.modulations(torch.full((1,), STEP_TIME, device=self.asked.device), self._guidance())
        with preferring(kernel):
            is_done = network.prepare(self.latents, self.dit.context_in(self.context), rows, 1)
            if is_done and not shape.has_guidance:
                blank = self.dit.context_in(torch.zeros_like(self.context[:, :1]))
                is_done = network.prepare(self.latents, blank, rows, self.context.shape[1])
        return self._way(f"{name if is_done else f'{name} (it failed: eager)'}, {kernel}", "folded", network)

    def _float8_way(self) -> Way:
        use_float8(self.dit.blocks, Modulation)
        return self._compiled_way("ours, compiled, float8 matrices")

    def _today(self, latents: Tensor, time: float) -> Tensor:
        return today.velocity(self.dit, latents, time, self.context)

    def _guidance(self) -> Tensor | None:
        return (
            torch.full((1,), GUIDANCE_SCALE, device=self.asked.device)
            if self.config.dit.has_guidance
            else None
        )

    def _flops(self, pairing: Pairing) -> float:
        return pair_flops(self.config) if pairing == "batched" else folded_flops(self.config, self.dtype)

    def _row(self, way: Way, base: Way, matrix_tflops: float) -> Row:
        assert way.result is not None
        assert base.result is not None
        job_s, base_s = (one.once_s + one.num_calls * one.step_s for one in (way, base))
        rate = way.flops / way.step_s / 1e12
        return (
            way.name,
            f"{way.step_s:.3f}" if way.step_s >= 1 else f"{way.step_s:.4f}",
            f"{job_s:.1f}" if job_s >= 100 else f"{job_s:.2f}",
            ratio(base_s, job_s),
            f"{rate:.3f}",
            f"{100 * rate / matrix_tflops:.0f} %",
            f"{way.peak / 1e9:.2f}" if way.peak else NOT_MEASURED,
            f"{deviation(way.result, base.result):.1g}",
        )


def context_tokens(config: ModelConfig) -> int:
    return 1 + (config.conditioner.working_px // PATCH_PX) ** 2


def pair_flops(config: ModelConfig) -> float:
    """Multiplications and additions of one step done today's way."""
    tokens = config.settings.num_latents + context_tokens(config)
    return (1 if config.dit.has_guidance else 2) * _flops(config.dit, tokens, tokens)


def folded_flops(config: ModelConfig, dtype: torch.dtype) -> float:
    """The same where the side without a picture carries one context token; halves attend to all its copies."""
    num_latents, num_context = config.settings.num_latents, context_tokens(config)
    seen = _flops(config.dit, num_latents + num_context, num_latents + num_context)
    if config.dit.has_guidance:
        return seen
    num_keys = num_latents + (1 if dtype == torch.float32 else num_context)
    return seen + _flops(config.dit, num_latents + 1, num_keys)


def _flops(dit: DiTConfig, num_tokens: int, num_keys: int) -> float:
    matrices = 2 * dit.hidden * (4 * dit.hidden + 2 * dit.mlp_hidden)
    attention = 4 * num_keys * dit.hidden
    return (dit.num_double_blocks + dit.num_single_blocks) * num_tokens * (matrices + attention)


def _matrix_tflops(asked: Asked, dtype: torch.dtype) -> float:
    rows, inner, columns = MATRIX_ON_GPU if asked.is_gpu else MATRIX
    num_products = (
        PRODUCTS_ON_GPU if asked.is_gpu else 1
    )  # in a row: waiting for one alone takes as long as some
    a, b = (torch.randn(shape, device=asked.device).to(dtype) for shape in ((rows, inner), (inner, columns)))

    def multiply() -> None:
        for _ in range(num_products):
            a @ b

    (seconds,) = in_turns(asked, multiply, rounds=9)
    return 2 * rows * inner * columns * num_products / seconds / 1e12
