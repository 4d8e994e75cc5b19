"""Times and Euler steps, against diffusers and against motions with a known end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hy3dgen.sampling import (
    adams,
    adams_times,
    consistency_times,
    count_calls,
    euler,
    flow_match_sigmas,
    flow_times,
    guide,
    rectified_sigmas,
    thousandths_left,
    times_for,
    times_of,
)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 12, 30, 50])
def test_flow_times_are_those_of_diffusers_run_from_noise_to_data(num_steps: int) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0, invert_sigmas=True)
    scheduler.set_timesteps(sigmas=(1 - np.linspace(0, 1, num_steps)).tolist())
    assert torch.allclose(flow_times(num_steps), scheduler.sigmas.float(), atol=1e-6)


def test_an_euler_walk_is_that_of_diffusers() -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0, invert_sigmas=True)
    scheduler.set_timesteps(sigmas=(1 - np.linspace(0, 1, 7)).tolist())
    start = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0))
    theirs = start
    for timestep in scheduler.timesteps:
        theirs = scheduler.step(torch.sin(theirs), timestep, theirs).prev_sample
    assert torch.allclose(euler(start, flow_times(7), lambda x, _time: torch.sin(x)), theirs, atol=1e-6)


def test_a_constant_velocity_arrives_after_time_one() -> None:
    start, direction = torch.zeros(1, 2, 3), torch.full((1, 2, 3), 2.5)
    for times in (flow_times(1), flow_times(9), consistency_times(5)):
        assert torch.allclose(euler(start, times, lambda _x, _time: direction), direction)


def test_the_last_flow_step_of_zero_length_is_not_asked() -> None:
    asked: list[float] = []

    def velocity(latents: torch.Tensor, time: float) -> torch.Tensor:
        asked.append(time)
        return latents

    euler(torch.ones(1, 1, 1), flow_times(5), velocity)
    assert asked == [0, 0.25, 0.5, 0.75]


def test_every_consistency_step_is_real() -> None:
    steps: list[tuple[int, int]] = []
    euler(torch.ones(1, 1, 1), consistency_times(5), lambda x, _time: x, lambda *step: steps.append(step))
    assert steps == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_a_step_callback_can_stop_the_walk() -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        euler(torch.ones(1, 1, 1), flow_times(9), lambda x, _time: x, stop)


def test_guidance_goes_past_the_condition() -> None:
    conditional, unconditional = torch.tensor([2.0]), torch.tensor([1.0])
    assert guide(conditional, unconditional, 5.0).item() == 6.0
    assert guide(conditional, unconditional, 0.0).item() == 1.0


def test_impossible_step_counts_are_refused_with_the_number() -> None:
    with pytest.raises(ValueError, match="got 0"):
        flow_times(0)
    with pytest.raises(ValueError, match="at most 100 steps, got 101"):
        consistency_times(101)


def test_the_schedule_of_a_checkpoint_is_chosen_by_name() -> None:
    assert torch.equal(times_for("flow", 5, None), flow_times(5))
    assert torch.equal(times_for("consistency", 5, 50), consistency_times(5, 50))


def off_by(method: Callable[..., torch.Tensor], times: torch.Tensor) -> float:
    """How far e is missed, the end of x' = x from 1."""
    one = torch.ones(1, 1, 1, dtype=torch.float64).float()
    return abs(float(method(one, times, lambda state, _: state)) - math.e)


@pytest.mark.parametrize("grid", [adams_times, lambda n: torch.linspace(0, 1, n + 1) ** 1.5])
def test_half_the_step_makes_adams_four_times_as_exact_and_euler_twice(
    grid: Callable[[int], torch.Tensor],
) -> None:
    assert off_by(adams, grid(16)) / off_by(adams, grid(32)) == pytest.approx(4, rel=0.2)
    assert off_by(euler, grid(16)) / off_by(euler, grid(32)) == pytest.approx(2, rel=0.1)


def test_adams_asks_once_a_step_and_skips_those_of_no_length() -> None:
    asked: list[float] = []
    told: list[tuple[int, int]] = []

    def velocity(state: torch.Tensor, now: float) -> torch.Tensor:
        asked.append(now)
        return torch.ones_like(state)

    end = adams(
        torch.zeros(1, 1, 1), torch.tensor([0.0, 0.25, 0.25, 1.0]), velocity, lambda *step: told.append(step)
    )

    assert asked == [0.0, 0.25]
    assert told == [(1, 2), (2, 2)]
    assert float(end) == 1.0


def test_the_steps_of_the_adams_grid_fill_the_time_and_grow_from_the_noise_on() -> None:
    lengths = adams_times(16).diff()

    assert len(lengths) == 16
    assert float(lengths.sum()) == pytest.approx(1.0)
    assert bool((lengths.diff() > 0).all())
    assert float(lengths[0]) == pytest.approx(0.75 / 16, rel=0.02)


def diffusers_sigmas(sigmas: np.ndarray, shift: float) -> torch.Tensor:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)
    scheduler.set_timesteps(sigmas=sigmas.tolist())
    return scheduler.sigmas.float()


@pytest.mark.parametrize("num_steps", [1, 2, 7, 50])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_rectified_sigmas_are_those_of_diffusers(num_steps: int, shift: float) -> None:
    theirs = diffusers_sigmas(1 - np.arange(num_steps) / num_steps, shift)
    assert torch.allclose(rectified_sigmas(num_steps, shift), theirs, atol=1e-6)


@pytest.mark.parametrize("num_steps", [1, 2, 7, 50])
def test_sigmas_that_end_at_a_thousandth_are_those_of_diffusers(num_steps: int) -> None:
    theirs = diffusers_sigmas(np.linspace(1, 0.001, num_steps), 1.0)
    assert torch.allclose(flow_match_sigmas(num_steps), theirs, atol=1e-6)


@pytest.mark.parametrize("num_steps", [1, 3, 50, 999])
def test_a_time_gives_its_sigma_back_bit_for_bit(num_steps: int) -> None:
    for sigmas in (rectified_sigmas(num_steps, 3.0), flow_match_sigmas(num_steps)):
        assert torch.equal(thousandths_left(times_of(sigmas)), sigmas * 1000)


@pytest.mark.parametrize("num_steps", [2, 3, 17, 100])
def test_every_table_rises_from_noise_to_the_shape(num_steps: int) -> None:
    tables = {
        "flow": flow_times(num_steps),
        "consistency": consistency_times(num_steps),
        "rectified": times_of(rectified_sigmas(num_steps, 3.0)),
        "flow match": times_of(flow_match_sigmas(num_steps)),
        "adams": adams_times(num_steps),
    }
    for name, times in tables.items():
        assert (float(times[0]), float(times[-1]), len(times)) == (0, 1, num_steps + 1), name
        assert bool((times.diff() >= 0).all()), name
        assert count_calls(times) == num_steps - (name == "flow"), name


@pytest.mark.parametrize("table", [rectified_sigmas, flow_match_sigmas, adams_times])
def test_no_table_has_no_steps(table: Callable[[int], torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="at least one step is needed, got 0"):
        table(0)


@pytest.mark.parametrize("method", [euler, adams])
def test_a_walk_in_half_precision_ends_in_it_and_near_the_exact_one(method: Any) -> None:
    start = torch.randn(1, 8, 4, generator=torch.Generator().manual_seed(0))
    times = flow_times(12)
    exact = method(start, times, lambda state, _: torch.sin(state))
    half = method(start.bfloat16(), times, lambda state, _: torch.sin(state))
    assert half.dtype == torch.bfloat16
    assert float((half.float() - exact).abs().max()) < 0.1


def test_adams_keeps_what_half_precision_would_lose_between_calls() -> None:
    """Steps too short to change a bfloat16 number add up, as the state is float32."""
    start, times = torch.ones(1, 1, 1, dtype=torch.bfloat16), torch.linspace(0, 1, 1001)
    end = adams(start, times, lambda state, _: torch.ones_like(state))
    assert float(end) == 2.0
