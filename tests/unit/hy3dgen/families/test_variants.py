"""What no tensor tells: published values, the path's name, the file's header, and what the caller says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hy3dgen.errors import CheckpointError
from hy3dgen.families.variants import (
    GUIDANCE_INPUT,
    VARIANTS,
    Settings,
    read_settings,
    variant_in_path,
    variant_of_size,
    variant_settings,
)

LARGE = {"model.single_blocks.16.linear1.weight": (1, 1)}
DISTILLED = LARGE | {GUIDANCE_INPUT: (1, 1)}


def read(path: str = "mine.safetensors", shapes: Any = None, **sources: Any) -> Settings:
    header = {"config": json.dumps(sources["header"])} if "header" in sources else {}
    return read_settings(
        Path(path),
        LARGE if shapes is None else shapes,
        header,
        sources.get("variant"),
        sources.get("overrides", {}),
    )


@pytest.mark.parametrize(
    ("shapes", "variant"),
    [
        (LARGE, "v2-0"),
        ({}, "v2-mini"),
        (DISTILLED, "v2-0-fast"),
        ({GUIDANCE_INPUT: (1, 1)}, "v2-mini-fast"),
    ],
)
def test_size_and_guidance_are_told_by_tensors(shapes: dict[str, tuple[int, ...]], variant: str) -> None:
    assert variant_of_size(shapes) == variant
    assert read(shapes=shapes).num_latents == VARIANTS[variant].num_latents


def test_an_unnamed_file_is_called_after_itself() -> None:
    assert read().model_id == "mine"


def test_each_source_wins_over_the_one_before() -> None:
    path, header = "hunyuan3d-dit-v2-mv.safetensors", {"num_latents": 7, "scale_factor": 2.0}
    found = read(path, header=header, overrides={"num_latents": 9})
    assert (found.is_multi_view, found.scale_factor, found.num_latents) == (True, 2.0, 9)


def test_a_variant_that_is_given_wins_over_path_and_header() -> None:
    found = read("hunyuan3d-dit-v2-mv.safetensors", header={"num_latents": 7}, variant="v2-0")
    assert found == variant_settings("v2-0")


def test_a_published_prefix_and_capitals_are_allowed_in_a_variants_name() -> None:
    assert variant_settings("Hunyuan3D-DiT-V2-Mini") == VARIANTS["v2-mini"]


@pytest.mark.parametrize(
    ("path", "variant"),
    [
        ("hunyuan3d-dit-v2-0-turbo", "v2-0-turbo"),
        ("models/hunyuan3d-dit-v2-mini-turbo/model.safetensors", "v2-mini-turbo"),
        ("hunyuan3d-dit-v2_fp16.safetensors", None),
        ("hunyuan3d-dit-v2-0x.safetensors", None),
    ],
)
def test_the_longest_published_name_in_a_path_is_taken(path: str, variant: str | None) -> None:
    assert variant_in_path(Path(path)) == variant


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ({"variant": "v3"}, "unknown variant"),
        ({"variant": "v2-0-turbo"}, "lacks guidance"),
        ({"variant": "v2-0", "shapes": DISTILLED}, "has guidance"),
        ({"variant": "v2-mini"}, "single blocks"),
        ({"overrides": {"num_latent": 3}}, "num_latent"),
        ({"header": {"nonsense": 3}}, "header of mine"),
        ({"header": [1]}, "not a JSON object"),
        ({"overrides": {"schedule": "cosine"}}, "cosine"),
        ({"overrides": {"image_encoder_px": 500}}, "multiple of 14"),
        ({"overrides": {"scale_factor": 0.0}}, "positive"),
    ],
)
def test_what_contradicts_or_is_unknown_is_refused_by_name(sources: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        read(**sources)


def test_a_header_that_is_no_json_is_refused() -> None:
    with pytest.raises(CheckpointError, match="not JSON"):
        read_settings(Path("mine.safetensors"), LARGE, {"config": "{"}, None, {})
