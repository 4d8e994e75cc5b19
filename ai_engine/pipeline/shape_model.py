"""The only door to hy3dgen and torch: a cut-out picture in, a mesh out. Knows no jobs, files or addresses.

One `ShapeModel` is loaded per worker; it is loaded, made ready and asked in one thread, which owns the device.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import torch

from ai_engine.errors import StartupError
from ai_engine.facts import DecodeFacts, ModelFacts
from ai_engine.job import JobOptions, Progress
from ai_engine.mesh.mesh import Mesh
from ai_engine.pipeline.checkpoint import (
    card_facts,
    check_checkpoint,
    open_beside,
    open_where_it_fits,
    reopen_where_it_fits,
    residences_from,
    warn_of_territory,
)
from ai_engine.pipeline.device import (
    Room,
    can_compute_bfloat16,
    choose_device,
    dtype_of,
    is_compiled,
    prepare_card,
    translate_errors,
)
from ai_engine.pipeline.device_thread import DeviceThread
from ai_engine.pipeline.resources import Cutouts, Shape
from ai_engine.settings import Settings
from ai_engine.stage import Stage
from hy3dgen.errors import NotFinite
from hy3dgen.families.card import Card
from hy3dgen.field.decode_options import DecodeProgress
from hy3dgen.field.geometry import Mesh as ShapeMesh
from hy3dgen.field.sparse_field import DecodeReport
from hy3dgen.runtime.out_of_memory import OnLowered, is_shortage
from hy3dgen.runtime.warm_up import (
    compile_networks,
    fit_to_card,
    set_compiler_cache,
    warm_up,
)
from hy3dgen.sampling import count_calls
from hy3dgen.shape_model import ShapeModel as LoadedModel
from hy3dgen.weights.offload import Residence

T = TypeVar("T")

IN_BFLOAT16 = "float16 overflowed, computed in bfloat16"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShapeModel:
    """The shape model, loaded, and how much of its weights is on the device at a time."""

    model: LoadedModel
    residence: Residence = "full"
    thread: DeviceThread = field(default_factory=DeviceThread)
    reopen: Callable[[], LoadedModel] | None = None
    """Opens the model once more in numbers of a wider range, for a job whose numbers overflowed; None: it fails."""

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
        reopen = partial(open_beside, settings, device, torch.bfloat16)
        is_wider = model.dtype == torch.float16 and can_compute_bfloat16(device)
        return cls(model, residence, thread, reopen if is_wider else None)

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
        logger.warning("a job does not fit the memory of %s; going on with memory %s", self.device, lower[0])
        model, residence = reopen_where_it_fits(self.model, settings, lower)
        return replace(self, model=model, residence=residence)._make_ready(settings)

    def _warm_up(self, settings: Settings) -> LoadedModel:
        model = fit_to_card(self.model) if self.has_gpu else self.model
        has_compiler = is_compiled(settings, self.residence, self.device)
        if has_compiler is False:
            logger.warning("the networks are not compiled: there is no C compiler (docs/performance.md)")
        elif has_compiler:
            set_compiler_cache(settings.data_dir.absolute() / "compiled")
            model, _ = compile_networks(model)
        warm_up(model)
        return model

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
            num_chunks=_choose(options.num_chunks, self.model.points_per_call),
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
            try:
                mesh, report = self._compute(rgba, options, progress, on_lowered)
            except NotFinite as error:
                if self.reopen is None:
                    raise
                logger.warning("computing once more in bfloat16: %s", error)
            else:
                return _shape(mesh, report, options, lowered)
            wider = replace(self, model=self.reopen(), reopen=None)
            mesh, report = wider._compute(rgba, options, progress, on_lowered)
            return _shape(mesh, report, options, [*lowered, IN_BFLOAT16])

    def _compute(
        self, rgba: Cutouts, options: JobOptions, progress: Progress, on_lowered: OnLowered
    ) -> tuple[ShapeMesh, DecodeReport]:
        tokens = self.model.tokens(self._sample(rgba, options, progress, on_lowered))
        return self._decode(tokens, options, progress, on_lowered)

    def _sample(
        self, rgba: Cutouts, options: JobOptions, progress: Progress, on_lowered: OnLowered
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


def _shape(mesh: ShapeMesh, report: DecodeReport, options: JobOptions, lowered: Sequence[str]) -> Shape:
    for warning in report.warnings:
        logger.warning("suspicious field: %s", warning)
    facts = DecodeFacts(
        mode=options.decode_mode,
        coarse_resolution=report.coarse_resolution,
        saturation_distance=report.saturation_distance,
        is_covered=report.is_covered,
        num_queries=report.num_queries,
        warnings=report.warnings,
    )
    return Shape(Mesh(mesh.vertices, mesh.faces), facts, tuple(lowered))
