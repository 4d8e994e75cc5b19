"""The doctor's checks of the models: whether they fit, whether they load, and one job on a plain picture.

The job has no store and no queue; it shows what only real weights can show.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_engine.errors import EmptyMesh, StartupError
from ai_engine.job import JobOptions
from ai_engine.settings import Settings
from ai_engine.stage import Stage

if TYPE_CHECKING:  # PyTorch is imported when a model is loaded, not before
    from ai_engine.pipeline.shape_model import ShapeModel

QUICK_WEIGHTS_BYTES = 100_000_000
"""Of the shape model, for a trial job on a CPU."""
MODEL_REMEDY = "set DEVICE, MODEL_PATH or MODELS, MODEL_VARIANT; see docs/licences.md"
NO_COMPILER = (
    "compiling: there is no C compiler, so the networks run as they are: reckoned a tenth slower with v2-0, up to 1.7 "
    "times with v2-mini on a fast card"
)
COMPILER_REMEDY = "install gcc and libc6-dev (COMPILER_PACKAGES of the image), or set COMPILE=0"
SYSTEM_MEMORY = Path("/proc/meminfo")
GROUP_MEMORY = Path("/sys/fs/cgroup")
"""Of a container, where it has a limit."""
TRIAL_STEPS, TRIAL_CELLS, PICTURE_PX = 10, 64, 128


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    text: str
    remedy: str | None = None
    """What to do; None when all is well."""

    def __str__(self) -> str:
        return f"ok  {self.text}" if self.remedy is None else f"!!  {self.text}\n      {self.remedy}"


Check = Callable[[Settings], Iterator[Finding]]


def shape_model(settings: Settings) -> Iterator[Finding]:
    """Of each model: there, allowed, fits, loads, and makes a sound field of a plain picture."""
    from ai_engine.pipeline.resource_setup import plan_models

    try:
        planned = plan_models(settings)
    except StartupError as error:
        yield Finding(f"shape models: {error}", MODEL_REMEDY)
        return
    if len(planned) > 1:
        yield Finding(_together(planned))
    for own in planned.values():
        yield from _one_model(own)


def _together(planned: Mapping[str, Settings]) -> str:
    """Whether the models of one worker lie in its device's memory together."""
    turns = [name for name, own in planned.items() if own.memory in ("low", "minimal")]
    stay = [name for name in planned if name not in turns]
    how = [f"{', '.join(stay)} in the device's memory all the time"] if stay else []
    how += [f"{name} brought there for its jobs ({planned[name].memory})" for name in turns]
    return f"shape models: {', '.join(planned)}; {'; '.join(how)}"


def _one_model(settings: Settings) -> Iterator[Finding]:
    if settings.is_stand_in:
        yield Finding("shape model: the stand-in, a sphere for every picture")
        return
    from ai_engine.pipeline.checkpoint import check_checkpoint, licence_words
    from ai_engine.pipeline.device import Room
    from ai_engine.pipeline.shape_model import ShapeModel

    try:
        check_checkpoint(settings)
        for device in settings.devices:
            own = settings.model_copy(update={"device": device})
            yield _room(own)
            yield from _card(own)
        begun_at = time.monotonic()
        model = ShapeModel.load(settings.model_copy(update={"device": settings.devices[0]}))
    except StartupError as error:
        yield Finding(f"shape model: {error}", MODEL_REMEDY)
        return
    seconds = time.monotonic() - begun_at
    yield Finding(f"shape model: {model.model_id} from {settings.model_path}, loaded in {seconds:.1f} s")
    yield Finding(licence_words(model.card, settings.territory))
    yield _field(model, Room.on(model.device, settings).weights.total)


def _field(model: ShapeModel, weights_bytes: int) -> Finding:
    """Whether the field of a plain picture looks as a field must, where that is quick."""
    if not model.has_gpu and weights_bytes > QUICK_WEIGHTS_BYTES:
        return Finding("field: looked at with every job (decode.warnings); it takes long here, without a GPU")
    warnings = trial_warnings(model)
    if warnings:
        return Finding(
            f"field: {'; '.join(warnings)}", "compare meshes with their pictures before you serve these"
        )
    return Finding("field: negative outside, positive inside, of a usual range")


def _room(settings: Settings) -> Finding:
    """Whether the shape model will fit its device; nothing is loaded.

    Raises:
        StartupError: no such device, or the checkpoint can't be used.
    """
    from ai_engine.pipeline.device import Room, choose_device

    device = choose_device(settings.device, require_gpu=settings.require_gpu)
    room = Room.on(device, settings)
    there = "main memory" if room.free is None else f"{room.free / 1e9:.1f} GB free"
    text = f"device: {device}, {there}; a job takes about {room.needed_bytes / 1e9:.1f} GB, memory {room.residence}"
    if room.free is None:
        return _main_memory(text, room.needed_bytes, free_main_memory())
    return Finding(text, None if room.is_enough else "set MEMORY=auto, or free the device of other programs")


def _card(settings: Settings) -> Iterator[Finding]:
    """Which card it is, whether driver and PyTorch are made for it, and whether networks are compiled there."""
    from ai_engine.pipeline.device import CardReport, Room, choose_device, is_compiled

    device = choose_device(settings.device, require_gpu=settings.require_gpu)
    if device.type == "cuda":
        card = CardReport.of(device)
        yield Finding(f"card: {card.text}", None if card.is_supported else "install a PyTorch built for it")
    has_compiler = is_compiled(settings, Room.on(device, settings).residence, device)
    if has_compiler:
        yield Finding(
            "compiling: there is a C compiler; the first start takes minutes longer, later ones do not"
        )
    elif has_compiler is not None:
        yield Finding(NO_COMPILER, COMPILER_REMEDY)


def _main_memory(text: str, needed: int, free: int | None) -> Finding:
    if free is None:
        return Finding(text)
    is_enough = needed <= free
    remedy = "take a machine or a container with more memory, or a smaller checkpoint"
    return Finding(f"{text}; {free / 1e9:.1f} GB free", None if is_enough else remedy)


def matting_model(settings: Settings) -> Iterator[Finding]:
    """Is there and loads."""
    from ai_engine.images.background import MattingModelUnusable, open_remover

    remover = open_remover(settings.matting_model, settings.matting_home)
    if remover is None:
        yield Finding("matting model: none, pictures must bring an alpha channel")
        return
    try:
        remover.load()
    except MattingModelUnusable as error:
        yield Finding(str(error), f"put the file there, or set MATTING_MODEL (now {settings.matting_model})")
        return
    yield Finding(f"matting model: {settings.matting_model} from {remover.weights_path}")


def trial_warnings(model: ShapeModel) -> tuple[str, ...]:
    """What is suspicious about the field of a ball's picture (sign, range), in words; nothing if all is well."""
    options = JobOptions(seed=0, num_inference_steps=TRIAL_STEPS, octree_resolution=TRIAL_CELLS)
    try:
        shape = model.generate(plain_ball(), options, _ignore)
    except EmptyMesh as error:
        return (f"a plain picture gives no mesh: {error}",)
    return shape.decode.warnings if shape.decode else ()


def plain_ball() -> NDArray[np.uint8]:
    """A picture of a grey ball, cut out: RGBA [128, 128, 4]."""
    across = np.linspace(-1.2, 1.2, PICTURE_PX)
    x, y = np.meshgrid(across, across)
    height = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    grey = 60 + 180 * np.clip(0.6 * height - 0.4 * x - 0.5 * y, 0, 1)
    alpha = 255.0 * (x**2 + y**2 < 1)
    return np.stack([grey, grey, grey, alpha], axis=-1).astype(np.uint8)


def _ignore(stage: Stage, done: int, total: int) -> None:
    pass


def free_main_memory() -> int | None:
    """Bytes of main memory that this process may still take; None where the system does not say."""
    known = [left for left in (_left_to_system(), _left_to_group()) if left is not None]
    return min(known, default=None)


def _left_to_system() -> int | None:
    available_kb = _number(SYSTEM_MEMORY, r"^MemAvailable:\s*(\d+) kB")
    return None if available_kb is None else 1024 * available_kb


def _left_to_group() -> int | None:
    """What lies in pages of files does not count: the system drops those."""
    limit = _number(GROUP_MEMORY / "memory.max", r"^(\d+)$")
    taken = _number(GROUP_MEMORY / "memory.stat", r"^anon (\d+)$")
    return None if limit is None or taken is None else max(0, limit - taken)


def _number(path: Path, pattern: str) -> int | None:
    """The first number in a file that `pattern` finds."""
    try:
        found = re.search(pattern, path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
