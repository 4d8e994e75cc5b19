"""The published names of Hunyuan3D-2 over one model: a pipeline that gives latents, and its VAE that gives meshes.

    pixels  [1, 3, S, S] in [-1, 1], white background
    context [1, T, X]
    latents [1, N, C]        time 0 noise .. 1 shape
    tokens  [1, N, W]        vae(latents / scale_factor)
    meshes                   vae.latents2mesh(tokens)

All work is done by `models.ShapeModel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hy3dgen.families.variants import ModelConfig, Settings
from hy3dgen.families.velocity import SamplingOptions
from hy3dgen.models import open_model
from hy3dgen.networks.image_encoder import Conditioner
from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.runtime.execution import StepCallback
from hy3dgen.runtime.out_of_memory import OnLowered, ignore_lowered
from hy3dgen.sampling import Schedule, times_for
from hy3dgen.shape_model import Picture, ShapeModel, Views
from hy3dgen.weights.offload import Residence
from hy3dgen.weights.tensor_file import OnLoaded


class Hunyuan3DDiTFlowMatchingPipeline:
    """Picture in, latents out. Made by `from_single_file`; public parts: `conditioner`, `dit`, `vae`."""

    def __init__(self, model: ShapeModel) -> None:
        self.model = model

    @classmethod
    def from_single_file(
        cls,
        ckpt_path: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        use_safetensors: bool = True,
        overrides: Mapping[str, Any] | None = None,
        variant: str | None = None,
        vae_path: str | Path | None = None,
        residence: Residence = "full",
        on_loaded: OnLoaded | None = None,
    ) -> tuple[Hunyuan3DDiTFlowMatchingPipeline, ShapeVAE]:
        """The pipeline and its VAE, both on `device`, in eval mode: see `open_model`.

        `dtype` is float32 on a CPU and float16 elsewhere unless given. `use_safetensors` is kept for callers: the
        file's suffix says how it is read, and pickles are read as tables of tensors alone.

        Raises:
            CheckpointError: a file is missing, damaged, of another model, or its tensors do not fit.
        """
        device = torch.device(device)
        model = open_model(
            ckpt_path,
            device=device,
            dtype=dtype or (torch.float32 if device.type == "cpu" else torch.float16),
            overrides=overrides,
            variant=variant,
            vae_path=vae_path,
            residence=residence,
            on_loaded=on_loaded,
        )
        return cls(model), model.family.vae

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return self.model.device

    @property
    def conditioner(self) -> Conditioner:
        """The picture encoder."""
        return self.model.family.conditioner

    @property
    def dit(self) -> Any:
        """The denoiser."""
        return self.model.family.dit

    @property
    def vae(self) -> ShapeVAE:
        """The decoder."""
        return self.model.family.vae

    @property
    def config(self) -> ModelConfig:
        """What the networks look like, and the settings that no tensor shape shows."""
        settings = self.model.family.settings or Settings()
        return ModelConfig(self.dit.config, self.vae.config, self.conditioner.config, settings)

    def prepare_image(self, image: Picture | Views) -> Tensor:
        """The model's view of a picture, [1, 3, S, S], or of named views, [1, V, 3, S, S]: see `ShapeModel`."""
        return self.model.prepare_image(image)

    def encode(self, image: Picture | Views) -> Float[Tensor, "1 context width"]:
        """The tokens of a picture, or of named views one after the other."""
        return self.model.encode(image)

    def noise(self, generator: torch.Generator | None = None) -> Float[Tensor, "1 tokens channels"]:
        """Standard normal latents, drawn on the generator's device."""
        return self.model.noise(generator)

    @torch.no_grad()
    def __call__(
        self,
        image: Picture | Views,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | None = None,
        latents: Float[Tensor, "batch tokens channels"] | None = None,
        schedule: Schedule | None = None,
        callback: StepCallback | None = None,
        sampling: SamplingOptions | None = None,
        on_lowered: OnLowered = ignore_lowered,
    ) -> Float[Tensor, "batch tokens channels"]:
        """Latents of the shape in the picture: see `ShapeModel.sample`.

        `schedule` takes other times than the checkpoint's own.

        Raises:
            EmptyImage, ImageError: the picture can't be used.
            ValueError: a number of steps that the schedule does not have.
        """
        model = self.model if schedule is None else _with_schedule(self.model, schedule)
        return model.sample(
            image,
            num_inference_steps,
            guidance_scale,
            generator,
            latents,
            callback=callback,
            options=sampling,
            on_lowered=on_lowered,
        )


def _with_schedule(model: ShapeModel, schedule: Schedule) -> ShapeModel:
    """The model with the times of another schedule."""
    settings = model.family.settings or Settings()
    times = partial(times_for, schedule, consistency_timesteps=settings.consistency_timesteps)
    return replace(model, family=replace(model.family, times=times))
