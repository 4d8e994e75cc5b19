"""What the denoiser promises beside its numbers, which parity/test_denoise.py has."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from hy3dgen.networks.stream_dit import DiT, DiTConfig, modulate, time_features

CONFIG = DiTConfig(
    hidden=32,
    latent_channels=8,
    context_width=16,
    num_double_blocks=2,
    num_single_blocks=2,
    num_heads=4,
    mlp_ratio=4.0,
    qkv_bias=True,
    has_guidance=False,
)
LATENTS, CONTEXT, TIME = torch.randn(1, 6, 8), torch.randn(1, 5, 16), torch.tensor([0.4])


@pytest.fixture(scope="module")
def dit() -> DiT:
    torch.manual_seed(0)
    return DiT(CONFIG).eval().requires_grad_(False)


def test_time_features_are_cosines_then_sines_with_period_1000() -> None:
    features = time_features(torch.tensor([0.25]))[0].double()
    angles = [250.0 * 1000 ** (-k / 128) for k in range(128)]
    expected = torch.tensor([*(math.cos(a) for a in angles), *(math.sin(a) for a in angles)])
    assert (features - expected).abs().max() < 1e-4


def test_modulated_tokens_are_normed_scaled_and_moved() -> None:
    tokens, shift, scale = torch.randn(1, 3, 16), torch.full((1, 1, 16), 2.0), torch.full((1, 1, 16), 0.5)
    normed = (tokens - tokens.mean(-1, keepdim=True)) / (
        tokens.var(-1, keepdim=True, correction=0) + 1e-6
    ).sqrt()
    assert torch.allclose(modulate(tokens, shift, scale), 1.5 * normed + 2.0, atol=1e-5)


def test_latents_are_a_set(dit: DiT) -> None:
    order = torch.randperm(6)
    velocity = dit(LATENTS, TIME, CONTEXT)
    assert torch.allclose(dit(LATENTS[:, order], TIME, CONTEXT), velocity[:, order], atol=1e-5)
    assert torch.allclose(dit(LATENTS, TIME, CONTEXT.flip(1)), velocity, atol=1e-5)


def test_equal_context_tokens_may_be_carried_as_one(dit: DiT) -> None:
    rows, one = dit.modulations(TIME), dit.context_in(torch.zeros(1, 1, 16))
    plain = dit.velocity(LATENTS, one.expand(-1, 5, -1), rows)
    assert torch.allclose(dit.velocity(LATENTS, one, rows, 5), plain, atol=1e-5)


def test_modulations_of_several_times_are_those_of_each(dit: DiT) -> None:
    both = dit.modulations(torch.tensor([0.1, 0.9]))
    apart = [dit.modulations(torch.tensor([time])) for time in (0.1, 0.9)]
    assert torch.allclose(both, torch.cat(apart), atol=1e-6)


def test_blocks_are_listed_in_their_order(dit: DiT) -> None:
    assert dit.blocks == (*dit.double_blocks, *dit.single_blocks)


def test_guidance_is_an_input_of_distilled_networks_alone(dit: DiT) -> None:
    distilled = DiT(replace(CONFIG, has_guidance=True))
    with pytest.raises(ValueError, match="takes no guidance"):
        dit(LATENTS, TIME, CONTEXT, torch.ones(1))
    with pytest.raises(ValueError, match="takes a guidance"):
        distilled(LATENTS, TIME, CONTEXT)
    assert distilled(LATENTS, TIME, CONTEXT, torch.ones(1)).shape == LATENTS.shape


def test_sizes_follow_from_the_config() -> None:
    assert (CONFIG.head_width, CONFIG.mlp_hidden) == (8, 128)
