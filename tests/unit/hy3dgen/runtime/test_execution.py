"""How networks are run is one frozen value, plain unless it says otherwise."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from torch import nn

from hy3dgen.runtime.execution import Execution, no_offload


def test_the_usual_way_is_plain_and_its_weights_are_where_they_are_used() -> None:
    plain = Execution()
    assert (plain.denoise, plain.query, plain.attention, plain.load) == (None, None, None, no_offload)
    layer = nn.Linear(2, 2)
    before = layer.weight.clone()
    plain.load(layer)
    assert layer.weight.equal(before)


def test_it_does_not_change_under_a_job() -> None:
    with pytest.raises(FrozenInstanceError):
        Execution().attention = None  # type: ignore[misc]
