"""A compiled twin is used for prepared shapes alone, and never trusted further than it was tried."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hy3dgen.runtime.compiled import FixedShapes


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()


def wave(numbers: Tensor, times: int) -> Tensor:
    return numbers.sin() * times


def refuse(*_: Any) -> Tensor:
    raise RuntimeError("not this way")


def out_of_memory(*_: Any) -> Tensor:
    raise torch.OutOfMemoryError("full")


def fixed(plain: Callable[..., Tensor] = wave, fast: Callable[..., Tensor] | None = None) -> FixedShapes:
    """With `fast` in place of what the compiler would make, where a test is not about the compiler."""
    made = FixedShapes(plain, "wave", has_graphs=False)
    if fast is not None:
        made._fast = fast
    return made


def test_a_prepared_call_goes_the_compiled_way_and_gives_the_same_numbers() -> None:
    function, numbers = fixed(), torch.linspace(0, 1, 100)
    assert function.prepare(numbers, 3)
    function.plain = refuse
    assert torch.allclose(function(numbers, 3), wave(numbers, 3), atol=1e-6)


def test_calls_of_other_shapes_or_values_go_the_plain_way() -> None:
    function, numbers = fixed(fast=wave), torch.linspace(0, 1, 100)
    assert function.prepare(numbers, 3)
    function._fast = refuse
    assert torch.equal(function(numbers[:50], 3), wave(numbers[:50], 3))
    assert torch.equal(function(numbers, 4), wave(numbers, 4))
    assert torch.equal(function(numbers.double(), 3), wave(numbers.double(), 3))


def test_what_does_not_compile_stays_plain_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def unfit(numbers: Tensor) -> Tensor:
        return numbers * len(str(numbers.sum().item()))

    function, numbers = fixed(unfit), torch.ones(3)
    with caplog.at_level(logging.WARNING):
        assert not function.prepare(numbers)
    assert "wave is not compiled" in caplog.text
    assert torch.equal(function(numbers), unfit(numbers))


@pytest.mark.parametrize("wrong", [0.1, float("nan")])
def test_a_twin_with_other_numbers_is_not_used(caplog: pytest.LogCaptureFixture, wrong: float) -> None:
    function = fixed(fast=lambda numbers, times: wave(numbers, times) + wrong)
    with caplog.at_level(logging.WARNING):
        assert not function.prepare(torch.linspace(0, 1, 100), 3)
    assert "off" in caplog.text


def test_a_twin_that_fails_later_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    function, numbers = fixed(fast=wave), torch.linspace(0, 1, 100)
    assert function.prepare(numbers, 3)
    function._fast = refuse
    with caplog.at_level(logging.WARNING):
        assert torch.equal(function(numbers, 3), wave(numbers, 3))
    assert "going on without" in caplog.text
    function._fast = out_of_memory  # would be raised if the twin were asked again
    assert torch.equal(function(numbers, 3), wave(numbers, 3))


def test_lack_of_memory_is_no_failure_of_the_twin() -> None:
    function, numbers = fixed(fast=wave), torch.linspace(0, 1, 100)
    assert function.prepare(numbers, 3)
    function._fast = out_of_memory
    with pytest.raises(torch.OutOfMemoryError):
        function(numbers, 3)
