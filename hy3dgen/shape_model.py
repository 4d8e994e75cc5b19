"""One loaded model of any family: a picture -> context -> latents -> tokens -> field -> mesh.

Tensors, with B = 1 from a picture:

    context  [B, T, X]   encode(picture)
    latents  [B, N, C]   sample(picture): time 0 noise .. 1 shape
    tokens   [B, N, W]   tokens(latents)
    field    [B, P]      query(points, tokens): positive inside, points in model units
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hy3dgen.errors import ImageError
from hy3dgen.families.card import Card
from hy3dgen.families.family import Defaults, LoadedFamily
from hy3dgen.families.field_check import field_warnings
from hy3dgen.families.velocity import SamplingOptions, skip_velocity_for, velocity_for
from hy3dgen.field.decode import Search
from hy3dgen.field.decode_options import POINTS_PER_CALL, DecodeOptions, Mode, OnLevel
from hy3dgen.field.geometry import Box, Mesh
from hy3dgen.field.sparse_field import DecodeReport
from hy3dgen.networks.skip_dit import SkipDiT
from hy3dgen.networks.stream_dit import DiT
from hy3dgen.networks.vecset_decoder import check_width
from hy3dgen.runtime.attention import preferring
from hy3dgen.runtime.compiled import reporting
from hy3dgen.runtime.execution import Execution, StepCallback, check_finite, once_done
from hy3dgen.runtime.out_of_memory import OnLowered, ignore_lowered, retry_after_oom
from hy3dgen.sampling import Sampler, Velocity, adams, euler
from hy3dgen.weights.offload import ModelOffload, Residence, offload_layers

SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
Picture = Image.Image | NDArray[np.uint8] | str | Path
"""A picture, the RGBA array of one [height, width, 4], or the path of one."""
Views = Mapping[str, Picture]
"""Pictures of one object by the side they show: front, left, back, right."""


@dataclass(frozen=True, eq=False)
class ShapeModel:
    """One loaded model of any family, and how its networks are run."""

    family: LoadedFamily
    device: torch.device
    dtype: torch.dtype
    execution: Execution = field(default_factory=Execution)

    def __post_init__(self) -> None:
        self.family.vae.execution = self.execution

    def running(self, **changes: Any) -> ShapeModel:
        """The same networks, run with another `Execution`: `changes` are of its fields."""
        return replace(self, execution=replace(self.execution, **changes))

    def resident(self, residence: Residence) -> ShapeModel:
        """The model with its weights in main memory, loaded to the device as `residence` says; once."""
        if residence == "minimal":
            offload_layers(self.family.networks, self.device)
            return self.running(is_pair_batched=self.device.type == "cuda")
        if residence == "low":
            return self.running(load=ModelOffload(self.family.networks, self.device).load)
        return self

    @property
    def card(self) -> Card:
        """Licences, territory, source and defaults."""
        return self.family.card

    @property
    def defaults(self) -> Defaults:
        """What the model was published to be sampled with."""
        return self.family.defaults

    @property
    def points_per_call(self) -> int:
        """The points asked of the field in one call, unless a caller bounds them further."""
        return self.execution.points_per_call or POINTS_PER_CALL

    def prepare_image(self, rgba: Picture | Views) -> Tensor:
        """The family's pixels of an RGBA cut-out, before its encoder's own resizing and normalisation: [1, 3, H, W].

        In [-1, 1] for Hunyuan3D, 8-bit for TripoSG and Step1X-3D; of named views [1, V, 3, H, W].

        Raises:
            EmptyImage: nothing of the picture is visible.
            ImageError: it is no picture, a view has an unknown name, or the model takes one view only.
        """
        if isinstance(rgba, Mapping):
            return self._prepare_views(rgba)[0]
        return self.family.prepare(_open_picture(rgba))

    @torch.no_grad()
    def encode(self, image: Picture | Views) -> Float[Tensor, "1 context width"]:
        """The tokens that the denoiser listens to; of named views one after the other.

        Raises:
            EmptyImage, ImageError: as `prepare_image`.
        """
        settings = self.family.settings
        if settings is not None and settings.is_multi_view and not isinstance(image, Mapping):
            image = {"front": image}
        if isinstance(image, Mapping):
            return self.encode_pixels(*self._prepare_views(image))
        return self.encode_pixels(self.prepare_image(image))

    @torch.no_grad()
    def encode_pixels(
        self, pixels: Tensor, views: Sequence[int] | None = None
    ) -> Float[Tensor, "1 context width"]:
        """The tokens of what `prepare_image` gives; `views` are the indices of named views."""
        self.execution.load(self.family.conditioner)
        return retry_after_oom(self.family.conditioner)(pixels.to(self.device), views)

    def _prepare_views(self, views: Views) -> tuple[Tensor, tuple[int, ...]]:
        if self.family.prepare_views is None:
            raise ImageError(f"{self.card.model_id} takes one view, got {', '.join(sorted(views))}")
        return self.family.prepare_views({name: _open_picture(picture) for name, picture in views.items()})

    @torch.no_grad()
    def velocity(
        self,
        x: Float[Tensor, "batch tokens channels"],
        tau: float | Float[Tensor, " batch"],
        context: Float[Tensor, "batch context width"],
    ) -> Float[Tensor, "batch tokens channels"]:
        """One conditional evaluation: the velocity of latents `x` towards the shape at `tau`, 0 noise .. 1 shape.

        A network that takes the guidance scale as input gets the model's own.
        """
        family = self.family
        self.execution.load(family.dit)
        moment = torch.as_tensor(tau, dtype=torch.float64, device="cpu").expand(len(x))
        moment = family.clock.network_time(moment).to(x.device)
        if isinstance(family.dit, DiT) and family.dit.config.has_guidance:
            scale = torch.full_like(moment, family.defaults.guidance_scale)
            return family.clock.towards_shape(family.dit(x, moment, context, scale))
        return family.clock.towards_shape(family.dit(x, moment, context))

    @torch.no_grad()
    def sample(
        self,
        image: Picture | Views,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | None = None,
        latents: Float[Tensor, "batch tokens channels"] | None = None,
        sampler: Sampler = "euler",
        callback: StepCallback | None = None,
        options: SamplingOptions | None = None,
        on_lowered: OnLowered = ignore_lowered,
    ) -> Float[Tensor, "batch tokens channels"]:
        """The latents of the shape in the picture; what is None is as published for the family.

        `latents` replaces the noise drawn with `generator`, on the generator's device. `callback(done, total)` is
        called after each step and may raise to stop. `options` trades work for exactness; `on_lowered` hears what was
        lowered where the device ran out of memory. `sampler` "adams" is the two-step method on its own
        grid, with as many network calls as steps: of second order where Euler's is of first.

        Raises:
            EmptyImage, ImageError: the picture can't be used.
            LatentShapeError: `latents` have another width than the model's.
            NotFinite: the denoiser's numbers overflowed.
            SamplerUnfit: "adams" for a distilled model.
            ValueError: an unknown sampler, or a number of steps that the model's times do not have.
        """
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
        times = self.family.grid(sampler, num_inference_steps)
        scale = float(self.defaults.guidance_scale if guidance_scale is None else guidance_scale)
        context = self.encode(image)
        start = self.noise(generator) if latents is None else self._check_latents(latents)
        self.execution.load(self.family.dit)
        on_step = _ignore if callback is None else once_done(callback, self.device)
        with preferring(self.execution.attention), reporting((self.execution.denoise,), on_lowered):
            velocity = self.guided_velocity(context, times, scale, options or self._options, on_lowered)
            found = (adams if sampler == "adams" else euler)(start, times, velocity, on_step)
        return check_finite(found, "the denoiser")

    def noise(self, generator: torch.Generator | None = None) -> Float[Tensor, "1 tokens channels"]:
        """Standard normal latents, drawn on the generator's device: a CPU seed gives the same shape everywhere."""
        shape = (1, self.family.num_latents, self.family.vae.config.latent_channels)
        origin = self.device if generator is None else generator.device
        return torch.randn(shape, generator=generator, device=origin, dtype=self.dtype).to(self.device)

    @torch.no_grad()
    def tokens(self, latents: Float[Tensor, "batch tokens channels"]) -> Float[Tensor, "batch tokens width"]:
        """The shape's tokens, from latents as `sample` gives them.

        Raises:
            LatentShapeError: `latents` have another width than the model's.
            NotFinite: the decoder's numbers overflowed.
        """
        vae = self.family.vae
        return check_finite(retry_after_oom(vae)(latents / vae.scale_factor), "the shape decoder")

    @torch.no_grad()
    def query(
        self, points: Float[Tensor, "batch points 3"], tokens: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch points"]:
        """The field at points in model units, float32, positive inside.

        Raises:
            LatentShapeError: `tokens` did not come out of `tokens`.
        """
        return self.family.vae.query_geometry(points, tokens)

    def decode(
        self,
        tokens: Float[Tensor, "1 tokens width"],
        *,
        resolution: int,
        bounds: float | Sequence[float] | None = None,
        level: float | None = None,
        mode: Mode = "strict",
        max_points_per_call: int | None = None,
        on_level: OnLevel | None = None,
        on_lowered: OnLowered = ignore_lowered,
    ) -> tuple[Mesh, DecodeReport]:
        """The closed mesh of a shape, vertices in model units, and how its decode went, warnings included.

        `bounds` (half extent or six numbers) and `level` are the family's unless given.

        Raises:
            EmptyMesh: the field does not cross `level` inside the box.
            GpuOutOfMemory: not even the smallest call fits the device.
            LatentShapeError: `tokens` did not come out of `tokens`.
        """
        vae, frame = self.family.vae, self.family.frame
        wished = max_points_per_call or self.points_per_call
        search = Search(
            box=frame.box if bounds is None else Box.from_bounds(bounds),
            resolution=resolution,
            iso=frame.iso if level is None else float(level),
            options=DecodeOptions(mode, self.execution.bounded_points(wished)),
        )
        with reporting((self.execution.query,), on_lowered):
            decoded = vae.decode(tokens, search, on_level=on_level, on_lowered=on_lowered)
        warnings = field_warnings(
            lambda points: self.query(points, tokens), search.box, resolution, decoded.report, self.device
        )
        return decoded.mesh, replace(decoded.report, warnings=warnings)

    def guided_velocity(
        self,
        context: Float[Tensor, "1 context width"],
        times: Float[Tensor, " times"],
        scale: float,
        options: SamplingOptions,
        on_lowered: OnLowered = ignore_lowered,
    ) -> Velocity:
        """The velocity at any of `times`, guidance included, with all that no step changes made beforehand."""
        family = self.family
        if scale <= family.defaults.guidance_off:
            scale = 1.0
        if isinstance(family.dit, SkipDiT):
            return skip_velocity_for(family.dit, context, family.clock, scale, options)
        return velocity_for(
            family.dit, context, times, scale, options, self.execution.denoise, on_lowered, family.clock
        )

    @property
    def _options(self) -> SamplingOptions:
        return SamplingOptions(pairing="batched" if self.execution.is_pair_batched else "folded")

    def _check_latents(self, latents: Tensor) -> Tensor:
        check_width(latents, self.family.vae.config.latent_channels, stage="sample(latents=...)")
        return latents.to(self.device, self.dtype)


def _open_picture(picture: Picture) -> Image.Image:
    if isinstance(picture, str | Path):
        return Image.open(picture)
    return Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture


def _ignore(done: int, total: int) -> None:
    pass
