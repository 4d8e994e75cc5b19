"""The loader is strict, says what is wrong, and knows every published layout."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from parity.parity_case import DATA
from safetensors.torch import load_file, save_file

from hy3dgen.errors import CheckpointError
from hy3dgen.families.card import Card
from hy3dgen.families.hunyuan3d_2 import (
    FAMILY,
    FRAME,
    build_networks,
    card_of,
    load_vae,
    model_config,
    published_state,
)
from hy3dgen.families.read_config import vae_config
from hy3dgen.families.variants import (
    EMBEDDED_MODELS,
    VARIANTS,
    variant_in_path,
    variant_settings,
)
from hy3dgen.models import open_model
from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.pipeline import Hunyuan3DDiTFlowMatchingPipeline
from hy3dgen.weights.published_files import PublishedFiles

KEYS = json.loads((DATA / "keys_full.json").read_text())
OVERRIDES = json.loads((DATA / "overrides.json").read_text())
PLAIN = DATA / "checkpoint.safetensors"
EMBEDDED = Path("models/tiny/tiny.safetensors")


def expand(names: dict[str, list[int]]) -> dict[str, tuple[int, ...]]:
    """`a.{0..2}.b` stands for three names."""
    expanded = {}
    for name, shape in names.items():
        parts = re.split(r"\{(\d+)\.\.(\d+)\}", name)
        ranges = [range(int(low), int(high) + 1) for low, high in zip(parts[1::3], parts[2::3], strict=True)]
        for indices in itertools.product(*ranges):
            texts = [*(str(index) for index in indices), ""]
            expanded["".join(itertools.chain(*zip(parts[0::3], texts, strict=True)))] = tuple(shape)
    return expanded


def published(component: str, prefix: str) -> dict[str, tuple[int, ...]]:
    names = expand(KEYS["components"][component]["tensors_list"])
    return {f"{prefix}{name}": shape for name, shape in names.items()}


def single_file_shapes(dit: str) -> dict[str, tuple[int, ...]]:
    return (
        published(dit, "model.")
        | published("vae_v2_0_decoder", "vae.")
        | published("conditioner_dinov2_giant", "conditioner.")
    )


def dit_of(variant: str) -> str:
    size = "mini" if "mini" in variant else "v2_0"
    return f"dit_{size}_guidance" if variant.endswith(("fast", "turbo")) else f"dit_{size}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_our_modules_take_exactly_the_published_names_and_shapes(variant: str) -> None:
    shapes, settings = single_file_shapes(dit_of(variant)), variant_settings(variant)
    config = model_config(shapes, settings)
    assert build_networks(config, card_of(settings, shapes)).published_shapes() == shapes


def test_the_published_sizes_are_read_off_the_shapes() -> None:
    shapes = single_file_shapes("dit_v2_0")
    config = model_config(shapes, variant_settings("v2-0"))
    dit, vae, conditioner = config.dit, config.vae, config.conditioner
    assert (dit.hidden, dit.num_heads, dit.num_double_blocks, dit.num_single_blocks) == (1024, 16, 16, 32)
    assert (vae.width, vae.num_heads, vae.num_layers, vae.num_frequencies) == (1024, 16, 16, 8)
    assert (conditioner.num_layers, conditioner.num_heads, conditioner.native_px) == (40, 24, 518)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_published_settings_are_ours(variant: str) -> None:
    theirs, ours = KEYS["published_settings"][f"hunyuan3d-dit-{variant}"], variant_settings(variant)
    assert ours.num_latents == theirs["num_latents"]
    assert ours.scale_factor == theirs["scale_factor"]
    assert ours.image_encoder_px == theirs["encoder_image_size"]
    assert ours.image_px == theirs["preprocessor_size"]
    assert ours.is_multi_view == theirs["multi_view"]
    assert theirs["scheduler"].startswith(ours.schedule)


def test_a_turbo_geometry_decoder_is_recognised_in_a_separate_file() -> None:
    shapes = published("vae_turbo_decoder", "vae.")
    config = vae_config(shapes)
    assert (config.geo_width, config.geo_heads, config.geo_mlp_ratio) == (512, 8, 1)
    assert not config.geo_has_ln_post
    assert not config.geo_qk_norm
    with torch.device("meta"):
        vae = ShapeVAE(config, 1.0, FRAME)
    assert sum(parameter.numel() for parameter in vae.parameters()) == 203_690_497


def changed(tmp_path: Path, change: Any, name: str = "changed.safetensors", **metadata: str) -> Path:
    tensors = load_file(PLAIN)
    change(tensors)
    save_file(tensors, tmp_path / name, metadata=metadata or None)
    return tmp_path / name


def load(path: Path, **options: Any) -> Any:
    options = {"overrides": OVERRIDES["checkpoint"]} | options
    return Hunyuan3DDiTFlowMatchingPipeline.from_single_file(path, **options)


def test_loading_tells_which_share_of_the_weights_is_there() -> None:
    shares: list[float] = []

    Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
        PLAIN, overrides=OVERRIDES["checkpoint"], on_loaded=shares.append
    )

    assert 0 < shares[0] < 0.1
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda t: t.pop("vae.geo_decoder.output_proj.bias"))
    with pytest.raises(CheckpointError, match=r"lacks vae\.geo_decoder\.output_proj\.bias"):
        load(path)


def test_an_extra_tensor_is_named(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda t: t.update({"model.surprise": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"no network takes: model\.surprise"):
        load(path)


def test_a_wrong_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda t: t.update({"model.latent_in.bias": torch.zeros(7)}))
    with pytest.raises(CheckpointError, match=r"model\.latent_in\.bias is \[7\], wanted \[64\]"):
        load(path)


def test_a_file_without_the_picture_encoder_is_refused(tmp_path: Path) -> None:
    def drop_conditioner(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith("conditioner.")]:
            del tensors[name]

    with pytest.raises(CheckpointError, match=r"nothing under conditioner\."):
        load(changed(tmp_path, drop_conditioner))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "truncated.safetensors"
    path.write_bytes(PLAIN.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="damaged"):
        load(path)


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weights at .*nowhere"):
        load(tmp_path / "nowhere.safetensors")


def test_some_other_model_is_refused(tmp_path: Path) -> None:
    save_file({"unet.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"no known family .*unet\.weight"):
        load(tmp_path / "other.safetensors")


def test_the_header_of_the_file_tells_what_shapes_do_not(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda t: None, config=json.dumps(OVERRIDES["checkpoint"]))
    pipeline, vae = load(path, overrides=None)
    assert pipeline.config.settings.num_latents == 32
    assert vae.scale_factor == OVERRIDES["checkpoint"]["scale_factor"]


def test_an_unknown_override_is_named() -> None:
    with pytest.raises(CheckpointError, match="num_latent'"):
        load(PLAIN, overrides={"num_latent": 32})


def test_a_variant_that_contradicts_the_tensors_is_refused() -> None:
    with pytest.raises(CheckpointError, match="lacks guidance tensors"):
        load(PLAIN, variant="v2-mini-turbo")
    with pytest.raises(CheckpointError, match="unknown variant"):
        load(PLAIN, variant="v3")


@pytest.mark.parametrize(
    ("path", "variant"),
    [
        ("models/hunyuan3d-dit-v2-0-turbo/model.fp16.safetensors", "v2-0-turbo"),
        ("models/hunyuan3d-dit-v2-mini/model.fp16.safetensors", "v2-mini"),
        ("models/Hunyuan3D-DiT-v2-mv-fast.safetensors", "v2-mv-fast"),
        ("models/mine.safetensors", None),
    ],
)
def test_the_variant_is_read_off_the_published_folder_name(path: str, variant: str | None) -> None:
    assert variant_in_path(Path(path)) == variant


def test_weights_survive_a_round_trip_under_their_published_names() -> None:
    pipeline, vae = load(PLAIN)
    state, tensors = published_state(pipeline.dit, vae, pipeline.conditioner), load_file(PLAIN)
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[name], tensors[name].float()) for name in tensors)


def test_a_pickled_checkpoint_gives_the_same_networks(tmp_path: Path) -> None:
    parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "vae": {}, "conditioner": {}}
    for name, tensor in load_file(PLAIN).items():
        part, rest = name.split(".", 1)
        parts[part][rest] = tensor
    torch.save(parts, tmp_path / "model.ckpt")
    pipeline, _vae = load(tmp_path / "model.ckpt", use_safetensors=False)
    assert torch.equal(pipeline.dit.final.weight, load(PLAIN)[0].dit.final.weight)


def test_a_pickle_that_is_no_checkpoint_is_refused_and_not_executed(tmp_path: Path) -> None:
    (tmp_path / "evil.ckpt").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(CheckpointError, match=r"evil\.ckpt"):
        load(tmp_path / "evil.ckpt", use_safetensors=False)


def test_a_separate_vae_file_replaces_the_vae(tmp_path: Path) -> None:
    tensors = {name[4:]: t for name, t in load_file(PLAIN).items() if name.startswith("vae.")}
    save_file(tensors, tmp_path / "vae.safetensors")
    _pipeline, vae = load(PLAIN, vae_path=tmp_path / "vae.safetensors")
    assert torch.equal(vae.post_kl.weight, tensors["post_kl.weight"].float())
    with pytest.raises(CheckpointError, match="separate ShapeVAE"):
        load(tmp_path / "vae.safetensors")
    with pytest.raises(CheckpointError, match="no separate ShapeVAE"):
        load_vae(PLAIN, device=torch.device("cpu"), dtype=torch.float32, scale_factor=1.0)


def test_everything_lands_on_one_device_in_eval_mode_without_gradients() -> None:
    pipeline, vae = load(PLAIN)
    for network in (pipeline.dit, pipeline.conditioner, vae):
        assert not network.training
        assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}
        assert not any(parameter.requires_grad for parameter in network.parameters())


def card(shapes: dict[str, tuple[int, ...]], **settings: Any) -> Card:
    return card_of(replace(variant_settings("v2-0"), **settings), shapes)


@pytest.mark.parametrize("model_id", ["model.fp16", "ai-engine-tiny", "hunyuan3d-dit-v2-0"])
def test_tensors_of_published_sizes_are_tencents_whatever_the_file_is_called(model_id: str) -> None:
    found = card(single_file_shapes("dit_v2_0"), model_id=model_id)

    assert found.licences[0].name == "Tencent Hunyuan 3D 2.0 Community License"
    assert found.outputs_restricted
    assert all(found.excludes(country) for country in ("DE", "EU", "GB", "KR"))
    assert not found.excludes("US")


def test_a_file_says_the_guidance_it_is_asked_with_unless_wished_otherwise() -> None:
    said, silent = (
        open_model(PLAIN, device="cpu", dtype=torch.float32, overrides={**OVERRIDES["checkpoint"], **more})
        for more in ({"default_guidance": 2.5}, {})
    )

    assert (said.defaults.guidance_scale, said.card.guidance_scale) == (2.5, 2.5)
    assert (silent.defaults.guidance_scale, silent.card.guidance_scale) == (5.0, 5.0)


@pytest.mark.parametrize("model_id", EMBEDDED_MODELS)
def test_every_version_of_the_embedded_model_is_apache(model_id: str) -> None:
    found = open_model(EMBEDDED, device="cpu", dtype=torch.float32, overrides={"model_id": model_id}).card

    assert found.licence_notice == "Apache-2.0"


def test_the_embedded_model_is_apache_by_its_own_marker_and_an_unknown_one_is_unknown() -> None:
    embedded, named, other = (
        open_model(path, device="cpu", dtype=torch.float32, overrides=overrides).card
        for path, overrides in (
            (EMBEDDED, None),
            (EMBEDDED, {"model_id": "hunyuan3d-dit-v2-0"}),
            (PLAIN, OVERRIDES["checkpoint"]),
        )
    )

    assert (embedded.model_id, embedded.licence_notice) == ("ai-engine-tiny-1.3", "Apache-2.0")
    assert (named.licence_notice, other.licence_notice) == ("unknown", "unknown")
    assert embedded.territory_excluded == ()


@pytest.mark.parametrize(
    ("dit", "model_id"),
    [
        ("dit_v2_0", "hunyuan3d-dit-v2-0"),
        ("dit_v2_0_guidance", "hunyuan3d-dit-v2-0-fast"),
        ("dit_mini", "hunyuan3d-dit-v2-mini"),
        ("dit_mini_guidance", "hunyuan3d-dit-v2-mini-fast"),
    ],
)
def test_a_published_file_of_any_name_is_called_by_its_tensors(dit: str, model_id: str) -> None:
    shapes = single_file_shapes(dit)
    files = PublishedFiles(Path("weights/model.fp16.safetensors"), shapes, {}, {}, {})

    found = FAMILY.build(files, {}).model.card

    assert found.model_id == model_id
    assert found.num_parameters == sum(math.prod(shape) for shape in shapes.values())
    assert found.revision is not None


def test_the_model_knows_its_own_sampling_and_frame() -> None:
    model = open_model(PLAIN, device="cpu", dtype=torch.float32, overrides=OVERRIDES["checkpoint"])
    assert (model.defaults.num_steps, model.defaults.guidance_scale) == (50, 5.0)
    assert (model.family.frame.half_extent, model.family.frame.iso) == (1.01, -1 / 512)
