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
from hy3dgen.weights.tensor_file import TensorFile

MAX_NAMES_SHOWN = 5


@dataclass(frozen=True)
class PublishedName:
    """Where a parameter lies in a published file; `half` is 0 or 1 where it shares a tensor, else absent."""

    name: str
    half: int | None = None


Naming = Callable[[str], PublishedName]
"""The name of a parameter of one of our networks -> its place in a published file."""


def wanted_shapes(network: nn.Module, naming: Naming) -> dict[str, tuple[int, ...]]:
    """Every published name that `network` is made of, with its shape."""
    wanted: dict[str, tuple[int, ...]] = {}
    for name, tensor in network.state_dict().items():
        place = naming(name)
        rows = 1 if place.half is None else 2
        wanted[place.name] = (rows * tensor.shape[0], *tensor.shape[1:])
    return wanted


def assign_weights(
    path: Path, file: TensorFile, network: nn.Module, naming: Naming, dtype: torch.dtype
) -> None:
    """Gives `network` its weights as numbers of `dtype`, without gradients.

    Raises:
        CheckpointError: names missing, or shapes that disagree, both named.
    """
    wanted = wanted_shapes(network, naming)
    missing = sorted(set(wanted) - set(file.shapes))
    if missing:
        raise CheckpointError(f"{path.name} lacks {_sample(missing)}")
    wrong = [
        f"{name} is {list(file.shapes[name])}, wanted {list(shape)}"
        for name, shape in wanted.items()
        if tuple(file.shapes[name]) != shape
    ]
    if wrong:
        raise CheckpointError(f"{path.name} does not fit: {_sample(wrong)}")
    network.load_state_dict(_weights(file, network, naming, dtype), strict=True, assign=True)
    network.requires_grad_(False)


def published_tensors(network: nn.Module, naming: Naming) -> dict[str, Tensor]:
    """The weights of `network` under their published names."""
    state: dict[str, list[Tensor]] = {}
    for name, tensor in network.state_dict().items():
        state.setdefault(naming(name).name, []).append(tensor.detach())
    return {name: torch.cat(halves) if len(halves) > 1 else halves[0] for name, halves in state.items()}


def refuse_names(path: Path, unused: Iterable[str], allowed: tuple[str, ...] = ()) -> None:
    """Raises CheckpointError if one of the `unused` tensors has none of the `allowed` prefixes."""
    unknown = sorted(name for name in unused if not name.startswith(allowed))
    if unknown:
        raise CheckpointError(f"{path.name} has tensors that no network takes: {_sample(unknown)}")


def _weights(file: TensorFile, network: nn.Module, naming: Naming, dtype: torch.dtype) -> dict[str, Tensor]:
    weights = {}
    for name in network.state_dict():
        place = naming(name)
        tensor = file.read(place.name)
        if place.half is not None:
            tensor = tensor.chunk(2)[place.half]
        weights[name] = tensor.to(dtype).contiguous()
    return weights


def _sample(items: list[str]) -> str:
    more = f" and {len(items) - MAX_NAMES_SHOWN} more" if len(items) > MAX_NAMES_SHOWN else ""
    return "; ".join(items[:MAX_NAMES_SHOWN]) + more
