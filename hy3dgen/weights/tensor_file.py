"""A weights file, opened lazily: its tensor names and shapes, its header, and each tensor when it is read.

Knows the file formats (safetensors, pickled dictionaries), nothing of the networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hy3dgen.errors import CheckpointError

NUM_REMAPS, NUM_PICKLE_REMAPS = 64, 16
"""How often a file is mapped anew while it is read: each takes up to 20 ms, of a pickle 100."""
MIN_REMAP_BYTES = 8 * 1024 * 1024

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
        yield _SafeTensors(path, device)
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
    yield _Pickled(partial(_tables_as_one, path), device)


def _tables_as_one(path: Path) -> dict[str, Tensor]:
    tables = _unpickle(path, torch.device("cpu"))
    if not isinstance(tables, dict):
        raise CheckpointError(f"{path.name} is no table of tensors")
    flat: dict[str, Tensor] = {}
    for key, value in tables.items():
        nested = value if isinstance(value, dict) else {"": value}
        flat |= {f"{key}.{name}".removesuffix("."): one for name, one in nested.items()}
    strange = [str(name) for name, one in flat.items() if not isinstance(one, Tensor)]
    if strange:
        raise CheckpointError(f"{path.name} holds something else than tensors: {', '.join(strange[:5])}")
    return flat


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


class _SafeTensors:
    """A mapped safetensors file, mapped anew after every part of it that was read.

    Pages that were read stay in memory as long as their mapping: without that, a file whose tensors are converted one
    by one would lie in memory beside all of their copies.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self._path, self._device, self._num_read = path, device, 0
        self._handle = self._map()
        names = self._handle.keys()
        self.shapes: Shapes = {name: tuple(self._handle.get_slice(name).get_shape()) for name in names}
        self.header: Mapping[str, str] = self._handle.metadata() or {}

    def read(self, name: str) -> Tensor:
        if self._num_read > max(MIN_REMAP_BYTES, self._path.stat().st_size // NUM_REMAPS):
            self._handle, self._num_read = self._map(), 0
        tensor: Tensor = self._handle.get_tensor(name)
        self._num_read += tensor.nbytes
        return tensor

    def _map(self) -> Any:
        return safe_open(self._path, framework="pt", device=str(self._device))


class _Pickled:
    """Mapped tables of tensors as one, mapped anew as `_SafeTensors`, but not so often: it takes a while."""

    def __init__(self, make: Callable[[], Mapping[str, Tensor]], device: torch.device) -> None:
        self._make, self._device, self._num_read = make, device, 0
        self._tensors = make()
        self._num_bytes = sum(tensor.nbytes for tensor in self._tensors.values())
        self.shapes: Shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        self.header: Mapping[str, str] = {}

    def read(self, name: str) -> Tensor:
        if self._num_read > max(MIN_REMAP_BYTES, self._num_bytes // NUM_PICKLE_REMAPS):
            self._tensors, self._num_read = self._make(), 0
        self._num_read += self._tensors[name].nbytes
        return self._tensors[name].to(self._device)


def _read_pickle(path: Path, device: torch.device, names: Sequence[str]) -> TensorFile:
    parts = _unpickle(path, torch.device("cpu"))
    if not isinstance(parts, dict) or not all(isinstance(parts.get(part), dict) for part in names):
        raise CheckpointError(f"{path.name} is no checkpoint of the parts {', '.join(names)}")
    tensors = {f"{part}.{name}": tensor for part in names for name, tensor in parts[part].items()}
    return _Pickled(lambda: tensors, device)


def _unpickle(path: Path, device: torch.device) -> Any:
    try:
        return torch.load(path, map_location=device, weights_only=True, mmap=True)
    except Exception as error:  # torch.load has no error type of its own
        raise CheckpointError(
            f"{path.name} can't be read as a pickled checkpoint: {type(error).__name__}"
        ) from error
