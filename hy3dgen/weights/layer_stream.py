"""Weights that come to a GPU layer by layer, each on its way while the layers before it compute. Knows no networks.

They lie in ordinary memory, which a GPU can't read by itself: each tensor is copied into one of two pinned buffers, and
from there on a stream of its own, which the stream that computes waits for. Which layer comes next is learnt: the one
that came after it before. A wrong guess costs a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

AHEAD_BYTES = 32_000_000
"""Of weights on their way: about two layers of v2-0, and small ones between them."""
NUM_BUFFERS = 2


@dataclass
class _Buffer:
    """Pinned memory, and when the copy from it is done."""

    memory: Tensor
    emptied: torch.cuda.Event | None = None


@dataclass(frozen=True)
class _Sent:
    """A layer's weights on the device, complete once `arrived` has passed."""

    weights: Mapping[str, Tensor]
    arrived: torch.cuda.Event

    @property
    def num_bytes(self) -> int:
        return sum(one.nbytes for one in self.weights.values())


class LayerStream:
    """Brings the weights of each of `layers`, which stay where they are, to `device` when it is their turn."""

    def __init__(self, layers: Iterable[nn.Module], device: torch.device) -> None:
        self.device = device
        self._weights = {layer: _own_weights(layer) for layer in layers}
        largest = max((one.nbytes for own in self._weights.values() for one in own.values()), default=0)
        self._buffers = [
            _Buffer(torch.empty(largest, dtype=torch.uint8, pin_memory=True)) for _ in range(NUM_BUFFERS)
        ]
        self._copying = torch.cuda.Stream(device)
        self._after: dict[nn.Module, nn.Module] = {}
        self._last: nn.Module | None = None
        self._ahead: dict[nn.Module, _Sent] = {}

    def take(self, layer: nn.Module) -> Mapping[str, Tensor]:
        """The weights of `layer` on the device; those of the layers after it are sent on their way."""
        if self._last is not None:
            self._after[self._last] = layer
        self._last = layer
        self._drop_before(layer)
        sent = self._ahead.pop(layer, None) or self._send(layer)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_event(sent.arrived)
        for one in sent.weights.values():
            one.record_stream(computing)
        self._send_ahead(layer)
        return sent.weights

    def _drop_before(self, layer: nn.Module) -> None:
        """Forgets what was sent on a wrong guess."""
        while self._ahead and next(iter(self._ahead)) is not layer:
            del self._ahead[next(iter(self._ahead))]

    def _send_ahead(self, layer: nn.Module) -> None:
        latest = next(reversed(self._ahead), layer)
        num_bytes = sum(one.num_bytes for one in self._ahead.values())
        while num_bytes < AHEAD_BYTES:
            following = self._after.get(latest)
            if following is None or following is layer or following in self._ahead:
                return
            latest, self._ahead[following] = following, self._send(following)
            num_bytes += self._ahead[following].num_bytes

    def _send(self, layer: nn.Module) -> _Sent:
        weights = {name: self._copy(one) for name, one in self._weights[layer].items()}
        arrived = torch.cuda.Event()
        arrived.record(self._copying)
        return _Sent(weights, arrived)

    def _copy(self, weights: Tensor) -> Tensor:
        buffer = self._buffers.pop(0)
        self._buffers.append(buffer)
        if buffer.emptied is not None:
            buffer.emptied.synchronize()
        pinned = buffer.memory[: weights.nbytes].view(weights.dtype).view(weights.shape)
        pinned.copy_(weights)
        with torch.cuda.stream(self._copying):
            there = torch.empty(weights.shape, dtype=weights.dtype, device=self.device)
            there.copy_(pinned, non_blocking=True)
        buffer.emptied = torch.cuda.Event()
        buffer.emptied.record(self._copying)
        return there


def _own_weights(layer: nn.Module) -> Mapping[str, Tensor]:
    return {name: one.detach() for name, one in layer.named_parameters(recurse=False)}
