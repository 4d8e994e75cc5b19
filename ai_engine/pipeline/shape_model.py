"""The only door to hy3dgen and torch: a cut-out picture in, a mesh out. Knows no jobs, files or addresses.

One `ShapeModel` is loaded per worker; it is loaded, made ready and asked in one thread, which owns the device.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import torch

from ai_engine.errors import (
    StartupError,
)
from ai_engine.facts import DecodeFacts, ModelFacts
from ai_engine.job import JobOptions, Progress
from ai_engine.mesh.mesh import Mesh
from ai_engine.pipeline.checkpoint import (
    card_facts,
    check_checkpoint,
    open_where_it_fits,
    residences_from,
    warn_of_territory,
)
from ai_engine.pipeline.device import Room, choose_device, dtype_of, prepare_card, translate_errors
from ai_engine.pipeline.device_thread import DeviceThread
from ai_engine.pipeline.resources import Cutouts, Shape
from ai_engine.settings import Settings
from ai_engine.stage import Stage
from hy3dgen.families.card import Card
from hy3dgen.field.decode_options import POINTS_PER_CALL, DecodeProgress
from hy3dgen.field.geometry import Mesh as ShapeMesh
from hy3dgen.field.sparse_field import DecodeReport
from hy3dgen.runtime.out_of_memory import OnLowered, free_memory, is_shortage
from hy3dgen.runtime.warm_up import (
    choose_attention,
    compile_networks,
    has_compiler,
    set_compiler_cache,
    warm_up,
)
from hy3dgen.sampling import count_calls
from hy3dgen.shape_model import ShapeModel as LoadedModel
from hy3dgen.weights.offload import NOWHERE, Residence

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShapeModel:
    """The shape model, loaded, and how much of its weights is on the device at a time."""

    model: LoadedModel
    residence: Residence = "full"
    thread: DeviceThread = field(default_factory=DeviceThread)

    @classmethod
    def load(cls, settings: Settings, on_loaded: Callable[[float], None] | None = None) -> ShapeModel:
        """The checkpoint of `settings`, on its device. `on_loaded` hears which share of it, 0 to 1, is there.

        Raises:
            StartupError: no such device, a GPU is required and absent, or the checkpoint can't or may not be used.
        """
        thread = DeviceThread()
        return thread.call(lambda: cls._load_on_thread(settings, on_loaded, thread))

    @classmethod
    def _load_on_thread(
        cls, settings: Settings, on_loaded: Callable[[float], None] | None, thread: DeviceThread
    ) -> ShapeModel:
        begun_s, card = time.monotonic(), check_checkpoint(settings)
        warn_of_territory(card, settings.territory)
        device = choose_device(settings.device, require_gpu=settings.require_gpu)
        if device.type == "cuda":
            prepare_card(device, dtype_of(settings, device))
        first = Room.on(device, settings).residence
        model, residence = open_where_it_fits(settings, device, residences_from(first, settings), on_loaded)
        if settings.speed == "fast" and model.family.is_distilled:
            raise StartupError(f"SPEED=fast does not fit {model.card.model_id}, which is distilled; unset it")
        seconds, path = time.monotonic() - begun_s, settings.model_path
        logger.info("model loaded in %.1f s: %s on %s, memory %s", seconds, path, device, residence)
        return cls(model, residence, thread)

    def make_ready(self, settings: Settings) -> ShapeModel:
        """The model after what would make its first job slower than later ones: first calls, and compiling.

        Raises:
            StartupError: not even one call of each kind fits the device's memory.
        """
        return self.thread.call(lambda: self._make_ready(settings))

    def _make_ready(self, settings: Settings) -> ShapeModel:
        begun_s = time.monotonic()
        try:
            model = self._warm_up(settings)
        except RuntimeError as error:
            if not is_shortage(error):
                raise
            lower = residences_from(self.residence, settings)[1:]
            if not lower:
                wish = "set MEMORY=low" if self.residence == "full" else "free it of other programs"
                raise StartupError(f"a job does not fit the memory of {self.device}; {wish}") from error
        else:
            logger.info("model ready for its first job in %.1f s", time.monotonic() - begun_s)
            return replace(self, model=model)
        # Not while the error is handled: it holds on to the tensors of the failed call.
        return self._reload(settings, lower)._make_ready(settings)

    def _warm_up(self, settings: Settings) -> LoadedModel:
        model = choose_attention(self.model) if self.has_gpu else self.model
        if self._is_compiled(settings.compile):
            set_compiler_cache(settings.data_dir.absolute() / "compiled")
            model, _ = compile_networks(model)
        warm_up(model)
        if self.has_gpu:
            # The trials before the first job took more than jobs do.
            free_memory()
            torch.cuda.reset_peak_memory_stats(self.device)
        return model

    def _reload(self, settings: Settings, lower: Sequence[Residence]) -> ShapeModel:
        """The model in the first of these residences that fits; this one's weights are freed before."""
        logger.warning("a job does not fit the memory of %s; going on with memory %s", self.device, lower[0])
        for network in self.model.family.networks:
            network.to(NOWHERE)
        free_memory()
        model, residence = open_where_it_fits(settings, self.device, lower, None)
        return replace(self, model=model, residence=residence)

    def _is_compiled(self, wish: Literal["auto", "0", "1"]) -> bool:
        # A compiled network is bound to the place its weights lie at.
        is_wished = self.residence == "full" and (wish == "1" or (wish == "auto" and self.has_gpu))
        if is_wished and not has_compiler():
            logger.warning("the networks are not compiled: there is no C compiler (docs/performance.md)")
        return is_wished and has_compiler()

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return self.model.device

    @property
    def card(self) -> Card:
        """Licences, territory, source and defaults of the model."""
        return self.model.card

    @property
    def model_id(self) -> str:
        """The name of the checkpoint's model."""
        return self.card.model_id

    @property
    def licence(self) -> str:
        """The licence of the weights, which may bind the meshes too; `unknown` where the weights are not known."""
        return self.card.licence_notice

    @property
    def facts(self) -> ModelFacts:
        """The card, as callers read it."""
        return card_facts(self.model, takes_views=self.takes_views)

    @property
    def has_gpu(self) -> bool:
        """True when the networks are on a GPU."""
        return self.device.type == "cuda"

    @property
    def takes_views(self) -> bool:
        """True when the model was trained on several named views of an object."""
        settings = self.model.family.settings
        return settings is not None and settings.is_multi_view

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most of the GPU's memory that PyTorch had in use so far; None on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) if self.has_gpu else None

    def complete(self, options: JobOptions) -> JobOptions:
        """`options` with the model's own values where they are None.

        Raises:
            SamplerUnfit: the sampler does not fit a distilled model.
        """
        family, defaults, frame = self.model.family, self.model.defaults, self.model.family.frame
        with translate_errors():
            steps = _choose(options.num_inference_steps, family.steps_of(options.sampler))
            calls = count_calls(family.grid(options.sampler, steps))
        return replace(
            options,
            num_inference_steps=steps,
            network_calls=calls,
            guidance_scale=_choose(options.guidance_scale, defaults.guidance_scale),
            mc_level=_choose(options.mc_level, frame.iso),
            bounds=_choose(options.bounds, frame.half_extent),
            num_chunks=_choose(options.num_chunks, POINTS_PER_CALL),
        )

    def generate(self, rgba: Cutouts, options: JobOptions, progress: Progress) -> Shape:
        """The mesh of the object in `rgba`, in model units, Y up, front +Z.

        Each of several views is framed by itself, as the model was trained.
        `progress` is called on the caller's thread after each denoising step and each octree level; where it raises,
        the device stops at the next one.

        Raises:
            SamplerUnfit: the sampler does not fit a distilled model.
            NoForeground: nothing of the picture is visible.
            EmptyMesh: the shape has no surface.
            GpuOutOfMemory: not even the smallest call fits the device.
            DeviceFault: the device broke.
        """
        return self.thread.call_reporting(lambda report: self._generate(rgba, options, report), progress)

    def _generate(self, rgba: Cutouts, options: JobOptions, progress: Progress) -> Shape:
        lowered: list[str] = []

        def on_lowered(what: str) -> None:
            logger.warning("lowered, since the memory of %s ran short: %s", self.device, what)
            lowered.append(what)

        options = self.complete(options)
        with translate_errors():
            latents = self._sample(rgba, options, progress, on_lowered)
            mesh, report = self._decode(self.model.tokens(latents), options, progress, on_lowered)
        for warning in report.warnings:
            logger.warning("suspicious field: %s", warning)
        return Shape(Mesh(mesh.vertices, mesh.faces), _facts(report, options), tuple(lowered))

    def _sample(
        self,
        rgba: Cutouts,
        options: JobOptions,
        progress: Progress,
        on_lowered: OnLowered,
    ) -> torch.Tensor:
        num_steps = options.num_inference_steps or 1

        def on_step(done: int, total: int) -> None:
            # A last step of no length is left out; it counts as done with the one before.
            progress(Stage.DENOISE, num_steps if done == total else done, num_steps)

        return self.model.sample(
            rgba,
            options.num_inference_steps,
            options.guidance_scale,
            # Drawn on the CPU: the same seed starts from the same noise on every device.
            torch.Generator("cpu").manual_seed(options.seed),
            sampler=options.sampler,
            callback=on_step,
            on_lowered=on_lowered,
        )

    def _decode(
        self, tokens: torch.Tensor, options: JobOptions, progress: Progress, on_lowered: OnLowered
    ) -> tuple[ShapeMesh, DecodeReport]:
        def on_level(level: DecodeProgress) -> None:
            progress(Stage.DECODE, level.depth, level.num_depths)

        return self.model.decode(
            tokens,
            resolution=options.octree_resolution,
            bounds=options.bounds,
            level=options.mc_level,
            mode=options.decode_mode,
            max_points_per_call=options.num_chunks,
            on_level=on_level,
            on_lowered=on_lowered,
        )


def _choose(wished: T | None, own: T) -> T:
    return own if wished is None else wished


def _facts(report: DecodeReport, options: JobOptions) -> DecodeFacts:
    return DecodeFacts(
        mode=options.decode_mode,
        coarse_resolution=report.coarse_resolution,
        saturation_distance=report.saturation_distance,
        is_covered=report.is_covered,
        num_queries=report.num_queries,
        warnings=report.warnings,
    )
