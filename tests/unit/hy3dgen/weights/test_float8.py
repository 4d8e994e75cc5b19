"""Float8 matrices: one byte a number, near the exact result, and only where they were asked for."""

from __future__ import annotations

import pytest
import torch
from parity.parity_case import DEVICE, Case, load_case
from torch import Tensor, nn

from hy3dgen.networks.stream_dit import Modulation
from hy3dgen.weights.float8 import Float8Linear, can_multiply, use_float8


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def layer() -> tuple[nn.Linear, Tensor]:
    torch.manual_seed(4)
    linear, tokens = nn.Linear(64, 48), torch.randn(2, 5, 64) * torch.logspace(-3, 3, 5)[:, None]
    return linear.requires_grad_(False).to(DEVICE), tokens.to(DEVICE)


def test_a_product_is_off_by_the_rounding_of_its_factors() -> None:
    exact, tokens = layer()
    coarse = Float8Linear(exact)
    assert coarse(tokens).shape == (2, 5, 48)
    for row in range(5):  # each row has a scale of its own: small ones lose no more than large ones
        found, expected = (one(tokens)[:, row] - exact.bias for one in (coarse, exact))
        assert 0.001 < relative(found, expected) < 0.06


def test_weights_take_one_byte_each() -> None:
    exact, _ = layer()
    assert Float8Linear(exact).weight.element_size() == 1


def test_a_row_of_zeros_gives_the_bias() -> None:
    exact, _ = layer()
    assert torch.equal(Float8Linear(exact)(torch.zeros(1, 64, device=DEVICE))[0], exact.bias)


def test_the_velocity_stays_near_the_exact_one() -> None:
    case: Case = load_case("checkpoint", "stages")
    dit, stages = case.pipeline.dit, case.stages
    exact = dit(stages["dit.x"], stages["dit.t"], stages["dit.context"])
    use_float8(dit.blocks, Modulation)
    coarse = dit(stages["dit.x"], stages["dit.t"], stages["dit.context"])
    assert 0.001 < relative(coarse, exact) < 0.2
    linears = [name for name, one in dit.named_modules() if isinstance(one, nn.Linear)]
    assert all("modulation" in name or "block" not in name for name in linears)


@pytest.mark.parametrize(
    ("capability", "can"), [((8, 0), False), ((8, 6), False), ((8, 9), True), ((9, 0), True), ((12, 0), True)]
)
def test_cards_before_ada_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], can: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert can_multiply(torch.device("cuda")) == can
    assert can_multiply(torch.device("cpu"))


def test_a_card_that_can_not_multiply_is_refused_before_a_layer_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dit = load_case("checkpoint", "stages").pipeline.dit
    monkeypatch.setattr("hy3dgen.weights.float8.can_multiply", lambda device: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an old card")
    with pytest.raises(ValueError, match="an old card"):
        use_float8(dit.blocks, Modulation)
    assert not [one for one in dit.modules() if isinstance(one, Float8Linear)]
