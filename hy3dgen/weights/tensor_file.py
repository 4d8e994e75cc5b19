"""A weights file, opened lazily: its tensor names and shapes, its header, and each tensor when it is read.

Knows the file formats (safetensors, pickled dictionaries), nothing of the networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hy3dgen.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
OnLoaded = Callable[[float], None]
"""Hears which share of the weights, 0 to 1, has been read."""


class TensorFile(Protocol):
    """An opened weights file."""

    @property
    def shapes(self) -> Shapes:
        """The shape of each tensor."""

    @property
    def header(self) -> Mapping[str, str]:
        """What the file says of itself."""

    def read(self, name: str) -> Tensor:
        """The tensor called `name`."""


@contextmanager
def open_weights(
    path: Path, device: torch.device, *, use_safetensors: bool = True, pickled_parts: Sequence[str] = ()
) -> Iterator[TensorFile]:
    """The file, opened lazily; tensors are read straight to `device`.

    A pickled file (`use_safetensors=False`) holds one dictionary for each of `pickled_parts`.

    Raises:
        CheckpointError: missing, damaged, or not of the asked kind.
    """
    if not path.is_file():
        raise CheckpointError(
            f"no weights at {path}: fetch or mount them there, or point MODEL_PATH elsewhere"
        )
    if not use_safetensors:
        yield _read_pickle(path, device, pickled_parts)
        return
    try:
        with safe_open(path, framework="pt", device=str(device)) as handle:
            yield _SafeTensors(handle)
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is damaged or no safetensors file: {error}") from error


@contextmanager
def open_pickled_tables(path: Path, device: torch.device) -> Iterator[TensorFile]:
    """A pickled table of tensors, mapped; where it is nested, names begin with their table's key.

    Raises:
        CheckpointError: missing, damaged, or anything but tables of tensors.
    """
    if not path.is_file():
        raise CheckpointError(
            f"no weights at {path}: fetch or mount them there, or point MODEL_PATH elsewhere"
        )
    tables = _unpickled(path, torch.device("cpu"))
    if not isinstance(tables, dict):
        raise CheckpointError(f"{path.name} is no table of tensors")
    flat: dict[str, Tensor] = {}
    for key, value in tables.items():
        flat |= (
            {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
        )
    strange = [str(name) for name, one in flat.items() if not isinstance(one, Tensor)]
    if strange:
        raise CheckpointError(f"{path.name} holds something else than tensors: {', '.join(strange[:5])}")
    yield _Loaded(flat, device)


@dataclass
class PrefixedFile:
    """A file seen as if every name began with `prefix`."""

    file: TensorFile
    prefix: str

    def __post_init__(self) -> None:
        self.shapes: Shapes = {self.prefix + name: shape for name, shape in self.file.shapes.items()}
        self.header = self.file.header

    def read(self, name: str) -> Tensor:
        """The tensor called `name`, prefix included."""
        return self.file.read(name.removeprefix(self.prefix))


@dataclass
class CountedFile:
    """A file that reports which share of its numbers has been read; those under `ignored` prefixes don't count."""

    file: TensorFile
    on_loaded: OnLoaded
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.shapes, self.header = self.file.shapes, self.file.header
        self._unread = {
            name: math.prod(shape) for name, shape in self.shapes.items() if not name.startswith(self.ignored)
        }
        self._num_wanted, self._num_read = sum(self._unread.values()), 0

    def read(self, name: str) -> Tensor:
        """The tensor called `name`."""
        tensor = self.file.read(name)
        self._num_read += self._unread.pop(name, 0)  # What holds two tensors of ours is read twice.
        self.on_loaded(self._num_read / self._num_wanted)
        return tensor


@dataclass
class _SafeTensors:
    handle: Any

    def __post_init__(self) -> None:
        names = self.handle.keys()
        self.shapes: Shapes = {name: tuple(self.handle.get_slice(name).get_shape()) for name in names}
        self.header: Mapping[str, str] = self.handle.metadata() or {}

    def read(self, name: str) -> Tensor:
        tensor: Tensor = self.handle.get_tensor(name)
        return tensor


@dataclass
class _Loaded:
    """A table of tensors already in memory, as a pickled file gives it."""

    tensors: Mapping[str, Tensor]
    device: torch.device

    def __post_init__(self) -> None:
        self.shapes: Shapes = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
        self.header: Mapping[str, str] = {}

    def read(self, name: str) -> Tensor:
        return self.tensors[name].to(self.device)


def _read_pickle(path: Path, device: torch.device, names: Sequence[str]) -> TensorFile:
    parts = _unpickled(path, device)
    if not isinstance(parts, dict) or not all(isinstance(parts.get(part), dict) for part in names):
        raise CheckpointError(f"{path.name} is no checkpoint of the parts {', '.join(names)}")
    tensors = {f"{part}.{name}": tensor for part in names for name, tensor in parts[part].items()}
    return _Loaded(tensors, device)


def _unpickled(path: Path, device: torch.device) -> Any:
    try:
        return torch.load(path, map_location=device, weights_only=True, mmap=True)
    except Exception as error:  # torch.load has no error type of its own
        raise CheckpointError(
            f"{path.name} can't be read as a pickled checkpoint: {type(error).__name__}"
        ) from error
