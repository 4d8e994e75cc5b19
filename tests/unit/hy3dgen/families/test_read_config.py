"""Sizes follow from shapes; what a rule needs and does not find is named."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest
import torch
from parity.parity_case import DATA
from safetensors import safe_open

from hy3dgen.errors import CheckpointError
from hy3dgen.families import hunyuan3d_21, triposg
from hy3dgen.families.read_config import (
    agreed,
    conditioner_config,
    count,
    dit_config,
    encoder_config,
    native_px,
    num_frequencies,
    shape_of,
    skip_dit_config,
    vae_config,
)
from hy3dgen.families.variants import Settings
from hy3dgen.weights.published_files import open_published

CPU = torch.device("cpu")

with safe_open(DATA / "checkpoint.safetensors", "pt") as file:
    SHAPES = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no dict)


def test_the_parity_checkpoint_is_read_right() -> None:
    dit, vae = dit_config(SHAPES, 48), vae_config(SHAPES)
    assert (dit.hidden, dit.latent_channels, dit.context_width) == (64, 16, 48)
    assert (vae.width, vae.num_frequencies, vae.qk_norm) == (64, 8, True)
    assert not dit.has_guidance


def test_the_number_of_blocks_is_one_more_than_the_largest_index() -> None:
    names = {f"blocks.{index}.weight": (1,) for index in (0, 1, 10)} | {"other.12.weight": (1,)}
    assert count(names, "blocks.") == 11
    assert count(names, "absent.") == 0


@pytest.mark.parametrize(
    ("read", "lost"),
    [
        (partial(dit_config, context_width=48), "model.latent_in.weight"),
        (partial(dit_config, context_width=48), "model.double_blocks.0.img_mlp.0.weight"),
        (vae_config, "vae.post_kl.weight"),
        (vae_config, "vae.geo_decoder.query_proj.weight"),
    ],
)
def test_a_tensor_that_tells_sizes_and_is_not_there_is_named(read: Any, lost: str) -> None:
    shapes = {name: shape for name, shape in SHAPES.items() if name != lost}
    with pytest.raises(CheckpointError, match=f"lacks {lost}"):
        read(shapes)


def test_heads_without_a_norm_to_read_them_from_are_told_or_sixteen() -> None:
    bare = {name: shape for name, shape in SHAPES.items() if ".attn.attention." not in name}
    assert vae_config(bare, 8).num_heads == 8
    assert vae_config(bare).num_heads == 16


def test_points_have_their_own_coordinates_a_sine_and_a_cosine_per_frequency() -> None:
    assert num_frequencies({"query": (64, 51)}, "query") == 8
    assert num_frequencies({"query": (64, 15)}, "query") == 2


@pytest.mark.parametrize("shape", [(64, 52), (51,), (1, 64, 51), ()])
def test_a_matrix_of_no_such_features_is_wanted_as_published(shape: tuple[int, ...]) -> None:
    assert num_frequencies({"query": shape}, "query") == 8


def test_one_tensor_of_another_shape_is_outvoted() -> None:
    shapes: dict[str, tuple[int, ...]] = {"n.a": (7, 2), "n.b": (5,), "n.c": (1, 5)}
    assert agreed(shapes, "n.", ("a", 0), ("b", 0), ("c", 1)) == 5
    assert agreed(shapes | {"n.b": ()}, "n.", ("c", 1), ("b", 0)) == 5
    with pytest.raises(CheckpointError, match=r"n\.b is \[5\]: no network"):
        agreed(shapes, "n.", ("b", 1))


def test_positions_that_are_no_square_give_no_size() -> None:
    name = "e.embeddings.position_embeddings"
    assert native_px({name: (1, 17, 8)}, "e.", 70) == 56
    assert [native_px({name: shape}, "e.", 70) for shape in ((1, 18, 8), (17, 1, 8), (8,), ())] == [70] * 4


def test_the_encoder_works_at_the_settings_size_and_knows_its_own() -> None:
    found = conditioner_config(SHAPES, Settings(image_encoder_px=84))
    assert found.working_px == 84
    assert found.native_px == native_px(SHAPES, "conditioner.main_image_encoder.model.")


def test_an_encoder_with_registers_works_at_its_own_size_alone() -> None:
    prefix = "e."
    shapes = {
        "e.embeddings.cls_token": (1, 1, 64),
        "e.embeddings.position_embeddings": (1, 17, 64),
        "e.layernorm.weight": (64,),
        "e.layernorm.bias": (64,),
        "e.encoder.layer.0.mlp.fc1.weight": (256, 64),
        "e.encoder.layer.0.mlp.fc1.bias": (256,),
        "e.encoder.layer.0.mlp.fc2.weight": (64, 256),
    }
    assert encoder_config(shapes, prefix, working_px=56, num_registers=4).num_registers == 4
    assert encoder_config(shapes, prefix, working_px=70).working_px == 70
    with pytest.raises(CheckpointError, match="its own 56 px, not at 70"):
        encoder_config(shapes, prefix, working_px=70, num_registers=4)


def test_a_shape_that_is_not_there_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"lacks nothing\.here"):
        shape_of({}, "nothing.here")


def skip_shapes(folder: str) -> dict[str, tuple[int, ...]]:
    path = DATA / folder
    with open_published(path if folder == "triposg" else path / "checkpoint.safetensors", CPU) as files:
        return dict(files.shapes)


def test_skips_that_lie_elsewhere_are_another_network() -> None:
    shapes, names = skip_shapes("triposg"), triposg.NAMES
    config = skip_dit_config(shapes, names, 48, norm_eps=1e-5)
    merging = [number for number in range(config.num_blocks) if config.merges(number)]
    lost = names.block(merging[0], names.merge)
    shapes = {name: shape for name, shape in shapes.items() if not name.startswith(lost)}
    assert merging
    with pytest.raises(CheckpointError, match=rf"merge a skip are {re.escape(str(merging[1:]))} of"):
        skip_dit_config(shapes, names, 48, norm_eps=1e-5)


def test_experts_that_are_not_in_the_last_blocks_are_another_network() -> None:
    shapes, names = skip_shapes("hunyuan3d_21"), hunyuan3d_21.NAMES
    config = skip_dit_config(shapes, names, 48, norm_eps=1e-6)
    experts = [number for number in range(config.num_blocks) if config.has_experts(number)]
    shapes[names.block(0, "moe.gate.weight")] = shapes[names.block(experts[0], "moe.gate.weight")]
    with pytest.raises(CheckpointError, match="not the last ones"):
        skip_dit_config(shapes, names, 48, norm_eps=1e-6)
