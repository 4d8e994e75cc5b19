"""One picture to one shape, in reading order: prepare, condition, denoise; then decode and extract through the VAE.

    pixels  [1, 3, S, S] in [-1, 1], white background
    context [1, T, X]
    latents [1, N, C]        time 0 noise .. 1 shape
    tokens  [1, N, W]        vae(latents / scale_factor)
    meshes                   vae.latents2mesh(tokens)

Knows no files but the checkpoint, no jobs and no web.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.attention import SDPBackend

from hy3dgen.families.checkpoint import Networks, load_networks, load_vae
from hy3dgen.families.variants import DEFAULT_GUIDANCE, ModelConfig
from hy3dgen.families.velocity import Network, SamplingOptions, velocity_for
from hy3dgen.field.geometry import Mesh
from hy3dgen.networks.image_prep import prepare_image, prepare_views
from hy3dgen.networks.vecset_decoder import ShapeVAE, check_width
from hy3dgen.runtime.attention import preferring
from hy3dgen.runtime.out_of_memory import OnLowered, ignore_lowered, patient
from hy3dgen.sampling import Schedule, euler, times_for
from hy3dgen.weights.offload import Bring, Residence, Turns, bring_layers, stay
from hy3dgen.weights.tensor_file import OnLoaded

Picture = Image.Image | str | Path
Views = Mapping[str, Picture]
StepCallback = Callable[[int, int], None]


class Hunyuan3DDiTFlowMatchingPipeline:
    """Picture in, latents or meshes out. Made by `from_single_file`; public parts: `conditioner`, `dit`, `vae`."""

    def __init__(self, networks: Networks, device: torch.device, dtype: torch.dtype) -> None:
        self.config: ModelConfig = networks.config
        self.conditioner = networks.conditioner
        self.dit = networks.dit
        self.vae = networks.vae
        self.device = device
        self.dtype = dtype
        self.network: Network = self.dit.velocity
        """What is asked for velocities; runtime.warm_up may put a compiled twin here."""
        self.attention: SDPBackend | None = None
        """The attention kernel to prefer while denoising."""
        self.bring: Bring = stay

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
        """The pipeline and its VAE, both on `device`, in eval mode.

        `dtype` is float32 on a CPU and float16 elsewhere unless given. `variant` names a published model (v2-0,
        v2-0-turbo, v2-mini, ...) where the file's name does not; `overrides` sets single facts that tensor shapes
        do not tell (num_latents, scale_factor, schedule, ...). `vae_path` takes the ShapeVAE from a separate file.
        `residence` says how much of the weights is on `device` at a time: all, one network, one layer. `on_loaded`
        hears which share of the weights, 0 to 1, has been read.

        Raises:
            CheckpointError: a file is missing, damaged, of another model, or its tensors do not fit.
        """
        device = torch.device(device)
        dtype = dtype or (torch.float32 if device.type == "cpu" else torch.float16)
        home = device if residence == "full" else torch.device("cpu")
        networks = load_networks(
            ckpt_path,
            device=home,
            dtype=dtype,
            use_safetensors=use_safetensors,
            variant=variant,
            overrides=overrides,
            on_loaded=on_loaded,
        )
        pipeline = cls(networks, device, dtype)
        if vae_path is not None:
            scale_factor = networks.config.settings.scale_factor
            pipeline.vae = load_vae(vae_path, device=home, dtype=dtype, scale_factor=scale_factor)
        pipeline.reside(residence)
        return pipeline, pipeline.vae

    def reside(self, residence: Residence) -> None:
        """Leaves the weights in main memory, to come to the device as `residence` says; once, after loading."""
        networks = (self.conditioner, self.dit, self.vae)
        if residence == "minimal":
            bring_layers(networks, self.device)
        elif residence == "low":
            self.bring = self.vae.bring = Turns(networks, self.device).take

    def prepare_image(self, image: Picture | Views) -> Tensor:
        """The model's view of a picture, [1, 3, S, S], or of named views, [1, V, 3, S, S], in [-1, 1].

        Raises:
            EmptyImage: nothing of the picture is visible.
            ImageError: it is no picture, or a view has an unknown name.
        """
        settings = self.config.settings
        if isinstance(image, Mapping):
            return prepare_views(_opened_views(image), settings.image_px, settings.border_ratio)[0]
        return prepare_image(_opened(image), settings.image_px, settings.border_ratio)

    @torch.no_grad()
    def __call__(
        self,
        image: Picture | Views,
        num_inference_steps: int | None = None,
        guidance_scale: float = DEFAULT_GUIDANCE,
        generator: torch.Generator | None = None,
        latents: Float[Tensor, "batch tokens channels"] | None = None,
        schedule: Schedule | None = None,
        callback: StepCallback | None = None,
        output_type: Literal["latent", "mesh"] = "latent",
        sampling: SamplingOptions | None = None,
        on_lowered: OnLowered = ignore_lowered,
    ) -> Tensor | list[Mesh]:
        """Latents [1, N, C] of the shape in the picture, or its mesh.

        `latents` replaces the noise drawn with `generator` (on the generator's device: a CPU seed gives the same
        shape everywhere). A negative `guidance_scale` turns guidance off where the network does not embed it.
        `callback(done, total)` is called after each step and may raise to stop. `sampling` trades work for exactness.
        `on_lowered` hears what was lowered where the device ran out of memory.

        Raises:
            EmptyImage, ImageError: the picture can't be used.
            EmptyMesh: with `output_type="mesh"`, when there is no surface.
            ValueError: unknown `output_type`, or a number of steps the schedule does not have.
        """
        if output_type not in ("latent", "mesh"):
            raise ValueError(f"output_type must be 'latent' or 'mesh', got {output_type!r}")
        settings = self.config.settings
        steps = num_inference_steps or settings.default_steps
        times = times_for(schedule or settings.schedule, steps, settings.consistency_timesteps)
        context = self.encode(image)
        start = self.noise(generator) if latents is None else self._checked(latents)
        self.bring(self.dit)
        options = sampling or SamplingOptions()
        with preferring(self.attention):
            velocity = velocity_for(
                self.dit, context, times, guidance_scale, options, self.network, on_lowered
            )
            on_step = _ignore if callback is None else once_done(callback, self.device)
            result = euler(start, times, velocity, on_step)
        if output_type == "latent":
            return result
        return self.vae.latents2mesh(self.vae(result / self.vae.scale_factor))

    @torch.no_grad()
    def encode(self, image: Picture | Views) -> Float[Tensor, "1 context width"]:
        """The tokens of a picture, or of named views one after the other."""
        self.bring(self.conditioner)
        if self.config.settings.is_multi_view and not isinstance(image, Mapping):
            image = {"front": image}
        if not isinstance(image, Mapping):
            return patient(self.conditioner)(self.prepare_image(image).to(self.device))
        settings = self.config.settings
        pixels, views = prepare_views(_opened_views(image), settings.image_px, settings.border_ratio)
        return patient(self.conditioner)(pixels.to(self.device), views)

    def noise(self, generator: torch.Generator | None = None) -> Float[Tensor, "1 tokens channels"]:
        """Standard normal latents, drawn on the generator's device."""
        shape = (1, self.config.settings.num_latents, self.config.dit.latent_channels)
        origin = self.device if generator is None else generator.device
        return torch.randn(shape, generator=generator, device=origin, dtype=self.dtype).to(self.device)

    def _checked(self, latents: Tensor) -> Tensor:
        check_width(latents, self.config.dit.latent_channels, stage="pipeline(latents=...)")
        return latents.to(self.device, self.dtype)


def _ignore(done: int, total: int) -> None:
    pass


def once_done(callback: StepCallback, device: torch.device) -> StepCallback:
    """`callback`, told of a step when the device has done it: a GPU is only given its work, many steps ahead."""

    def on_step(done: int, total: int) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        callback(done, total)

    return on_step


def _opened(picture: Picture) -> Image.Image:
    return Image.open(picture) if isinstance(picture, str | Path) else picture


def _opened_views(views: Views) -> dict[str, Image.Image]:
    return {name: _opened(picture) for name, picture in views.items()}
