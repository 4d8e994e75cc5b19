"""Our DINOv2 against the one of transformers, with the same random weights; its numbers: parity/test_image.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hy3dgen.networks.dinov2 import Dinov2, Dinov2Sizes

WIDTH, LAYERS, HEADS, PATCH_PX, GRID = 48, 3, 4, 14, 5


def twins(is_swiglu: bool) -> tuple[Dinov2, Any]:
    from transformers import Dinov2Config, Dinov2Model  # two seconds, not for each process that collects

    sizes = Dinov2Sizes(
        width=WIDTH,
        num_layers=LAYERS,
        num_heads=HEADS,
        mlp_ratio=4,
        is_swiglu=is_swiglu,
        patch_px=PATCH_PX,
        patches_per_side=GRID,
    )
    theirs = Dinov2Model(
        Dinov2Config(
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            mlp_ratio=4,
            use_swiglu_ffn=is_swiglu,
            image_size=GRID * PATCH_PX,
            patch_size=PATCH_PX,
            layer_norm_eps=1e-6,
        )
    )
    torch.manual_seed(0)
    weights = {name: torch.randn_like(one) / 7 for name, one in theirs.state_dict().items()}
    theirs.load_state_dict(weights)
    ours = Dinov2(sizes)
    ours.load_state_dict(weights)
    return ours.eval().requires_grad_(False), theirs.eval().requires_grad_(False)


@pytest.mark.parametrize("is_swiglu", [True, False])
@pytest.mark.parametrize("patches", [(5, 5), (3, 3), (7, 4)])
def test_tokens_are_those_of_transformers(is_swiglu: bool, patches: tuple[int, int]) -> None:
    ours, theirs = twins(is_swiglu)
    pixels = torch.randn(2, 3, PATCH_PX * patches[0], PATCH_PX * patches[1])

    expected = theirs(pixels).last_hidden_state

    assert torch.allclose(ours(pixels), expected, atol=1e-6 * float(expected.abs().max()))


def test_the_giant_has_the_published_hidden_width() -> None:
    with torch.device("meta"):
        giant = Dinov2(Dinov2Sizes(1536, 1, 24, 4, True, 14, 37))
    assert giant.state_dict()["encoder.layer.0.mlp.down_proj.weight"].shape == (1536, 4096)
