"""The only door to hy3dgen and torch: a cut-out picture in, a mesh out. Knows no jobs, files or addresses.

One `ShapeModel` is loaded per worker and asked by one thread at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image

from ai_engine.errors import DeviceFault, EmptyMesh, GpuOutOfMemory, NoForeground, StartupError
from ai_engine.job import DecodeFacts, JobOptions, Progress
from ai_engine.mesh.mesh import Mesh
from ai_engine.pipeline.resources import Shape
from ai_engine.settings import Settings
from ai_engine.stage import Stage
from hy3dgen import errors as shape_errors
from hy3dgen.families.checkpoint import weights_of
from hy3dgen.field.octree import DecodeProgress
from hy3dgen.field.sparse_field import DecodeReport
from hy3dgen.runtime.out_of_memory import OnLowered, patient
from hy3dgen.runtime.warm_up import choose_attention, compile_networks, set_compiler_cache, warm_up
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline, ShapeVAE
from hy3dgen.weights.offload import Residence, Weights, choose_residence

TINY_LICENCE = "Apache-2.0"
PUBLISHED_LICENCE = "Tencent Hunyuan 3D 2.0 Community License (not for the EU, the UK and South Korea)"

DEVICE_FAULT_MESSAGES = ("CUDA error", "CUDA driver error", "cuDNN error", "Triton Error [CUDA]")
"""How errors of the GPU begin that have no class of their own: from cuBLAS, cuDNN, the driver, compiled kernels."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShapeModel:
    """The shape model, loaded: its networks on one device, and what it is called."""

    pipeline: Hunyuan3DDiTFlowMatchingPipeline
    vae: ShapeVAE
    device: torch.device
    residence: Residence = "full"

    @classmethod
    def load(cls, settings: Settings, on_loaded: Callable[[float], None] | None = None) -> ShapeModel:
        """The checkpoint of `settings`, on its device. `on_loaded` hears which share of it, 0 to 1, is there.

        Raises:
            StartupError: no such device, a GPU is required and absent, or the checkpoint can't be used.
        """
        begun_s = time.monotonic()
        device = choose_device(settings.device, require_gpu=settings.require_gpu)
        try:
            room = Room.on(device, settings)
            pipeline, vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
                settings.model_path,
                device=device,
                dtype=dtype_of(settings, device),
                variant=settings.model_variant,
                residence=room.residence,
                on_loaded=on_loaded,
            )
        except shape_errors.CheckpointError as error:
            raise StartupError(str(error)) from error
        except torch.OutOfMemoryError as error:
            raise StartupError(f"{settings.model_path.name} does not fit the memory of {device}") from error
        seconds = time.monotonic() - begun_s
        logger.info(
            "model loaded in %.1f s: %s on %s, memory %s",
            seconds,
            settings.model_path,
            device,
            room.residence,
        )
        return cls(pipeline, vae, device, room.residence)

    def make_ready(self, settings: Settings) -> None:
        """Does before the first job what would make it slower than later ones: first calls, and compiling.

        Raises:
            StartupError: not even one call of each kind fits the device's memory.
        """
        begun_s, points = time.monotonic(), JobOptions(seed=0).num_chunks
        try:
            if self.has_gpu:
                choose_attention(self.pipeline)
            if self._is_compiled(settings.compile):
                set_compiler_cache(settings.data_dir.absolute() / "compiled")
                compile_networks(self.pipeline, points)
            warm_up(self.pipeline, points)
        except torch.OutOfMemoryError as error:
            raise StartupError(f"a job does not fit the memory of {self.device}; set MEMORY=low") from error
        logger.info("model ready for its first job in %.1f s", time.monotonic() - begun_s)

    def _is_compiled(self, wish: Literal["auto", "0", "1"]) -> bool:
        # A compiled network is bound to the place its weights lie at.
        return self.residence == "full" and (wish == "1" or (wish == "auto" and self.has_gpu))

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
    def peak_memory_bytes(self) -> int | None:
        """The most of the GPU's memory that PyTorch had in use so far; None on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) if self.has_gpu else None

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
            DeviceFault: the device broke.
        """
        lowered: list[str] = []

        def on_lowered(what: str) -> None:
            logger.warning("lowered, since the memory of %s ran short: %s", self.device, what)
            lowered.append(what)

        with _told_as_job_errors():
            latents = self._denoise(picture, options, progress, on_lowered)
            mesh, report = self._decode(latents, options, progress, on_lowered)
        return Shape(mesh, _facts(report, options), tuple(lowered))

    def _denoise(
        self, picture: Image.Image, options: JobOptions, progress: Progress, on_lowered: OnLowered
    ) -> torch.Tensor:
        num_steps = options.num_inference_steps or self.default_steps

        def on_step(done: int, total: int) -> None:
            # A last step of no length is left out; it counts as done with the one before.
            progress(Stage.DENOISE, num_steps if done == total else done, num_steps)

        latents = self.pipeline(
            picture,
            num_inference_steps=num_steps,
            guidance_scale=options.guidance_scale,
            # Drawn on the CPU: the same seed starts from the same noise on every device.
            generator=torch.Generator("cpu").manual_seed(options.seed),
            callback=on_step,
            on_lowered=on_lowered,
        )
        assert isinstance(latents, torch.Tensor)
        return latents

    def _decode(
        self, latents: torch.Tensor, options: JobOptions, progress: Progress, on_lowered: OnLowered
    ) -> tuple[Mesh, DecodeReport]:
        reports: list[DecodeReport] = []

        def on_level(level: DecodeProgress) -> None:
            progress(Stage.DECODE, level.level, level.num_levels)

        with torch.no_grad():
            tokens = patient(self.vae)(latents / self.vae.scale_factor)
        (mesh,) = self.vae.latents2mesh(
            tokens,
            bounds=options.bounds,
            octree_resolution=options.octree_resolution,
            mc_level=options.mc_level,
            num_chunks=options.num_chunks,
            decode_mode=options.decode_mode,
            on_level=on_level,
            on_report=reports.append,
            on_lowered=on_lowered,
        )
        return Mesh(mesh.vertices, mesh.faces), reports[0]


@dataclass(frozen=True)
class Room:
    """What the checkpoint's networks need of a device's memory, and what there is; bytes."""

    weights: Weights
    residence: Residence
    free: int | None
    """None where it is main memory, which the system lends and takes back."""

    @classmethod
    def on(cls, device: torch.device, settings: Settings) -> Room:
        """Read off the checkpoint's header; nothing is loaded.

        Raises:
            StartupError: the checkpoint can't be used.
        """
        try:
            weights = weights_of(settings.model_path, dtype_of(settings, device))
        except shape_errors.CheckpointError as error:
            raise StartupError(str(error)) from error
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
        chosen: Residence = "full" if free is None else choose_residence(weights, free)
        return cls(weights, chosen if settings.memory == "auto" else settings.memory, free)

    @property
    def needed(self) -> int:
        """What a job takes, about."""
        return self.weights.needed(self.residence)

    @property
    def is_enough(self) -> bool:
        """False when a job will hardly fit."""
        return self.free is None or self.needed <= self.free


def dtype_of(settings: Settings, device: torch.device) -> torch.dtype:
    """The numbers that the networks compute in."""
    default = "float32" if device.type == "cpu" else "float16"
    dtype: torch.dtype = getattr(torch, default if settings.dtype == "auto" else settings.dtype)
    return dtype


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
        warnings=report.warnings,
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
    except RuntimeError as error:
        if is_device_fault(error):
            raise DeviceFault(str(error).strip().partition("\n")[0]) from error
        raise


def is_device_fault(error: RuntimeError) -> bool:
    """True when the GPU, and not the work, went wrong: all later calls of this process would fail too."""
    return isinstance(error, torch.AcceleratorError) or str(error).startswith(DEVICE_FAULT_MESSAGES)
