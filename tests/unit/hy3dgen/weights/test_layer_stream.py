"""Weights that come layer by layer are on their way before they are asked for, once their order is known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from support.pretended_gpu import OnGpu, pretended_gpu
from torch import nn

from hy3dgen.weights import layer_stream
from hy3dgen.weights.layer_stream import LayerStream
from hy3dgen.weights.offload import offload_layers


class Watched(LayerStream):
    """Notes which layers are sent, and which are taken."""

    def __init__(self, layers: Sequence[nn.Module], device: torch.device) -> None:
        super().__init__(layers, device)
        self.places = {layer: place for place, layer in enumerate(layers)}
        self.sent: list[int] = []

    def _send(self, layer: nn.Module) -> layer_stream._Sent:
        self.sent.append(self.places[layer])
        return super()._send(layer)

    def sent_while_taking(self, *order: int) -> list[list[int]]:
        """What was sent with each of the layers taken one after the other."""
        layers, found = list(self.places), []
        for place in order:
            self.sent.clear()
            taken = self.take(layers[place])
            assert torch.equal(taken["weight"].cpu(), layers[place].get_parameter("weight"))
            found.append(list(self.sent))
        return found


def layers(count: int) -> list[nn.Module]:
    return [nn.Linear(8, 8 + place) for place in range(count)]


def test_a_layer_is_on_its_way_while_the_one_before_it_computes() -> None:
    with pretended_gpu() as gpu:
        stream = Watched(layers(3), gpu)
        assert stream.sent_while_taking(0, 1, 2) == [[0], [1], [2]], "the order is not known yet"
        assert stream.sent_while_taking(0, 1, 2) == [[0, 1, 2], [0], [1]]
        assert stream.sent_while_taking(0, 1, 2) == [[2], [0], [1]]


def test_no_more_is_on_its_way_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_stream, "AHEAD_BYTES", 1)
    with pretended_gpu() as gpu:
        stream = Watched(layers(4), gpu)
        stream.sent_while_taking(0, 1, 2, 3)
        assert stream.sent_while_taking(0, 1, 2, 3) == [[0, 1], [2], [3], [0]]


def test_a_wrong_guess_costs_a_copy_and_is_forgotten() -> None:
    with pretended_gpu() as gpu:
        stream = Watched(layers(4), gpu)
        stream.sent_while_taking(0, 1, 2, 0)
        assert stream.sent_while_taking(3)[0][0] == 3
        assert list(stream._ahead) == []


def test_weights_that_wait_are_not_changed_by_what_is_done_on_the_device() -> None:
    (layer,) = layers(1)
    before = layer.get_parameter("weight").clone()
    with pretended_gpu() as gpu:
        taken = Watched([layer], gpu).take(layer)
        assert isinstance(taken["weight"], OnGpu)
        taken["weight"].zero_()
    assert torch.equal(layer.get_parameter("weight"), before)


def test_a_network_whose_layers_come_for_their_calls_computes_the_same() -> None:
    network = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3)))
    numbers = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    expected = network(numbers)
    with pretended_gpu() as gpu:
        offload_layers([network], gpu)
        for _ in range(2):
            assert torch.equal(network(numbers.to(gpu)).cpu(), expected)
        assert all(one.is_meta for one in network.parameters())
