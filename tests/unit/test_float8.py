"""Float8 matrices: one byte a number, near the exact result, and only where they were asked for."""

from __future__ import annotations

import torch
from parity_case import Case, load_case
from torch import Tensor, nn

from hy3dgen.float8 import Float8Linear, use_float8


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def layer() -> tuple[nn.Linear, Tensor]:
    torch.manual_seed(4)
    return nn.Linear(64, 48).requires_grad_(False), torch.randn(2, 5, 64) * torch.logspace(-3, 3, 5)[:, None]


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
    assert torch.equal(Float8Linear(exact)(torch.zeros(1, 64))[0], exact.bias)


def test_the_velocity_stays_near_the_exact_one() -> None:
    case: Case = load_case("checkpoint", "stages")
    dit, stages = case.pipeline.dit, case.stages
    exact = dit(stages["dit.x"], stages["dit.t"], stages["dit.context"])
    use_float8(dit)
    coarse = dit(stages["dit.x"], stages["dit.t"], stages["dit.context"])
    assert 0.001 < relative(coarse, exact) < 0.2
    linears = [name for name, one in dit.named_modules() if isinstance(one, nn.Linear)]
    assert all("modulation" in name or "block" not in name for name in linears)
