"""A GPU for machines without one: tensors that say they are on it, computed on the CPU.

As on a real one an operation on tensors of both places is an error, and NumPy gets nothing that was not fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda:0")
MAY_COPY_BETWEEN = {"to", "copy_", "__setitem__", "__set__", "_has_compatible_shallow_copy_type"}
CUDA = {
    "mem_get_info": (8 * 10**9, 8 * 10**9),
    "memory_reserved": 0,
    "memory_allocated": 0,
    "is_initialized": True,
    "empty_cache": None,
    "synchronize": None,
    "current_stream": None,
}


class PretendedEvent:
    """A CUDA event of a device that has done its work as soon as it is given."""

    def record(self, stream: object) -> None:
        pass

    def synchronize(self) -> None:
        pass


class OnGpu(Tensor):
    """A tensor of the CPU that counts as one of the GPU."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return _called(function, args, kwargs or {})


class _Pretending(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return _called(function, args, kwargs or {})


@contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    answers: dict[str, Any] = {name: lambda *_, told=told, **__: told for name, told in CUDA.items()}
    answers["Event"] = PretendedEvent
    with patch.multiple(torch.cuda, **answers), _Pretending():
        yield GPU


def _called(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if function is torch.device:
        return function(*args, **kwargs)
    name = function.__name__
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    is_on_gpu = [isinstance(one, OnGpu) for one in tensors]
    if name == "__get__" and function.__self__.__name__ == "device" and is_on_gpu[0]:
        return GPU
    if name in ("numpy", "__array__") and any(is_on_gpu):
        raise TypeError("what is on the GPU must be fetched before NumPy sees it")
    others = [one for one in tensors if not isinstance(one, OnGpu) and one.ndim > 0 and not one.is_meta]
    if any(is_on_gpu) and others and name not in MAY_COPY_BETWEEN:
        raise RuntimeError(
            f"{name} of tensors on the GPU and on the CPU: {[list(one.shape) for one in others]}"
        )
    place = _asked_place(name, args, kwargs)
    found = function(*tree_map(_bare, list(args)), **tree_map(_bare, kwargs))
    goes_there = any(is_on_gpu) if place is None else place == "cuda"
    return tree_map(_put, found) if goes_there else found


def _asked_place(name: str, args: Any, kwargs: dict[str, Any]) -> str | None:
    """The kind of device that the call names, if it does."""
    if name == "cpu":
        return "cpu"
    named = [kwargs.get("device"), *(args[1:] if name == "to" else ())]
    places = [one for one in named if isinstance(one, torch.device | str | Tensor)]
    if not places:
        return None
    return "cuda" if isinstance(places[0], OnGpu) else _device_of(places[0]).type


def _device_of(place: torch.device | str | Tensor) -> torch.device:
    return place.device if isinstance(place, Tensor) else torch.device(place)


def _bare(one: Any) -> Any:
    """The argument as the CPU takes it."""
    if isinstance(one, OnGpu):
        return one.as_subclass(Tensor)
    is_gpu = isinstance(one, torch.device | str) and str(one).split(":")[0] == "cuda"
    return torch.device("cpu") if is_gpu else one


def _put(one: Any) -> Any:
    return one.as_subclass(OnGpu) if isinstance(one, Tensor) else one
