"""The device that the shape model computes on, whether the model fits its memory, which errors say that it broke.

Loads nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ai_engine.errors import (
    DeviceFault,
    EmptyMesh,
    GpuOutOfMemory,
    InternalError,
    NoForeground,
    SamplerUnfit,
    StartupError,
)
from ai_engine.settings import Settings
from ai_engine.stage import Stage
from hy3dgen import errors as shape_errors
from hy3dgen import models
from hy3dgen.runtime.out_of_memory import is_shortage
from hy3dgen.runtime.warm_up import has_compiler
from hy3dgen.weights.offload import ACTIVATION_BYTES, Residence, Weights, choose_residence

Memory = Literal["auto", "full", "low", "minimal"]

DEVICE_FAULT_MESSAGES = ("CUDA error", "CUDA driver error", "cuDNN error", "Triton Error [CUDA]")
"""How errors of the GPU begin that have no class of their own: from cuBLAS, cuDNN, the driver, compiled kernels."""
DRIVER_FILE = Path("/proc/driver/nvidia/version")
NO_ROOM = "The job does not fit the device's memory, not even in its smallest form"


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
            weights = models.weights_of(
                settings.model_path, dtype_of(settings, device), settings.model_variant
            )
        except shape_errors.CheckpointError as error:
            raise StartupError(str(error)) from error
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
        chosen: Residence = "full" if free is None else choose_residence(weights, free)
        return cls(weights, chosen if settings.memory == "auto" else settings.memory, free)

    @property
    def needed_bytes(self) -> int:
        """What a job takes, about."""
        return self.weights.needed_bytes(self.residence)

    @property
    def is_enough(self) -> bool:
        """False when a job will hardly fit."""
        return self.free is None or self.needed_bytes <= self.free


def shared_memory(checkpoints: Sequence[Settings]) -> list[Memory]:
    """MEMORY of each checkpoint of one worker, before any is loaded; theirs unless it is auto, on a GPU.

    Raises:
        StartupError: no such device, or a checkpoint can't be used.
    """
    wished = [one.memory for one in checkpoints]
    if len(checkpoints) < 2 or wished[0] != "auto":
        return wished
    device = choose_device(checkpoints[0].devices[0], require_gpu=checkpoints[0].require_gpu)
    if device.type != "cuda":
        return wished
    weights = [Room.on(device, one).weights for one in checkpoints]
    free = torch.cuda.mem_get_info(device)[0]
    return share_memory(weights, free)


def share_memory(weights: Sequence[Weights], free: int) -> list[Memory]:
    """What of each of `weights` stays in `free` bytes of a device's memory that all of them share.

    Greedily, the first model first: all of it where the largest network of each later one still has room, else its own
    largest network (`low`), else one layer at a time (`minimal`).
    """
    left, chosen = free - ACTIVATION_BYTES, list[Memory]()
    for place, own in enumerate(weights):
        later = sum(one.largest for one in weights[place + 1 :])
        stays: dict[Memory, int] = {"full": own.total + later, "low": own.largest}
        how: Memory = next((one for one, needed in stays.items() if needed <= left), "minimal")
        left -= {"full": own.total, "low": own.largest}.get(how, 0)
        chosen.append(how)
    return chosen


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
        raise StartupError(
            f"DEVICE={name}, but PyTorch sees no GPU; is the driver there, new enough and passed in? {seen_by_torch()}"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise StartupError(f"DEVICE={name}, but there are {torch.cuda.device_count()} GPUs, counted from 0")
    if require_gpu and device.type != "cuda":
        raise StartupError("REQUIRE_GPU is set, but there is no GPU to use; unset it to run on the CPU")
    return device


def prepare_card(device: torch.device, dtype: torch.dtype) -> None:
    """Makes `device`, a GPU, the current one of this thread, and float32 exact there.

    What asks for the current device would else open a context on card 0 too.

    Raises:
        StartupError: the card computes `dtype` only by emulation.
    """
    torch.cuda.set_device(device.index or 0)
    if dtype == torch.bfloat16 and not can_compute_bfloat16(device):
        raise StartupError(f"DTYPE=bfloat16, but {device} has no bfloat16 arithmetic; set DTYPE=float16")
    if dtype == torch.float32:
        torch.backends.cudnn.allow_tf32 = False


@dataclass(frozen=True)
class CardReport:
    """A GPU in words, and whether this PyTorch has code for it."""

    text: str
    is_supported: bool

    @classmethod
    def of(cls, device: torch.device) -> CardReport:
        """Asks the driver."""
        major, minor = capability = torch.cuda.get_device_capability(device)
        name = torch.cuda.get_device_name(device)
        return cls(f"{name}, sm_{major}{minor}; {seen_by_torch()}", is_built_for(capability))


def seen_by_torch() -> str:
    """The CUDA version and the card architectures that this PyTorch was built for, and the driver, in words."""
    built = torch.version.cuda or "no CUDA"
    cards = " ".join(torch.cuda.get_arch_list()) or "none"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f", CUDA_VISIBLE_DEVICES={visible}"
    return (
        f"driver {driver_version()}{hidden}; PyTorch {torch.__version__} is built for {built}, cards {cards}"
    )


def driver_version(file: Path = DRIVER_FILE) -> str:
    """The version of NVIDIA's driver; `none` where there is none."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", file.read_text())
    except OSError:
        return "none"
    return found[1] if found else "unknown"


def is_built_for(capability: tuple[int, int]) -> bool:
    """True when this PyTorch has code for a card: of its major architecture and no later, or any that it translates."""
    major, minor = capability
    for kind, digits in (arch.split("_") for arch in torch.cuda.get_arch_list()):
        built = int(re.sub(r"\D", "", digits))
        is_same = built // 10 == major and built % 10 <= minor
        if is_same or (kind == "compute" and built <= 10 * major + minor):
            return True
    return False


def is_compiled(settings: Settings, residence: Residence, device: torch.device) -> bool | None:
    """True when the networks are to be compiled, False when there is no C compiler for it, None where it is unwished.

    A compiled network is bound to the place its weights lie at.
    """
    is_asked = settings.compile == "1" or (settings.compile == "auto" and device.type == "cuda")
    return has_compiler() if is_asked and residence == "full" else None


def can_compute_bfloat16(device: torch.device) -> bool:
    """False on cards that only emulate it."""
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def is_device_fault(error: RuntimeError) -> bool:
    """True when the GPU, and not the work, went wrong: all later calls of this process would fail too.

    A library that lacks memory, or has no kernel for a call, leaves the device whole.
    """
    if is_shortage(error) or "NOT_SUPPORTED" in str(error):
        return False
    return isinstance(error, torch.AcceleratorError) or str(error).startswith(DEVICE_FAULT_MESSAGES)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raises what the shape model raises on purpose as errors of a job."""
    try:
        yield
    except shape_errors.EmptyImage as error:
        raise NoForeground(str(error), stage=Stage.DENOISE) from error
    except shape_errors.SamplerUnfit as error:
        raise SamplerUnfit(str(error)) from error
    except shape_errors.EmptyMesh as error:
        raise EmptyMesh(str(error)) from error
    except shape_errors.NotFinite as error:
        raise InternalError(f"The model's numbers overflowed: {error}.") from error
    except shape_errors.GpuOutOfMemory as error:
        raise GpuOutOfMemory(NO_ROOM) from error
    except RuntimeError as error:
        known = _device_error(error)
        if known is None:
            raise
        raise known from error


def _device_error(error: RuntimeError) -> GpuOutOfMemory | DeviceFault | None:
    if is_shortage(error):
        return GpuOutOfMemory(NO_ROOM)
    return DeviceFault(str(error).strip().partition("\n")[0]) if is_device_fault(error) else None
