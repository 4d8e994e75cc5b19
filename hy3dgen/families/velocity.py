"""The denoiser as a function of latents and time, with all that no step changes made once per job.

Made once: the projected context and, for every time of the table, all modulations. The guidance pair is asked one
after the other; the side without a picture has a context of equal tokens, of which one is carried (`DiT.velocity`).
Knows no pictures and no schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hy3dgen.networks.skip_dit import Heads, SkipDiT
from hy3dgen.networks.stream_dit import DiT
from hy3dgen.runtime.attention import retry_without_cudnn
from hy3dgen.runtime.out_of_memory import (
    OnLowered,
    free_memory,
    ignore_lowered,
    is_shortage,
    retry_after_oom,
)
from hy3dgen.sampling import Velocity, guide

Pairing = Literal["folded", "batched"]
Network = Callable[[Tensor, Tensor, Tensor, int], Tensor]
"""`DiT.velocity`, or what stands for it."""


@dataclass(frozen=True)
class SamplingOptions:
    """How the velocity is made. What the defaults give differs from the plain way by rounding alone.

    `pairing` "batched" asks both sides of the guidance in one call, at the full cost of each. The other options
    change the shape a little for less work, and hold for checkpoints that take no guidance input: guidance only at
    times in `guidance_between`; asked for anew only at every `guidance_every`th of these steps, and in between its
    last direction is used.
    """

    pairing: Pairing = "folded"
    guidance_between: tuple[float, float] = (0.0, 1.0)
    guidance_every: int = 1

    def __post_init__(self) -> None:
        if self.pairing not in ("folded", "batched"):
            raise ValueError(f"pairing must be 'folded' or 'batched', got {self.pairing!r}")
        if not self.guidance_between[0] <= self.guidance_between[1] or self.guidance_every < 1:
            raise ValueError("guidance_between must be ascending, guidance_every at least 1")


@dataclass(frozen=True)
class Clock:
    """The time convention that a network was trained with, seen from the sampler's time, 0 noise .. 1 shape.

    `network_time` is what it takes; `points_to_noise` says that its velocity has the other sign than ours.
    """

    network_time: Callable[[Tensor], Tensor] = torch.Tensor.float
    points_to_noise: bool = False

    def towards_shape(self, velocity: Tensor) -> Tensor:
        """The network's velocity in the sampler's direction."""
        return -velocity if self.points_to_noise else velocity


@dataclass(frozen=True)
class BoundDenoiser:
    """The network with one context, ready for every time of a table."""

    network: Network
    context: Float[Tensor, "batch context width"]
    rows: Mapping[float, Float[Tensor, "batch rows width"]]
    multiplicity: int = 1
    clock: Clock = Clock()

    def __call__(self, latents: Float[Tensor, "batch tokens channels"], time: float) -> Tensor:
        """The velocity at a time of the table."""
        return self.clock.towards_shape(
            self.network(latents, self.context, self.rows[time], self.multiplicity)
        )


@dataclass(frozen=True)
class BoundSkipDenoiser:
    """The network with long skips and one picture's keys and values, or None for no picture."""

    network: Callable[[Tensor, Tensor, Sequence[Heads] | None], Tensor]
    seen: Sequence[Heads] | None
    clock: Clock

    def __call__(self, latents: Float[Tensor, "batch tokens channels"], time: float) -> Tensor:
        """The velocity at any time."""
        moment = torch.full((len(latents),), time, dtype=torch.float64)
        moment = self.clock.network_time(moment).to(latents.device)
        return self.clock.towards_shape(self.network(latents, moment, self.seen))


def skip_velocity_for(
    dit: SkipDiT,
    context: Float[Tensor, "1 context context_width"],
    clock: Clock,
    guidance_scale: float,
    options: SamplingOptions,
) -> Velocity:
    """The velocity of the network with long skips at any time; guidance as `velocity_for` has it.

    Both sides are asked one after the other, whatever `pairing` says: the one without a picture skips its
    cross-attention.
    """
    network = retry_without_cudnn(retry_after_oom(dit.velocity))
    with_picture = BoundSkipDenoiser(network, dit.keys_values(context), clock)
    if guidance_scale < 0 or guidance_scale == 1:
        return with_picture
    return GuidedVelocity(with_picture, BoundSkipDenoiser(network, None, clock), guidance_scale, options)


def velocity_for(
    dit: DiT,
    context: Float[Tensor, "1 context context_width"],
    times: Float[Tensor, " times"],
    guidance_scale: float,
    options: SamplingOptions,
    network: Network | None = None,
    on_lowered: OnLowered = ignore_lowered,
    clock: Clock | None = None,
) -> Velocity:
    """The velocity at any of `times`, with the guidance this checkpoint was made for.

    A negative scale, or 1, turns guidance off where the network does not embed it. `network` stands for
    `dit.velocity`. A call that the device has no room for is made once more in freed memory; a batched pair then
    goes on one by one, and `on_lowered` hears of it.
    """
    network = retry_without_cudnn(retry_after_oom(network or dit.velocity))
    has_guidance = dit.config.has_guidance
    clock = clock or Clock()
    moments = clock.network_time(times).to(context.device)
    made = _rows(dit, moments, guidance_scale if has_guidance else None)
    rows = dict(zip(times.tolist(), made, strict=True))
    with_picture = BoundDenoiser(network, dit.context_in(context), rows, clock=clock)
    if has_guidance or guidance_scale < 0 or guidance_scale == 1:
        return with_picture
    blank = dit.context_in(torch.zeros_like(context[:, :1]))
    without_picture = BoundDenoiser(network, blank, rows, context.shape[1], clock)
    one_by_one = GuidedVelocity(with_picture, without_picture, guidance_scale, options)
    if options.pairing == "batched":
        return WhileThereIsRoom(_batch_pair(dit, with_picture, guidance_scale), one_by_one, on_lowered)
    return one_by_one


def _rows(
    dit: DiT, moments: Float[Tensor, " times"], guidance_scale: float | None
) -> tuple[Float[Tensor, "1 rows width"], ...]:
    """The modulations of each of the network's times."""
    guidance = None if guidance_scale is None else torch.full_like(moments, guidance_scale)
    return dit.modulations(moments, guidance).split(1)


def _batch_pair(dit: DiT, with_picture: BoundDenoiser, scale: float) -> Velocity:
    blank = dit.context_in(with_picture.context.new_zeros(1, 1, dit.config.context_width))
    pair = torch.cat([with_picture.context, blank.expand_as(with_picture.context)])

    def velocity(latents: Tensor, time: float) -> Tensor:
        rows = with_picture.rows[time].expand(2, -1, -1)
        both = with_picture.network(latents.expand(2, -1, -1), pair, rows, 1)
        conditional, unconditional = with_picture.clock.towards_shape(both).chunk(2)
        return guide(conditional, unconditional, scale)

    return velocity


class WhileThereIsRoom:
    """Both sides in one call as long as the device has room for that, then one by one to the end."""

    def __init__(self, batched: Velocity, one_by_one: Velocity, on_lowered: OnLowered) -> None:
        self._velocity, self._one_by_one, self._on_lowered = batched, one_by_one, on_lowered

    def __call__(self, latents: Float[Tensor, "1 tokens channels"], time: float) -> Tensor:
        """The guided velocity at a time of the table."""
        if self._velocity is not self._one_by_one:
            try:
                return self._velocity(latents, time)
            except RuntimeError as error:
                if not is_shortage(error):
                    raise
            self._velocity = self._one_by_one
            free_memory()
            self._on_lowered("guidance pair one by one")
        return self._one_by_one(latents, time)


class GuidedVelocity:
    """Classifier-free guidance from two sides, one asked after the other."""

    def __init__(
        self, with_picture: Velocity, without_picture: Velocity, scale: float, options: SamplingOptions
    ) -> None:
        self.with_picture, self.without_picture = with_picture, without_picture
        self.scale, self.options = scale, options
        self._num_guided = 0
        self._direction: Tensor | None = None

    def __call__(self, latents: Float[Tensor, "1 tokens channels"], time: float) -> Tensor:
        """The guided velocity at a time of the table."""
        earliest, latest = self.options.guidance_between
        conditional = self.with_picture(latents, time)
        if not earliest <= time <= latest:
            return conditional
        is_due = self._num_guided % self.options.guidance_every == 0
        self._num_guided += 1
        if not is_due and self._direction is not None:
            return conditional + (self.scale - 1) * self._direction
        unconditional = self.without_picture(latents, time)
        self._direction = conditional - unconditional
        return guide(conditional, unconditional, self.scale)
