"""Through real networks too, the sparse way finds what asking every point finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from parity.parity_case import DATA, DEVICE, Case
from PIL import Image
from support.dense_twin import dense_field
from support.fields import BOX, LEVEL
from support.mesh_checks import assert_same_cells, assert_same_surface
from torch import Tensor

from hy3dgen.field.decode_options import DecodeOptions
from hy3dgen.field.field_query import FieldQuery
from hy3dgen.field.octree import decode_field
from hy3dgen.field.sparse_field import SparseField
from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.pipeline import Hunyuan3DDiTFlowMatchingPipeline

CALL = 2048
DTYPES = (torch.float32,) if DEVICE.type == "cpu" else (torch.float32, torch.float16, torch.bfloat16)
TINY = Path("models/tiny/tiny.safetensors")


def assert_like_dense(vae: ShapeVAE, tokens: Tensor, resolution: int) -> None:
    query = query_of(vae, tokens)
    options = DecodeOptions(max_points_per_call=CALL)
    found = decode_field(query, BOX, resolution, iso=LEVEL, device=tokens.device, options=options)
    # Asked in calls of the same size, as networks may round differently in calls of another.
    dense = dense_field(FieldQuery(lambda points: query(points.to(tokens.device)), CALL), BOX, resolution)
    field = on_cpu(found)
    assert len(field.cells) > 0
    assert_same_cells(field, dense)
    assert_same_surface(field, dense)


def on_cpu(field: SparseField) -> SparseField:
    return replace(
        field,
        **{name: getattr(field, name).cpu() for name in ("keys", "logits", "cells", "codes")},
    )


def query_of(vae: ShapeVAE, tokens: Tensor) -> Callable[[Tensor], Tensor]:
    key, value = vae.geometry.keys_values(tokens)
    return lambda points: vae.geometry(points[None], key, value)[0]


@pytest.mark.parametrize("resolution", [32, 70])
def test_sparse_equals_dense_on_random_weights(case: Case, resolution: int) -> None:
    assert_like_dense(case.vae, case.stages["vae.out"], resolution)


@pytest.mark.skipif(not TINY.exists(), reason="models/tiny is not here")
@pytest.mark.parametrize("resolution", [64, 96])
def test_sparse_equals_dense_on_the_embedded_model(
    tiny_tokens: tuple[ShapeVAE, Tensor], resolution: int
) -> None:
    assert_like_dense(*tiny_tokens, resolution)


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def tiny_tokens(request: pytest.FixtureRequest) -> tuple[ShapeVAE, Tensor]:
    """The embedded model's shape for a picture."""
    pipeline, vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(TINY, DEVICE, request.param)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        latents = pipeline(Image.open(DATA / "image.png"), num_inference_steps=8, generator=generator)
        return vae, vae(latents / vae.scale_factor)
