"""Where the weights are: all on the device, one network at a time, or one layer at a time.

Weights that wait lie in main memory, and where no number is converted in the file's own pages, shared with every other
process. A network that waits has no numbers at all: using it out of turn fails at once. Knows no files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Residence = Literal["full", "low", "minimal"]
"""full: all networks on the device; low: they take turns; minimal: each layer comes when it is needed."""

NOWHERE = torch.device("meta")
ACTIVATION_BYTES = 1_000_000_000
"""Beside the weights, generously: 210 MB for a call of 8000 points, about as much for a step of v2-0, libraries."""
MINIMAL_BYTES = 100_000_000
"""The largest layer and the one before it."""


class Turns:
    """Only the network used last has its weights on `device`."""

    def __init__(self, networks: Sequence[nn.Module], device: torch.device) -> None:
        self.device = device
        self._waiting: dict[nn.Module, Mapping[str, Tensor]] = {one: one.state_dict() for one in networks}
        self._present: nn.Module | None = None
        for network in networks:
            _assign(network, NOWHERE, self._waiting[network])

    def take(self, network: nn.Module) -> None:
        """Brings the weights of `network`, and lets those of the one before go."""
        if network is self._present:
            return
        if self._present is not None:
            _assign(self._present, NOWHERE, self._waiting[self._present])
            self._present = None
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        _assign(network, self.device, self._waiting[network])
        self._present = network


def _assign(network: nn.Module, device: torch.device, weights: Mapping[str, Tensor]) -> None:
    # Always copies: what lies in the file's pages must not be handed out.
    there = {name: torch.empty_like(one, device=device) for name, one in weights.items()}
    if device != NOWHERE:
        for name, one in weights.items():
            there[name].copy_(one)
    network.load_state_dict(there, strict=True, assign=True)
    network.requires_grad_(False)


def bring_layers(networks: Sequence[nn.Module], device: torch.device) -> None:
    """From now on each layer's own weights come to `device` for its call alone, in the order of the device's work."""
    for network in networks:
        for layer in network.modules():
            if next(layer.parameters(recurse=False), None) is not None:
                _bring_for_calls(layer, device)


def _bring_for_calls(layer: nn.Module, device: torch.device) -> None:
    waiting = dict(layer.named_parameters(recurse=False))
    nowhere = {name: _parameter(one, NOWHERE) for name, one in waiting.items()}

    def come(*_: object) -> None:
        layer._parameters.update({name: _parameter(one, device) for name, one in waiting.items()})

    def go(*_: object) -> None:
        layer._parameters.update(nowhere)

    go()
    layer.register_forward_pre_hook(come)
    layer.register_forward_hook(go, always_call=True)


def _parameter(weights: Tensor, device: torch.device) -> nn.Parameter:
    return nn.Parameter(weights.detach().to(device), requires_grad=False)


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

    def needed(self, residence: Residence) -> int:
        """Bytes of the device that a job takes, about."""
        beside = {"full": self.total, "low": self.largest, "minimal": MINIMAL_BYTES}
        return beside[residence] + ACTIVATION_BYTES


def choose_residence(weights: Weights, free_bytes: int) -> Residence:
    """The fastest that fits; minimal where nothing does."""
    order: tuple[Residence, ...] = ("full", "low")
    return next((one for one in order if weights.needed(one) <= free_bytes), "minimal")


Bring = Callable[[nn.Module], None]
"""Called with a network before its weights are used."""


def stay(network: nn.Module) -> None:
    """Nothing to bring: all weights are where they are used."""
