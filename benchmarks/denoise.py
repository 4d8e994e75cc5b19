"""Denoising: today's pattern against ours, step by step in turns, at the exact published size.

A few steps are timed and multiplied to a whole job. The velocity of both is compared in the same run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks import today
from benchmarks.measuring import Asked, Row, Table, in_turns, ratio, timed
from benchmarks.published import filled, networks_of
from hy3dgen.attention import fastest_kernel, preferring
from hy3dgen.compiled import FixedShapes, deviation
from hy3dgen.config import DEFAULT_GUIDANCE, PATCH_PX, ModelConfig
from hy3dgen.schedule import Velocity, times_for
from hy3dgen.velocity import Pairing, SamplingOptions, velocity_for

STEP_TIME = 0.5
MATRIX = (4442, 1024, 4096)


def tables(asked: Asked) -> Iterator[Table]:
    variant = asked.variant or ("v2-0" if asked.is_gpu else "v2-mini")
    with torch.no_grad():
        dtypes = (torch.float16, torch.bfloat16) if asked.is_gpu else (torch.float32,)
        for dtype in dtypes:
            yield _Denoising(asked, variant, dtype).table()


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
        ways = self._ways()
        calls: list[Callable[[], Tensor]] = [
            partial(self._today),
            *(partial(self._one, way) for _, _, way in ways),
        ]
        expected = calls[0]()
        off = [deviation(call(), expected) for call in calls]
        seconds = in_turns(self.asked, *calls, rounds=10 if self.asked.is_gpu else 2, warm_ups=0)
        base = self.steps * seconds[0]
        rows: list[Row] = [self._row("today: pair in one batch, nothing kept", seconds[0], base, base, 0.0)]
        for (name, made_s, _), one, wrong in zip(ways, seconds[1:], off[1:], strict=True):
            rows.append(self._row(name, one, made_s + self.num_calls * one, base, wrong))
        unit = self.asked.unit
        header = ("", f"{unit} a step", f"{unit} a job of {self.steps} steps (multiplied)", "ratio")
        matrix = _matrix_tflops(self.asked, self.dtype)
        title = (
            f"Denoising, {self.variant}, {str(self.dtype).removeprefix('torch.')}, {self.asked.device.type}"
        )
        return Table(
            title,
            (*header, "TFLOP/s of the full pair's work", "velocity off by, relative"),
            tuple(rows),
            f"A plain matrix product of {MATRIX} runs at {matrix:.3f} TFLOP/s here, single thread on a CPU.",
        )

    def _ways(self) -> list[tuple[str, float, Velocity]]:
        """Name, seconds of what is made once a job, velocity."""
        ways = [self._way("ours, pair in one batch", "batched"), self._way("ours", "folded")]
        if not self.asked.is_gpu:
            return ways[1:]
        shape = self.config.dit
        tokens = self.latents.shape[1] + self.context.shape[1]
        kernel = fastest_kernel(
            shape.num_heads, tokens, shape.head_width, device=self.asked.device, dtype=self.dtype
        )
        network = FixedShapes(self.dit.velocity, "denoiser", has_graphs=True)
        rows = self.dit.modulations(torch.full((1,), STEP_TIME, device=self.asked.device), self._guidance())
        with preferring(kernel):
            network.prepare(self.latents, self.dit.context_in(self.context), rows, 1)
            blank = self.dit.context_in(torch.zeros_like(self.context[:, :1]))
            network.prepare(self.latents, blank, rows, self.context.shape[1])
        return [*ways, self._way(f"ours, compiled, {kernel}", "folded", network)]

    def _way(
        self, name: str, pairing: Pairing, network: FixedShapes | None = None
    ) -> tuple[str, float, Velocity]:
        options = SamplingOptions(pairing)
        make = partial(velocity_for, self.dit, self.context, self.times, DEFAULT_GUIDANCE, options, network)
        seconds, velocity = timed(self.asked, make)
        return name, seconds, velocity

    def _one(self, velocity: Velocity) -> Tensor:
        return velocity(self.latents, self.step_at)

    def _today(self) -> Tensor:
        return today.velocity(self.dit, self.latents, self.step_at, self.context)

    def _guidance(self) -> Tensor | None:
        return (
            torch.full((1,), DEFAULT_GUIDANCE, device=self.asked.device)
            if self.config.dit.has_guidance
            else None
        )

    def _row(self, name: str, step_s: float, job_s: float, base_s: float, off: float) -> Row:
        rate = pair_flops(self.config) / step_s / 1e12
        return (name, f"{step_s:.3f}", f"{job_s:.1f}", ratio(base_s, job_s), f"{rate:.3f}", f"{off:.1g}")


def context_tokens(config: ModelConfig) -> int:
    return 1 + (config.conditioner.working_px // PATCH_PX) ** 2


def pair_flops(config: ModelConfig) -> float:
    """Multiplications and additions of one step done today's way."""
    dit, tokens = config.dit, config.settings.num_latents + context_tokens(config)
    matrices = 2 * dit.hidden * (4 * dit.hidden + 2 * dit.mlp_hidden)
    attention = 4 * tokens * dit.hidden
    blocks = dit.num_double_blocks + dit.num_single_blocks
    return (1 if dit.has_guidance else 2) * blocks * tokens * (matrices + attention)


def _matrix_tflops(asked: Asked, dtype: torch.dtype) -> float:
    rows, inner, columns = MATRIX
    a, b = (torch.randn(shape, device=asked.device).to(dtype) for shape in ((rows, inner), (inner, columns)))
    (seconds,) = in_turns(asked, lambda: a @ b, rounds=9)
    return 2 * rows * inner * columns / seconds / 1e12
