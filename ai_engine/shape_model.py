"""The only door to hy3dgen and torch: a cut-out picture in, a mesh out. Knows no jobs, files or addresses.

One `ShapeModel` is loaded per worker and asked by one thread at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image

from ai_engine.errors import EmptyMesh, GpuOutOfMemory, NoForeground, StartupError
from ai_engine.job import DecodeFacts, JobOptions, Progress, Stage
from ai_engine.mesh import Mesh, Shape
from ai_engine.settings import Settings
from hy3dgen import errors as shape_errors
from hy3dgen.octree import DecodeProgress
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline, ShapeVAE
from hy3dgen.sparse_field import DecodeReport

TINY_LICENCE = "Apache-2.0"
PUBLISHED_LICENCE = "Tencent Hunyuan 3D 2.0 Community License (not for the EU, the UK and South Korea)"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShapeModel:
    """The shape model, loaded: its networks on one device, and what it is called."""

    pipeline: Hunyuan3DDiTFlowMatchingPipeline
    vae: ShapeVAE
    device: torch.device

    @classmethod
    def load(cls, settings: Settings) -> ShapeModel:
        """The checkpoint of `settings`, on its device.

        Raises:
            StartupError: no such device, a GPU is required and absent, or the checkpoint can't be used.
        """
        device, begun_s = choose_device(settings.device, require_gpu=settings.require_gpu), time.monotonic()
        try:
            pipeline, vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
                settings.model_path,
                device=device,
                dtype=None if settings.dtype == "auto" else getattr(torch, settings.dtype),
                variant=settings.model_variant,
            )
        except shape_errors.CheckpointError as error:
            raise StartupError(str(error)) from error
        except torch.OutOfMemoryError as error:
            raise StartupError(f"{settings.model_path.name} does not fit the memory of {device}") from error
        logger.info(
            "model loaded in %.1f s: %s on %s", time.monotonic() - begun_s, settings.model_path, device
        )
        return cls(pipeline, vae, device)

    @property
    def model_id(self) -> str:
        """The name of the checkpoint's model."""
        return self.pipeline.config.settings.model_id

    @property
    def licence(self) -> str:
        """The licence of the weights, which the meshes are under too."""
        return PUBLISHED_LICENCE if self.model_id.startswith("hunyuan3d") else TINY_LICENCE

    @property
    def has_gpu(self) -> bool:
        """True when the networks are on a GPU."""
        return self.device.type == "cuda"

    @property
    def default_steps(self) -> int:
        """The number of steps this checkpoint is sampled with unless a job asks for another."""
        return self.pipeline.config.settings.default_steps

    def generate(self, picture: Image.Image, options: JobOptions, progress: Progress) -> Shape:
        """The mesh of the object in `picture` (RGBA, background transparent), in model units, Y up.

        `progress` hears of each denoising step and each octree level, and may raise to stop there.

        Raises:
            NoForeground: nothing of the picture is visible.
            EmptyMesh: the shape has no surface.
            GpuOutOfMemory: not even the smallest call fits the device.
        """
        with _told_as_job_errors():
            latents = self._denoise(picture, options, progress)
            return self._decode(latents, options, progress)

    def _denoise(self, picture: Image.Image, options: JobOptions, progress: Progress) -> torch.Tensor:
        latents = self.pipeline(
            picture,
            num_inference_steps=options.num_inference_steps,
            guidance_scale=options.guidance_scale,
            # Drawn on the CPU: the same seed starts from the same noise on every device.
            generator=torch.Generator("cpu").manual_seed(options.seed),
            callback=lambda done, total: progress(Stage.DENOISE, done, total),
        )
        assert isinstance(latents, torch.Tensor)
        return latents

    def _decode(self, latents: torch.Tensor, options: JobOptions, progress: Progress) -> Shape:
        reports: list[DecodeReport] = []

        def on_level(level: DecodeProgress) -> None:
            progress(Stage.DECODE, level.level, level.num_levels)

        with torch.no_grad():
            tokens = self.vae(latents / self.vae.scale_factor)
        (mesh,) = self.vae.latents2mesh(
            tokens,
            bounds=options.bounds,
            octree_resolution=options.octree_resolution,
            mc_level=options.mc_level,
            num_chunks=options.num_chunks,
            decode_mode=options.decode_mode,
            on_level=on_level,
            on_report=reports.append,
        )
        return Shape(Mesh(mesh.vertices, mesh.faces), _facts(reports[0], options))


def choose_device(name: str | Literal["auto"], *, require_gpu: bool) -> torch.device:
    """The device called `name`; `auto` is the first GPU, else the CPU.

    Raises:
        StartupError: the GPU asked for, or required, is not there.
    """
    has_gpu = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if has_gpu else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not has_gpu:
        raise StartupError(f"DEVICE={name}, but PyTorch sees no GPU; is the driver there and passed in?")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise StartupError(f"DEVICE={name}, but there are {torch.cuda.device_count()} GPUs, counted from 0")
    if require_gpu and device.type != "cuda":
        raise StartupError("REQUIRE_GPU is set, but there is no GPU to use; unset it to run on the CPU")
    return device


def _facts(report: DecodeReport, options: JobOptions) -> DecodeFacts:
    return DecodeFacts(
        mode=options.decode_mode,
        coarse_resolution=report.coarse_resolution,
        saturation_distance=report.saturation_distance,
        is_covered=report.is_covered,
        num_queries=report.num_queries,
    )


@contextmanager
def _told_as_job_errors() -> Iterator[None]:
    """What the shape model raises on purpose, in the words of the contract."""
    try:
        yield
    except shape_errors.EmptyImage as error:
        raise NoForeground(str(error), stage=Stage.DENOISE) from error
    except shape_errors.EmptyMesh as error:
        raise EmptyMesh(str(error)) from error
    except (shape_errors.GpuOutOfMemory, torch.OutOfMemoryError) as error:
        raise GpuOutOfMemory(
            "The job does not fit the device's memory, not even in its smallest form"
        ) from error
