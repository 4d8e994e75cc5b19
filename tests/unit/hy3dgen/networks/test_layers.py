"""Attention, norms and time waves against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hy3dgen.networks.layers import LAYER_NORM_EPS, HeadNorm, Mlp, TimeEmbedding, attend, time_waves


def heads(count: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, 3, count, 8, generator=torch.Generator().manual_seed(seed)).to(dtype)


def slow_attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(dim=-1)
    return (weights @ value).transpose(1, 2).flatten(2)


def test_attention_is_softmax_of_scaled_products_with_heads_merged() -> None:
    query, key, value = heads(4, 0), heads(5, 1), heads(5, 2)
    assert torch.allclose(attend(query, key, value), slow_attend(query, key, value), atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_the_first_key_stands_for_as_many_equal_ones(dtype: torch.dtype, tolerance: float) -> None:
    query, key, value = (heads(4, seed, dtype) for seed in (0, 1, 2))
    many_keys, many_values = (torch.cat([one[:, :, :1]] * 7 + [one[:, :, 1:]], dim=2) for one in (key, value))
    expected = slow_attend(query.float(), many_keys.float(), many_values.float())
    found = attend(query, key, value, first_key_counts=7)
    assert found.dtype == dtype
    assert (found.float() - expected).abs().max() <= tolerance


def test_a_head_norm_divides_by_the_root_mean_square_of_each_head() -> None:
    norm, vectors = HeadNorm(8), heads(4, 3)
    norm.scale.data = torch.arange(8.0)
    expected = vectors / (vectors.square().mean(-1, keepdim=True) + LAYER_NORM_EPS).sqrt() * torch.arange(8.0)
    assert torch.allclose(norm(vectors), expected, atol=1e-6)


def test_an_mlp_has_an_exact_gelu_between_its_layers() -> None:
    mlp, tokens = Mlp(4, 16), torch.randn(2, 3, 4)
    hidden = mlp.expand(tokens)
    gelu = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    assert torch.allclose(mlp(tokens), mlp.contract(gelu), atol=1e-6)


def test_time_waves_are_sines_then_cosines_of_falling_frequencies() -> None:
    waves = time_waves(torch.tensor([3.0]), 8)[0]
    angles = [3.0 * 10_000 ** (-k / 4) for k in range(4)]
    expected = [*(math.sin(one) for one in angles), *(math.cos(one) for one in angles)]
    assert waves.tolist() == pytest.approx(expected, abs=1e-5)


def test_an_embedding_of_times_is_as_wide_as_the_network() -> None:
    assert TimeEmbedding(16)(torch.tensor([0.0, 500.0])).shape == (2, 16)
