"""The attention kernel is chosen by trying."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

import pytest
import torch
from parity.parity_case import DEVICE
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from hy3dgen.runtime import attention
from hy3dgen.runtime.attention import (
    attend_merging,
    fastest_kernel,
    fastest_merge,
    preferring,
    retry_without_cudnn,
)

CPU = torch.device("cpu")


def test_only_kernels_that_run_here_are_chosen() -> None:
    chosen = fastest_kernel(2, 32, 16, device=CPU, dtype=torch.float32)
    assert chosen in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH)


def test_the_kernel_chosen_for_a_device_is_used_there() -> None:
    dtype = torch.float32 if DEVICE == CPU else torch.float16
    chosen = fastest_kernel(2, 48, 64, device=DEVICE, dtype=dtype)
    heads = torch.ones(1, 2, 48, 64, device=DEVICE, dtype=dtype)
    assert chosen is not None
    with sdpa_kernel(chosen):
        assert torch.equal(scaled_dot_product_attention(heads, heads, heads), heads)


def test_where_no_fast_kernel_runs_the_plain_one_is_chosen() -> None:
    only_on_gpus = (SDPBackend.CUDNN_ATTENTION,)
    chosen = fastest_kernel(2, 32, 16, device=CPU, dtype=torch.float32, candidates=only_on_gpus)
    assert chosen == SDPBackend.MATH


def test_the_plain_kernel_is_not_tried_where_a_fast_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[SDPBackend] = []

    @contextmanager
    def noting(kernel: SDPBackend) -> Iterator[None]:
        tried.append(kernel)
        yield

    monkeypatch.setattr(attention, "sdpa_kernel", noting)
    fastest_kernel(2, 32, 16, device=CPU, dtype=torch.float32)
    assert tried == list(attention.CANDIDATES)


def test_a_preferred_kernel_changes_no_number_beyond_rounding() -> None:
    heads = torch.randn(1, 2, 32, 16, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    expected = scaled_dot_product_attention(heads, heads, heads)
    for kernel in (None, SDPBackend.MATH, SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        with preferring(kernel):
            found = scaled_dot_product_attention(heads, heads, heads)
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_merged_key_is_as_exact_as_repeated_ones(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(2)
    query, key, value = (torch.randn(1, 2, 48, 64, generator=generator).to(DEVICE, dtype) for _ in range(3))
    many_keys, many_values = (
        torch.cat([one[:, :, :1].expand(-1, -1, 300, -1), one[:, :, 1:]], dim=2) for one in (key, value)
    )
    exact = scaled_dot_product_attention(query.double(), many_keys.double(), many_values.double())
    repeated = scaled_dot_product_attention(query, many_keys, many_values)
    merged = attend_merging(query, key, value, 300, "flash")
    assert merged.dtype == dtype
    assert (merged.double() - exact).abs().max() <= 1.1 * (repeated.double() - exact).abs().max()
    assert (merged.double() - exact).square().mean() <= 1.1 * (repeated.double() - exact).square().mean()


def test_the_first_of_equal_weights_has_the_share_of_its_count() -> None:
    nothing = torch.zeros(1, 1, 5, 8)
    value = torch.zeros(1, 1, 5, 8)
    value[:, :, 0] = 1
    assert torch.allclose(attend_merging(nothing, nothing, value, 16, "flash"), torch.tensor(16 / 20))


def test_attention_with_equal_keys_goes_the_way_that_runs_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {16: 3.0, 1: 2.0}
    monkeypatch.setattr(
        attention,
        "median_seconds",
        lambda call, device: seconds[16 if "scaled" in call.func.__name__ else 1],
    )
    assert fastest_merge(2, 9, 8, 16, device=CPU, dtype=torch.float16) == "cudnn"
    seconds[16] = 1.0
    assert fastest_merge(2, 9, 8, 16, device=CPU, dtype=torch.float16) is None


@pytest.mark.parametrize("kernel", get_args(attention.Merge))
def test_a_gpus_kernels_give_a_log_sum_for_each_query(kernel: attention.Merge) -> None:
    query, key = (torch.empty(1, 16, n, 64, device="meta", dtype=torch.float16) for n in (3073, 3072))
    found, log_sum = attention._attend_with_log_sum(query, key, key, kernel)
    assert (tuple(found.shape), tuple(log_sum.shape)) == ((1, 16, 3073, 64), (1, 16, 3073))
    assert log_sum.dtype == torch.float32


def test_where_cudnn_has_no_plan_the_other_kernels_are_asked_and_it_is_not_tried_again() -> None:
    tried: list[bool] = []

    def network(number: int) -> int:
        tried.append(torch.backends.cuda.cudnn_sdp_enabled())
        if tried[-1]:
            raise RuntimeError(
                "cuDNN Frontend error: [cudnn_frontend] No valid execution plans built.\nat line 1"
            )
        return number + 1

    call = retry_without_cudnn(network)
    assert [call(1), call(2)] == [2, 3]
    assert tried == [True, False, False]


def test_other_errors_of_a_network_go_on() -> None:
    def network() -> None:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")

    with pytest.raises(RuntimeError, match="EXECUTION_FAILED"):
        retry_without_cudnn(network)()
