"""The attention kernel is chosen by trying."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from parity.parity_case import DEVICE
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from hy3dgen.runtime import attention
from hy3dgen.runtime.attention import fastest_kernel, preferring

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
