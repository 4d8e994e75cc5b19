"""Gives a network the weights of an opened file, strictly: no name missing, every shape as wanted, each read once.

Published files have other names for tensors than our modules: a `Naming` says where each of ours lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hy3dgen.errors import CheckpointError
from hy3dgen.weights.tensor_file import Shapes, TensorFile

MAX_NAMES_SHOWN = 5


@dataclass(frozen=True)
class PublishedName:
    """Where a parameter lies in a published file: in the tensor `name`, or in one `half` (0, 1) of its rows.

    A parameter that published files hold in several tensors continues in the rows of those named `below`; `shares`
    says how many of its rows each holds, relative to the others. `is_swapped`: the halves of its rows lie in the other
    order.
    """

    name: str
    half: int | None = None
    below: tuple[str, ...] = ()
    shares: tuple[int, ...] = ()
    is_swapped: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that hold it, in the order of their rows."""
        return (self.name, *self.below)

    def rows(self, num_rows: int) -> list[int]:
        """How many rows each of the tensors has, if the parameter has `num_rows`."""
        if self.half is not None:
            return [2 * num_rows]
        shares = self.shares or (1,) * len(self.names)
        return [num_rows * share // sum(shares) for share in shares]


Naming = Callable[[str], PublishedName]
"""The name of a parameter of one of our networks -> its place in a published file."""


def wanted_shapes(network: nn.Module, naming: Naming) -> dict[str, tuple[int, ...]]:
    """Every published name that `network` is made of, with its shape."""
    wanted: dict[str, tuple[int, ...]] = {}
    for name, tensor in network.state_dict().items():
        place = naming(name)
        for published, rows in zip(place.names, place.rows(tensor.shape[0]), strict=True):
            wanted[published] = (rows, *tensor.shape[1:])
    return wanted


def assign_weights(
    path: Path, file: TensorFile, network: nn.Module, naming: Naming, dtype: torch.dtype
) -> None:
    """Gives `network` its weights as numbers of `dtype`, without gradients.

    Raises:
        CheckpointError: names missing, shapes that disagree, both named, or numbers that are no floats.
    """
    check_shapes(path, file.shapes, wanted_shapes(network, naming))
    network.load_state_dict(_weights(file, network, naming, dtype), strict=True, assign=True)
    network.requires_grad_(False)


def check_shapes(path: Path, shapes: Shapes, wanted: Shapes) -> None:
    """Raises CheckpointError if a wanted tensor is missing, or has another shape: both are named."""
    missing = sorted(set(wanted) - set(shapes))
    if missing:
        raise CheckpointError(f"{path.name} lacks {_sample(missing)}")
    wrong = [
        f"{name} is {list(shapes[name])}, wanted {list(shape)}"
        for name, shape in wanted.items()
        if tuple(shapes[name]) != tuple(shape)
    ]
    if wrong:
        raise CheckpointError(f"{path.name} does not fit: {_sample(wrong)}")


def published_tensors(network: nn.Module, naming: Naming) -> dict[str, Tensor]:
    """The weights of `network` under their published names."""
    state: dict[str, list[Tensor]] = {}
    for name, tensor in network.state_dict().items():
        place = naming(name)
        whole = torch.cat(tensor.chunk(2)[::-1]) if place.is_swapped else tensor
        parts = [whole] if place.half is not None else whole.split(place.rows(len(tensor)))
        for published, part in zip(place.names, parts, strict=True):
            state.setdefault(published, []).append(part.detach())
    return {name: torch.cat(halves) if len(halves) > 1 else halves[0] for name, halves in state.items()}


def refuse_names(path: Path, unused: Iterable[str], allowed: tuple[str, ...] = ()) -> None:
    """Raises CheckpointError if one of the `unused` tensors has none of the `allowed` prefixes."""
    unknown = sorted(name for name in unused if not name.startswith(allowed))
    if unknown:
        raise CheckpointError(f"{path.name} has tensors that no network takes: {_sample(unknown)}")


def _weights(file: TensorFile, network: nn.Module, naming: Naming, dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: _read(file, naming(name), dtype).contiguous() for name in network.state_dict()}


def _read(file: TensorFile, place: PublishedName, dtype: torch.dtype) -> Tensor:
    if place.half is not None:
        # Always a copy: a view would keep the other half in memory too.
        return _floats(file, place.name).chunk(2)[place.half].to(dtype, copy=True)
    parts = [_floats(file, name).to(dtype) for name in place.names]
    tensor = torch.cat(parts) if len(parts) > 1 else parts[0]
    return torch.cat(tensor.chunk(2)[::-1]) if place.is_swapped else tensor


def _floats(file: TensorFile, name: str) -> Tensor:
    tensor = file.read(name)
    if not tensor.is_floating_point():
        raise CheckpointError(f"{name} holds {str(tensor.dtype).removeprefix('torch.')}, wanted are floats")
    return tensor


def _sample(items: list[str]) -> str:
    more = f" and {len(items) - MAX_NAMES_SHOWN} more" if len(items) > MAX_NAMES_SHOWN else ""
    return "; ".join(items[:MAX_NAMES_SHOWN]) + more
