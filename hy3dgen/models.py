"""One door to every published shape model: files -> family -> loaded model -> latents, tokens, mesh.

    model = open_model("models/TripoSG", device="cuda", dtype=torch.float16)
    tokens = model.tokens(model.sample(cut_out))
    mesh, report = model.decode(tokens, resolution=384)

Tensors, with B = 1 from a picture:

    context  [B, T, X]   encode(picture)
    latents  [B, N, C]   sample(picture): time 0 noise .. 1 shape
    tokens   [B, N, W]   tokens(latents)
    field    [B, P]      query(points, tokens): positive inside, points in model units
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from hy3dgen.errors import CheckpointError
from hy3dgen.families import hunyuan3d_21, step1x_3d, triposg
from hy3dgen.families.card import Card
from hy3dgen.families.family import Family, LoadedFamily
from hy3dgen.families.field_check import field_warnings
from hy3dgen.families.velocity import SamplingOptions, skip_velocity_for, velocity_for
from hy3dgen.field.geometry import Box, Mesh
from hy3dgen.field.octree import Mode, OnLevel
from hy3dgen.field.sparse_field import DecodeReport
from hy3dgen.networks.skip_dit import SkipDiT
from hy3dgen.networks.vecset_decoder import check_width
from hy3dgen.runtime.out_of_memory import OnLowered, ignore_lowered, patient
from hy3dgen.sampling import Velocity, euler
from hy3dgen.weights.published_files import open_published

FAMILIES: tuple[Family, ...] = (hunyuan3d_21.FAMILY, triposg.FAMILY, step1x_3d.FAMILY)
SAMPLERS = ("euler",)
StepCallback = Callable[[int, int], None]


def open_model(
    path: str | Path,
    *,
    device: str | torch.device,
    dtype: torch.dtype,
    overrides: Mapping[str, Any] | None = None,
) -> ShapeModel:
    """The model of the file or folder at `path`, in a published layout, on `device`.

    `overrides` sets what neither tensors nor JSON files tell (num_latents, ...).

    Raises:
        CheckpointError: nothing there, damaged, of no known family, incomplete, or tensors that do not fit.
    """
    device, path = torch.device(device), Path(path)
    with open_published(path, device) as files:
        found = [family for family in FAMILIES if family.recognises(files.shapes)]
        if not found:
            known = ", ".join(family.name for family in FAMILIES)
            raise CheckpointError(
                f"{path.name} is of no known family ({known}); it begins with {_some(files.shapes)}"
            )
        return ShapeModel(found[0].load(files, dtype, overrides or {}), device, dtype)


def _some(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)[:3]) or "no tensor"


class ShapeModel:
    """One loaded model of any family."""

    def __init__(self, family: LoadedFamily, device: torch.device, dtype: torch.dtype) -> None:
        self.family, self.device, self.dtype = family, device, dtype

    @property
    def card(self) -> Card:
        """Licences, territory, source and defaults."""
        return self.family.card

    def prepare_image(self, image: Image.Image) -> Tensor:
        """The family's pixels of an RGBA cut-out, before its encoder's own resizing and normalisation: [1, 3, H, W].

        In [-1, 1] for Hunyuan3D, 8-bit for TripoSG and Step1X-3D.

        Raises:
            EmptyImage: nothing of the picture is visible.
            ImageError: it is no picture.
        """
        return self.family.prepare(image)

    @torch.no_grad()
    def encode(self, image: Image.Image) -> Float[Tensor, "1 context width"]:
        """The tokens that the denoiser listens to.

        Raises:
            EmptyImage, ImageError: as `prepare_image`.
        """
        return patient(self.family.conditioner)(self.prepare_image(image).to(self.device))

    @torch.no_grad()
    def velocity(
        self,
        latents: Float[Tensor, "batch tokens channels"],
        time: float | Float[Tensor, " batch"],
        context: Float[Tensor, "batch context width"],
    ) -> Float[Tensor, "batch tokens channels"]:
        """One conditional evaluation: the velocity towards the shape at `time`, 0 noise .. 1 shape."""
        family = self.family
        moment = torch.as_tensor(time, dtype=torch.float64, device=latents.device).expand(len(latents))
        return family.clock.towards_shape(family.dit(latents, family.clock.network_time(moment), context))

    @torch.no_grad()
    def sample(
        self,
        image: Image.Image,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | None = None,
        latents: Float[Tensor, "1 tokens channels"] | None = None,
        sampler: str = "euler",
        callback: StepCallback | None = None,
        options: SamplingOptions | None = None,
    ) -> Float[Tensor, "1 tokens channels"]:
        """The latents of the shape in the picture; what is None is as published for the family.

        `latents` replaces the noise drawn with `generator`, on the generator's device. `callback(done, total)` is
        called after each step and may raise to stop.

        Raises:
            EmptyImage, ImageError: the picture can't be used.
            LatentShapeError: `latents` have another width than the model's.
            ValueError: an unknown sampler, or fewer than one step.
        """
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
        defaults = self.family.defaults
        times = self.family.times(defaults.num_steps if num_inference_steps is None else num_inference_steps)
        scale = float(defaults.guidance_scale if guidance_scale is None else guidance_scale)
        start = self.noise(generator) if latents is None else self._checked(latents)
        velocity = self._guided_velocity(self.encode(image), times, scale, options or SamplingOptions())
        return euler(start, times, velocity, callback or _ignore)

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
        """
        vae = self.family.vae
        return vae(latents / vae.scale_factor)

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
        max_points_per_call: int = 8000,
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
        frame, reports = self.family.frame, list[DecodeReport]()
        box = Box.from_bounds(frame.half_extent if bounds is None else bounds)
        (mesh,) = self.family.vae.latents2mesh(
            tokens,
            bounds=(*box.lower, *box.upper),
            octree_resolution=resolution,
            mc_level=frame.level if level is None else float(level),
            num_chunks=max_points_per_call,
            decode_mode=mode,
            on_level=on_level,
            on_report=reports.append,
            on_lowered=on_lowered,
        )
        (report,) = reports
        found = field_warnings(
            lambda points: self.query(points, tokens), box, resolution, report, self.device
        )
        return mesh, replace(report, warnings=found)

    def _guided_velocity(
        self, context: Tensor, times: Tensor, scale: float, options: SamplingOptions
    ) -> Velocity:
        family = self.family
        if scale <= family.defaults.guidance_off:
            scale = 1.0
        if isinstance(family.dit, SkipDiT):
            return skip_velocity_for(family.dit, context, family.clock, scale, options)
        return velocity_for(family.dit, context, times, scale, options, clock=family.clock)

    def _checked(self, latents: Tensor) -> Tensor:
        check_width(latents, self.family.vae.config.latent_channels, stage="sample(latents=...)")
        return latents.to(self.device, self.dtype)


def _ignore(done: int, total: int) -> None:
    pass
