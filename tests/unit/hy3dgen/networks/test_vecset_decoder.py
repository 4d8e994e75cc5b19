"""What the decoder promises beside its numbers, which parity/test_decode.py has."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hy3dgen.errors import LatentShapeError
from hy3dgen.field.decode import Search
from hy3dgen.field.decode_options import DecodeOptions
from hy3dgen.field.geometry import Frame
from hy3dgen.networks.vecset_decoder import ShapeVAE, VAEConfig, check_width, fourier_features
from hy3dgen.runtime.execution import Execution

CONFIG = VAEConfig(
    latent_channels=8,
    width=32,
    num_heads=4,
    num_layers=2,
    num_frequencies=8,
    qkv_bias=False,
    qk_norm=True,
    geo_width=32,
    geo_heads=4,
    geo_mlp_ratio=4,
    geo_has_ln_post=True,
    geo_qk_norm=True,
)
FRAME = Frame(half_extent=1.2, iso=0.1)
TOKENS = torch.randn(1, 6, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def vae() -> ShapeVAE:
    torch.manual_seed(0)
    return ShapeVAE(CONFIG, 1.0, FRAME).eval().requires_grad_(False)


def ball(points: Tensor, *_: Tensor) -> Tensor:
    return 0.7 - points.norm(dim=-1)


def test_fourier_features_are_points_sines_and_cosines_without_pi() -> None:
    features = fourier_features(torch.tensor([[[0.3, -0.5, 1.0]]]), 2)[0, 0].tolist()
    angles = [x * f for x in (0.3, -0.5, 1.0) for f in (1, 2)]
    expected = [0.3, -0.5, 1.0, *(math.sin(one) for one in angles), *(math.cos(one) for one in angles)]
    assert features == pytest.approx(expected, abs=1e-6)


def test_tokens_are_a_set(vae: ShapeVAE) -> None:
    points, order = torch.randn(1, 5, 3), torch.randperm(6)
    assert torch.allclose(
        vae.query_geometry(points, TOKENS), vae.query_geometry(points, TOKENS[:, order]), atol=1e-5
    )


def test_the_field_of_a_shape_is_what_query_geometry_gives(vae: ShapeVAE) -> None:
    points = torch.randn(7, 3)
    assert torch.equal(vae.field(TOKENS)(points), vae.query_geometry(points[None], TOKENS)[0])


@pytest.mark.parametrize("change", [{"geo_width": 16}, {"geo_qk_norm": False}, {"geo_has_ln_post": False}])
def test_smaller_geometry_decoders_give_one_logit_a_point(change: dict[str, Any]) -> None:
    vae = ShapeVAE(replace(CONFIG, **change), 1.0, FRAME)
    logits = vae.query_geometry(torch.randn(1, 5, 3), TOKENS)
    assert (logits.shape, logits.dtype) == ((1, 5), torch.float32)


def test_decode_asks_what_the_execution_names_and_loads_the_weights_first(vae: ShapeVAE) -> None:
    loaded: list[nn.Module] = []
    vae.execution = Execution(query=ball, load=loaded.append)
    found = vae.decode(TOKENS, Search(FRAME.box, 48, 0.0, DecodeOptions()))
    assert loaded == [vae]
    assert np.linalg.norm(found.mesh.vertices, axis=1) == pytest.approx(0.7, abs=0.005)


def test_what_latents2mesh_is_not_told_is_the_models_own(vae: ShapeVAE) -> None:
    vae.execution = Execution(query=ball)
    (own,) = vae.latents2mesh(TOKENS, octree_resolution=48)
    (asked,) = vae.latents2mesh(TOKENS, bounds=FRAME.half_extent, octree_resolution=48, mc_level=FRAME.iso)
    assert np.array_equal(own.vertices, asked.vertices)
    assert np.linalg.norm(own.vertices, axis=1) == pytest.approx(0.6, abs=0.005)


def test_there_is_one_mesh_a_row(vae: ShapeVAE) -> None:
    vae.execution = Execution(query=ball)
    assert len(vae.latents2mesh(TOKENS.expand(3, -1, -1), octree_resolution=16)) == 3


@pytest.mark.parametrize("shape", [(1, 6, 8), (6, 32), (1, 2, 6, 32)])
def test_tensors_of_another_stage_are_refused_with_both_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(LatentShapeError, match=r"takes \[batch, tokens, 32\]"):
        check_width(torch.zeros(shape), 32, stage="here")
