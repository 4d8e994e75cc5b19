"""Times and steps of the sampler: pure functions that know no network. Formulas: docs/shape-model.md, Sampling.

Time 0 is noise, time 1 is the shape; the network's velocity points from the one to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

TRAINING_TIMESTEPS = 1000
ADAMS_GRID_POWER = 1.1
"""Of 0.8 to 1.5, with and without a shortened first step, the closest to the exact flow at 15 to 17 calls."""

Schedule = Literal["flow", "consistency"]
Sampler = Literal["euler", "adams"]
ADAMS_CALLS = 16
"""Network calls of `adams` unless asked otherwise, where the published steps are more."""
Velocity = Callable[[Tensor, float], Tensor]


def flow_times(num_steps: int) -> Float[Tensor, " steps_and_end"]:
    """The published flow table: i/(n-1) for i < n, then 1 once more; float32, n+1 values.

    The last step has length zero (n >= 2): `euler` skips it, and n asked steps cost n-1 network calls.

    Raises:
        ValueError: fewer than one step.
    """
    _check_steps(num_steps)
    times = np.append(np.linspace(0, 1, num_steps), 1.0)
    return torch.from_numpy(times.astype(np.float32))


def consistency_times(num_steps: int, num_timesteps: int = 100) -> Float[Tensor, " steps_and_end"]:
    """The published table of consistency-distilled checkpoints: `num_steps` of its entries, evenly by index, then 1.

    Raises:
        ValueError: fewer than one step, or more than the table has entries.
    """
    _check_steps(num_steps)
    if num_steps > num_timesteps:
        raise ValueError(f"a consistency schedule has at most {num_timesteps} steps, got {num_steps}")
    spacing = TRAINING_TIMESTEPS // num_timesteps
    table = np.arange(num_timesteps) * spacing - 1
    table[0] = 0
    chosen = np.arange(num_steps) * num_timesteps // num_steps
    times = np.append(np.linspace(0, 1, TRAINING_TIMESTEPS)[table[chosen]], 1.0)
    return torch.from_numpy(times.astype(np.float32))


def rectified_sigmas(num_steps: int, shift: float = 1.0) -> Float[Tensor, " steps_and_end"]:
    """How much of each step's start is noise (TripoSG): shift s / (1 + (shift - 1) s) for s = 1 - i/n, then 0; float32.

    Raises:
        ValueError: fewer than one step.
    """
    _check_steps(num_steps)
    sigmas = 1 - np.arange(num_steps) / num_steps
    shifted = shift * sigmas / (1 + (shift - 1) * sigmas)
    return torch.from_numpy(np.append(shifted, 0.0).astype(np.float32))


def flow_match_sigmas(num_steps: int) -> Float[Tensor, " steps_and_end"]:
    """How much of each step's start is noise (Step1X-3D): evenly from 1 to 0.001, then 0; float32.

    Raises:
        ValueError: fewer than one step.
    """
    _check_steps(num_steps)
    least = float(np.float32(1 / TRAINING_TIMESTEPS))
    sigmas = np.linspace(TRAINING_TIMESTEPS, TRAINING_TIMESTEPS * least, num_steps) / TRAINING_TIMESTEPS
    return torch.from_numpy(np.append(sigmas, 0.0).astype(np.float32))


def times_of(sigmas: Float[Tensor, " steps_and_end"]) -> Float[Tensor, " steps_and_end"]:
    """1 - sigma in float64, which loses nothing of a float32 sigma: `thousandths_left` gives it back."""
    return 1 - sigmas.double()


def thousandths_left(time: Float[Tensor, " times"]) -> Float[Tensor, " times"]:
    """The time of networks that count down: 1000 (1 - time), in float32."""
    return (1 - time.double()).float() * TRAINING_TIMESTEPS


def times_for(
    schedule: Schedule, num_steps: int, consistency_timesteps: int | None
) -> Float[Tensor, " steps_and_end"]:
    """The time table of a checkpoint's schedule."""
    if schedule == "consistency":
        return consistency_times(num_steps, consistency_timesteps or 100)
    return flow_times(num_steps)


def euler(
    latents: Float[Tensor, "batch tokens channels"],
    times: Float[Tensor, " steps_and_end"],
    velocity: Velocity,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Float[Tensor, "batch tokens channels"]:
    """The latents carried along `velocity` through `times`; steps of length zero are skipped.

    `on_step(done, total)` is called after each step and may raise to stop.
    """
    steps = [(now, after) for now, after in pairwise(times.tolist()) if after != now]
    for done, (now, after) in enumerate(steps, start=1):
        direction = velocity(latents, now)
        latents = (latents.float() + (after - now) * direction.float()).to(direction.dtype)
        on_step(done, len(steps))
    return latents


def adams_times(num_calls: int) -> Float[Tensor, " calls_and_end"]:
    """The grid of `adams`: (i / n) ** ADAMS_GRID_POWER for i = 0 .. n, a little denser early; float32.

    Guidance bends the path most near the noise, and the first step is Euler's, of first order: it is a fourth shorter
    than on an even grid at 16 calls. How other grids do: `python -m benchmarks samplers`.

    Raises:
        ValueError: fewer than one call.
    """
    _check_steps(num_calls)
    times = np.linspace(0, 1, num_calls + 1) ** ADAMS_GRID_POWER
    return torch.from_numpy(times.astype(np.float32))


def adams(
    latents: Float[Tensor, "batch tokens channels"],
    times: Float[Tensor, " calls_and_end"],
    velocity: Velocity,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Float[Tensor, "batch tokens channels"]:
    """The latents carried along `velocity` by the two-step Adams-Bashforth method on a grid of any spacing.

    With steps h of now and g before, and velocities v and u at their beginnings: x + h ((1 + h / 2g) v - h / 2g u);
    the first step is Euler's. Source: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, III.5.
    Steps of length zero are skipped. The state is kept in float32 between calls. `on_step(done, total)` is called
    after each step and may raise to stop.
    """
    steps = [(now, after) for now, after in pairwise(times.tolist()) if after != now]
    state, before, length_before = latents.float(), None, 0.0
    for done, (now, after) in enumerate(steps, start=1):
        direction, length = velocity(state.to(latents.dtype), now).float(), after - now
        share = 0.0 if before is None else length / (2 * length_before)
        state = state + length * (direction if before is None else (1 + share) * direction - share * before)
        before, length_before = direction, length
        on_step(done, len(steps))
    return state.to(latents.dtype)


def count_calls(times: Float[Tensor, " times"]) -> int:
    """How often `euler` and `adams` ask for a velocity on a grid: its steps that have a length."""
    return int((times.diff() != 0).sum())


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: the unconditional velocity, moved `scale` times towards the conditional one."""
    return unconditional + scale * (conditional - unconditional)


def _check_steps(num_steps: int) -> None:
    if num_steps < 1:
        raise ValueError(f"at least one step is needed, got {num_steps}")
