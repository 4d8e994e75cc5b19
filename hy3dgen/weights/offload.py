"""Offload: the weights all on the device, one network at a time, or one layer at a time.

Offloaded weights lie in main memory, and where no number is converted in the file's own pages, shared with every other
process. An offloaded network has no numbers at all: using it without loading it fails at once. Knows no files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from hy3dgen.weights.layer_stream import LayerStream

Residence = Literal["full", "low", "minimal"]
"""full: all networks on the device; low: one network at a time; minimal: one layer at a time."""

NOWHERE = torch.device("meta")
ACTIVATION_BYTES = 1_000_000_000
"""Beside the weights, generously: 210 MB for a call of 8000 points, about as much for a step of v2-0, libraries."""
MINIMAL_BYTES = 100_000_000
"""The largest layer, and those on their way."""


class ModelOffload:
    """Keeps the weights of one network at a time on `device`: of the one that was loaded last."""

    def __init__(self, networks: Sequence[nn.Module], device: torch.device) -> None:
        self.device = device
        self._offloaded: dict[nn.Module, Mapping[str, Tensor]] = {one: one.state_dict() for one in networks}
        self._loaded: nn.Module | None = None
        for network in networks:
            _assign(network, NOWHERE, self._offloaded[network])

    def load(self, network: nn.Module) -> None:
        """Copies the weights of `network` to the device, after freeing those of the one before."""
        if network is self._loaded:
            return
        if self._loaded is not None:
            _assign(self._loaded, NOWHERE, self._offloaded[self._loaded])
            self._loaded = None
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        _assign(network, self.device, self._offloaded[network])
        self._loaded = network


def _assign(network: nn.Module, device: torch.device, weights: Mapping[str, Tensor]) -> None:
    # Always copies: what lies in the file's pages must not be handed out.
    there = {name: torch.empty_like(one, device=device) for name, one in weights.items()}
    if device != NOWHERE:
        for name, one in weights.items():
            there[name].copy_(one)
    network.load_state_dict(there, strict=True, assign=True)
    network.requires_grad_(False)


def offload_layers(networks: Sequence[nn.Module], device: torch.device) -> None:
    """Makes each layer bring its own weights to `device` for each of its calls, and free them after it."""
    layers = [one for network in networks for one in network.modules() if _has_weights(one)]
    if device.type == "cuda":
        stream = LayerStream(layers, device)
        for layer in layers:
            _load_for_calls(layer, stream.take)
        return
    for layer in layers:
        _load_for_calls(layer, partial(_copy, dict(layer.named_parameters(recurse=False)), device))


def _copy(weights: Mapping[str, Tensor], device: torch.device, layer: nn.Module) -> Mapping[str, Tensor]:
    return {name: one.to(device) for name, one in weights.items()}


def _has_weights(layer: nn.Module) -> bool:
    return next(layer.parameters(recurse=False), None) is not None


def _load_for_calls(layer: nn.Module, take: Callable[[nn.Module], Mapping[str, Tensor]]) -> None:
    nowhere = {name: _parameter(one.to(NOWHERE)) for name, one in layer.named_parameters(recurse=False)}

    def load(*_: object) -> None:
        layer._parameters.update({name: _parameter(one) for name, one in take(layer).items()})

    def free(*_: object) -> None:
        layer._parameters.update(nowhere)

    free()
    layer.register_forward_pre_hook(load)
    layer.register_forward_hook(free, always_call=True)


def _parameter(weights: Tensor) -> nn.Parameter:
    return nn.Parameter(weights.detach(), requires_grad=False)


@dataclass(frozen=True)
class Weights:
    """Bytes of each network's weights as they will be computed with."""

    conditioner: int
    dit: int
    vae: int

    @property
    def total(self) -> int:
        """All networks."""
        return self.conditioner + self.dit + self.vae

    @property
    def largest(self) -> int:
        """The largest network."""
        return max(self.conditioner, self.dit, self.vae)

    def needed_bytes(self, residence: Residence) -> int:
        """Bytes of the device that a job takes, about."""
        beside = {"full": self.total, "low": self.largest, "minimal": MINIMAL_BYTES}
        return beside[residence] + ACTIVATION_BYTES


def choose_residence(weights: Weights, free_bytes: int) -> Residence:
    """The fastest that fits; minimal where nothing does."""
    order: tuple[Residence, ...] = ("full", "low")
    return next((one for one in order if weights.needed_bytes(one) <= free_bytes), "minimal")
