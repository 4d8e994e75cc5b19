"""A GPU for machines without one: tensors that say they are on it, computed on the CPU.

As on a real one an operation on tensors of both places is an error, and NumPy gets nothing that was not fetched.
`Traffic` counts what a real one would wait for, and what would be copied to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda:0")
MAY_COPY_BETWEEN = {"to", "copy_", "__setitem__", "__set__", "_has_compatible_shallow_copy_type"}
CUDA = {
    "mem_get_info": (8 * 10**9, 8 * 10**9),
    "memory_reserved": 0,
    "memory_allocated": 0,
    "is_initialized": True,
    "empty_cache": None,
    "reset_peak_memory_stats": None,
    "synchronize": None,
}


class PretendedStream:
    """A CUDA stream of such a device."""

    def __init__(self, device: object = None) -> None:
        pass

    def wait_event(self, event: object) -> None:
        pass


class PretendedEvent:
    """A CUDA event of a device that has done its work as soon as it is given."""

    def record(self, stream: object) -> None:
        pass

    def synchronize(self) -> None:
        pass


WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_consecutive",
    "unique_dim",
    "repeat_interleave",
    "bincount",
    "equal",
}
"""Operators whose result the host must see before it goes on: a number, or a tensor's size."""
COPYING = {"tensor", "new_tensor", "as_tensor", "from_numpy", "asarray"}
"""Functions that make a tensor of the host's numbers."""


@dataclass
class Traffic:
    """How often the host waited for the device, by operator, and how many copies went to the device, by function."""

    waits: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        self.waits.clear()
        self.copies.clear()

    @property
    def num_waits(self) -> int:
        return self.waits.total()

    @property
    def num_copies(self) -> int:
        return self.copies.total()


class _Counting(TorchDispatchMode):
    def __init__(self, traffic: Traffic) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.traffic = traffic

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found, name = function(*args, **(kwargs or {})), function.overloadpacket.__name__
        if name in WAITING:
            self.traffic.waits[name] += 1
        elif name in ("index", "index_put", "index_put_"):
            # A mask becomes the indices of what it holds, unless one number is put there.
            masks = [one for one in args[1] if one is not None and one.dtype == torch.bool]
            is_filled = name != "index" and args[2].numel() == 1
            self.traffic.waits[f"{name} by a mask"] += 0 if is_filled else len(masks)
        return found


class OnGpu(Tensor):
    """A tensor of the CPU that counts as one of the GPU."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return _called(function, args, kwargs or {})


class _Pretending(TorchFunctionMode):
    def __init__(self, traffic: Traffic | None) -> None:
        super().__init__()
        self.traffic = traffic

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return _called(function, args, kwargs or {}, self.traffic)


@contextmanager
def pretended_gpu(traffic: Traffic | None = None) -> Iterator[torch.device]:
    answers: dict[str, Any] = {name: lambda *_, told=told, **__: told for name, told in CUDA.items()}
    answers |= {"Event": PretendedEvent, "Stream": PretendedStream, "current_stream": PretendedStream}
    answers["stream"] = lambda _: nullcontext()
    recorded = patch.object(Tensor, "record_stream", lambda tensor, stream: None, create=True)
    with patch.multiple(torch.cuda, **answers), recorded, _Pretending(traffic):
        yield GPU


def _called(function: Any, args: Any, kwargs: dict[str, Any], traffic: Traffic | None = None) -> Any:
    if function is torch.device:
        return function(*args, **kwargs)
    name = function.__name__
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    is_on_gpu = [isinstance(one, OnGpu) for one in tensors]
    if name == "__get__" and function.__self__.__name__ == "device" and is_on_gpu[0]:
        return GPU
    kwargs = {key: value for key, value in kwargs.items() if key != "pin_memory"}
    if name in ("numpy", "__array__") and any(is_on_gpu):
        raise TypeError("what is on the GPU must be fetched before NumPy sees it")
    others = [one for one in tensors if not isinstance(one, OnGpu) and one.ndim > 0 and not one.is_meta]
    if any(is_on_gpu) and others and name not in MAY_COPY_BETWEEN:
        raise RuntimeError(
            f"{name} of tensors on the GPU and on the CPU: {[list(one.shape) for one in others]}"
        )
    place = _asked_place(name, args, kwargs)
    goes_there = any(is_on_gpu) if place is None else place == "cuda"
    with _counted(name, traffic, was_there=any(is_on_gpu), goes_there=goes_there):
        found = function(*tree_map(_bare, list(args)), **tree_map(_bare, kwargs))
    return tree_map(_put, found) if goes_there else found


def _counted(
    name: str, traffic: Traffic | None, *, was_there: bool, goes_there: bool
) -> AbstractContextManager[object]:
    """Counts what one call waits for and copies; nothing of calls that leave the GPU alone."""
    if traffic is None or not (was_there or goes_there):
        return nullcontext()
    if goes_there and (name in COPYING or (name == "to" and not was_there)):
        traffic.copies[name] += 1
    if was_there and not goes_there:
        traffic.waits[name] += 1
    return _Counting(traffic)


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
