"""A compiled twin is used for prepared shapes alone, and never trusted further than it was tried."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hy3dgen.runtime import compiled
from hy3dgen.runtime.compiled import FixedShapes, reporting, shape_of


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


def test_shapes_that_are_not_prepared_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    function, numbers = fixed(fast=wave), torch.linspace(0, 1, 100)
    function(numbers[:50], 3)
    assert function.prepare(numbers, 3)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            function(numbers[:50], 3)
    assert caplog.text.count("wave goes the plain way for calls of ((50,),)") == 1


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


SHORTAGES = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.30 GiB"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
)


@pytest.mark.parametrize("error", SHORTAGES)
def test_a_twin_that_runs_out_of_memory_is_forgotten_once_and_the_plain_function_asked(
    error: Exception,
) -> None:
    function, numbers, lowered, asked = fixed(fast=wave), torch.linspace(0, 1, 100), list[str](), list[int]()

    def short(*_: Any) -> Tensor:
        asked.append(1)
        raise error

    assert function.prepare(numbers, 3)
    function._fast = short
    with reporting((function, None, wave), lowered.append):
        for _ in range(2):
            assert torch.equal(function(numbers, 3), wave(numbers, 3))

    assert (lowered, asked) == (["wave not compiled"], [1])


def test_the_graphs_of_a_forgotten_twin_are_dropped_before_the_plain_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []

    def plain(numbers: Tensor) -> Tensor:
        order.append("plain")
        return numbers

    function = FixedShapes(plain, "copy", has_graphs=True)
    monkeypatch.setattr(compiled, "reset_cudagraph_trees", lambda: order.append("graphs dropped"))
    monkeypatch.setattr(compiled, "free_memory", lambda: order.append("memory freed"))
    function._fast = out_of_memory
    function._prepared.add(shape_of((torch.ones(3),)))

    function(torch.ones(3))

    assert order == ["graphs dropped", "memory freed", "plain"]


def test_a_job_hears_of_its_own_shortages_alone() -> None:
    function, numbers, lowered = fixed(fast=wave), torch.linspace(0, 1, 100), list[str]()
    with reporting((function,), lowered.append):
        assert function.prepare(numbers, 3)
    function._fast = out_of_memory
    assert torch.equal(function(numbers, 3), wave(numbers, 3))
    assert lowered == []
