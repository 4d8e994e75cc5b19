"""One guided step, the decoder and the memory of each family at its published size, with random weights.

A family's step with what its specification lets one save is timed against the plain guidance pair: the side without a
picture with its full context of zeros, keys and values of the picture made anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.measuring import (
    Asked,
    Row,
    Table,
    forget_peak,
    in_turns,
    peak_bytes,
    ratio,
    timed,
)
from benchmarks.published import filled
from hy3dgen.families import hunyuan3d_21, step1x_3d, triposg
from hy3dgen.families.family import Built, Family
from hy3dgen.families.velocity import SamplingOptions, skip_velocity_for, velocity_for
from hy3dgen.networks.image_encoder import PATCH_PX
from hy3dgen.networks.skip_dit import SkipDiT
from hy3dgen.sampling import Velocity, guide
from tests.support.published_layouts import described, expanded

DATA = Path(__file__).parents[1] / "tests" / "parity" / "data"
FAMILIES: Mapping[str, Family] = {
    "triposg": triposg.FAMILY,
    "step1x_3d": step1x_3d.FAMILY,
    "hunyuan3d_21": hunyuan3d_21.FAMILY,
}
POINTS_PER_CALL = {"cpu": 2048, "cuda": 8000}


def tables(asked: Asked) -> Iterator[Table]:
    names = [asked.variant] if asked.variant in FAMILIES else list(FAMILIES)
    with torch.no_grad():
        for name in names:
            yield MeasuredFamily(name, asked).table()


def built(name: str) -> Built:
    """A family's networks on the meta device, at their published size."""
    table = json.loads((DATA / name / "keys_full.json").read_text())
    shapes = expanded(table["tensors"])
    settings = {file: values for file, values in table["settings"].items() if file.endswith(".json")}
    return FAMILIES[name].build(described(shapes, settings), {})


class MeasuredFamily:
    """One family's networks, which get their random weights one after the other."""

    def __init__(self, name: str, asked: Asked) -> None:
        self.name, self.asked = name, asked
        self.model = built(name).model
        self.draw = torch.Generator().manual_seed(0)
        config = self.model.conditioner.config
        num_context = 1 + (config.working_px // PATCH_PX) ** 2
        channels = self.model.vae.config.latent_channels
        self.latents = self._noise(1, self.model.num_latents, channels)
        self.context = self._noise(1, num_context, config.width)

    def table(self) -> Table:
        """A step of the denoiser, plain and ours; what else was measured stands in the notes."""
        notes = [self._encoder_note()]
        rows, denoiser_peak = self._steps()
        notes += [denoiser_peak, self._decoder_note()]
        weights = sum(
            self._num_parameters(one) for one in (self.model.dit, self.model.vae, self.model.conditioner)
        )
        unit, kind = self.asked.unit, str(self.asked.dtype).removeprefix("torch.")
        return Table(
            f"{self.model.card.title}, {kind}, {self.asked.device.type}",
            (
                "",
                f"{unit} a guided step",
                f"calls of {self.model.defaults.num_steps} steps",
                f"{unit} a job",
                "ratio",
            ),
            rows,
            f"{weights / 1e9:.2f} billion parameters. " + " ".join(notes),
        )

    def _encoder_note(self) -> str:
        conditioner = self.model.conditioner
        filled(conditioner, self.asked.device, self.asked.dtype)
        side = conditioner.config.resized_px or conditioner.config.working_px
        is_8_bit = conditioner.config.resized_px is not None
        pixels = (
            torch.full((1, 3, side, side), 255, dtype=torch.uint8)
            if is_8_bit
            else self._noise(1, 3, side, side)
        )
        (seconds,) = in_turns(self.asked, lambda: conditioner(pixels.to(self.asked.device)), rounds=1)
        conditioner.to("meta")
        return f"Picture tokens ({self.context.shape[1]}): {seconds:.2f} {self.asked.unit}."

    def _steps(self) -> tuple[tuple[Row, ...], str]:
        dit, defaults = self.model.dit, self.model.defaults
        filled(dit, self.asked.device, self.asked.dtype)
        forget_peak(self.asked.device)
        times = self.model.times(defaults.num_steps)
        once_s, ours = timed(self.asked, lambda: self.guided_velocity(times))
        now = float(times[len(times) // 2])
        plain_s, ours_s = in_turns(
            self.asked,
            lambda: self.plain_pair(now),
            lambda: ours(self.latents, now),
            rounds=self.asked.rounds or 1,
            warm_ups=1 if self.asked.is_gpu else 0,
        )
        peak = peak_bytes(self.asked.device)
        dit.to("meta")
        num_calls = len(set(times.tolist())) - 1
        plain_job, our_job = defaults.num_steps * plain_s, once_s + num_calls * ours_s
        rows = (
            ("plain guidance pair", f"{plain_s:.3f}", str(defaults.num_steps), f"{plain_job:.0f}", "1.00x"),
            ("ours", f"{ours_s:.3f}", str(num_calls), f"{our_job:.0f}", ratio(plain_job, our_job)),
        )
        return (
            rows,
            f"Made once a picture: {once_s:.2f} {self.asked.unit}. Peak while denoising: {peak / 1e9:.2f} GB.",
        )

    def guided_velocity(self, times: Tensor) -> Velocity:
        """The velocity as the sampler asks for it, with all that a step need not make anew."""
        model, options = self.model, SamplingOptions()
        scale = model.defaults.guidance_scale
        if isinstance(model.dit, SkipDiT):
            return skip_velocity_for(model.dit, self.context, model.clock, scale, options)
        return velocity_for(model.dit, self.context, times, scale, options, clock=model.clock)

    def plain_pair(self, now: float) -> Tensor:
        """Both sides in full, nothing kept."""
        model = self.model
        moment = model.clock.network_time(
            torch.full((1,), now, dtype=torch.float64, device=self.asked.device)
        )
        sides = (
            model.dit(self.latents, moment, one) for one in (self.context, torch.zeros_like(self.context))
        )
        return model.clock.towards_shape(guide(*sides, model.defaults.guidance_scale))

    def _decoder_note(self) -> str:
        vae, asked = self.model.vae, self.asked
        filled(vae, asked.device, asked.dtype)
        forget_peak(asked.device)
        tokens_s, tokens = timed(asked, lambda: vae(self.latents))
        key, value = vae.geometry.keys_values(tokens)
        count = POINTS_PER_CALL[asked.device.type]
        points = torch.rand(1, count, 3, generator=self.draw).to(asked.device)
        (call_s,) = in_turns(asked, lambda: vae.geometry(points, key, value), rounds=3)
        return (
            f"Shape tokens: {tokens_s:.2f} {asked.unit}. {count / call_s:,.0f} points a second in calls of {count}; "
            f"peak while decoding {peak_bytes(asked.device) / 1e9:.2f} GB."
        )

    def _noise(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.draw).to(self.asked.device, self.asked.dtype)

    @staticmethod
    def _num_parameters(network: nn.Module) -> int:
        return sum(math.prod(one.shape) for one in network.parameters())
