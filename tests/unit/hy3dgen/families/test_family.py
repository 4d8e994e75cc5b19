"""Each family takes exactly what was published, in every layout, and refuses what differs by name."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from parity.family_case import NAMES, family_case, overrides_of
from parity.parity_case import DATA, close
from support.published_layouts import (
    changed,
    copied,
    described,
    expanded,
    in_shards,
    nested_pickle,
    weights_files,
)

from hy3dgen.errors import CheckpointError
from hy3dgen.families import hunyuan3d_21, step1x_3d, triposg
from hy3dgen.families.family import Family
from hy3dgen.models import family_of, open_model
from hy3dgen.networks.skip_dit import SkipDiT
from hy3dgen.shape_model import ShapeModel
from hy3dgen.weights.published_files import PublishedFiles, open_published
from hy3dgen.weights.tensor_file import Shapes

FAMILIES: dict[str, Family] = {
    "hunyuan3d_21": hunyuan3d_21.FAMILY,
    "triposg": triposg.FAMILY,
    "step1x_3d": step1x_3d.FAMILY,
}
FOLDERS = ("triposg", "step1x_3d")
SINGLE_FILE_OVERRIDES = json.loads((DATA / "overrides.json").read_text())
ALL = {one: DATA / f"{one}.safetensors" for one in ("checkpoint", "checkpoint_turbo")} | {
    name: DATA / name / NAMES[name].checkpoint for name in FAMILIES
}
Shape = tuple[int, ...]
PUBLISHED = {name: json.loads((DATA / name / "keys_full.json").read_text()) for name in FAMILIES}


def opened(name: str, path: Path, dtype: torch.dtype = torch.float32) -> ShapeModel:
    return open_model(path, device="cpu", dtype=dtype, overrides=overrides_of(name))


def checkpoint(name: str, folder: Path) -> Path:
    """A copy of a family's fixture, and the path to open."""
    if name in FOLDERS:
        return copied(DATA / name, folder / name)
    target = folder / "model.fp16.safetensors"
    target.write_bytes((DATA / name / "checkpoint.safetensors").read_bytes())
    return target


def velocity_of(name: str, model: ShapeModel) -> torch.Tensor:
    stages = family_case(name).stages
    return model.velocity(stages["dit.x"].to(model.dtype), 0.25, stages["dit.context"].to(model.dtype))


@pytest.mark.parametrize("name", FAMILIES)
def test_our_modules_take_exactly_the_published_names_and_shapes(name: str) -> None:
    shapes, family = expanded(PUBLISHED[name]["tensors"]), FAMILIES[name]
    assert len(shapes) == PUBLISHED[name]["num_tensors"]
    settings = PUBLISHED[name]["settings"] if name in FOLDERS else {}

    built = family.build(described(shapes, settings), {})

    used = {one: shape for one, shape in shapes.items() if not one.startswith(family.ignored)}
    assert built.published_shapes() == used
    assert family.recognises(shapes)
    assert [other for other in FAMILIES if FAMILIES[other].recognises(shapes)] == [name]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_card_counts_the_parameters_that_stay(name: str) -> None:
    shapes, family = expanded(PUBLISHED[name]["tensors"]), FAMILIES[name]
    model = family.build(described(shapes, {}), {}).model
    networks = (model.dit, model.vae, model.conditioner)
    total = sum(one.numel() for network in networks for one in network.parameters())
    assert total == model.card.num_parameters
    assert model.num_latents == model.card.num_latents
    assert model.defaults.guidance_scale == model.card.guidance_scale


def test_the_published_settings_of_2_1_are_ours() -> None:
    theirs = PUBLISHED["hunyuan3d_21"]["settings"]
    assert theirs == {setting: hunyuan3d_21.SETTINGS[setting] for setting in theirs}


def test_the_published_sizes_are_read_off_the_shapes() -> None:
    sizes = {}
    for name, family in FAMILIES.items():
        model = family.build(described(expanded(PUBLISHED[name]["tensors"]), {}), {}).model
        config = model.dit.config
        sizes[name] = (config.num_heads, config.head_width, model.vae.config.num_heads)
    assert sizes == {"hunyuan3d_21": (16, 128, 16), "triposg": (16, 128, 8), "step1x_3d": (20, 64, 12)}


def test_the_experts_of_2_1_stand_in_its_last_six_blocks() -> None:
    shapes = expanded(PUBLISHED["hunyuan3d_21"]["tensors"])
    dit = hunyuan3d_21.FAMILY.build(described(shapes, {}), {}).model.dit
    assert isinstance(dit, SkipDiT)
    config = dit.config
    assert (config.num_blocks, config.num_expert_blocks, config.num_experts) == (21, 6, 8)
    assert [number for number in range(21) if config.merges(number)] == list(range(11, 21))


@pytest.mark.parametrize("name", FOLDERS)
def test_class_names_in_the_json_files_tell_nothing(name: str, tmp_path: Path) -> None:
    path = checkpoint(name, tmp_path)
    for file in path.glob("**/*.json"):
        file.write_text(file.read_text().replace('"_class_name": "', '"_class_name": "Another'))
    assert opened(name, path).card.model_id == family_case(name).model.card.model_id


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", FAMILIES)
def test_weights_of_any_float_type_become_the_asked_one(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    path = checkpoint(name, tmp_path)
    for file in weights_files(path) if path.is_dir() else [path]:
        changed(file, lambda tensors: tensors.update({one: t.to(dtype) for one, t in tensors.items()}))

    model = opened(name, path)

    assert {one.dtype for one in model.family.dit.parameters()} == {torch.float32}
    deviation = velocity_of(name, model) - velocity_of(name, family_case(name).model)
    assert 0 <= deviation.abs().mean() < 0.05


@pytest.mark.parametrize("name", FAMILIES)
def test_half_precision_computes_about_the_same(name: str) -> None:
    case = family_case(name)
    model = opened(name, case.folder / NAMES[name].checkpoint, torch.bfloat16)
    latents = model.sample(case.image, num_inference_steps=2, generator=torch.Generator().manual_seed(1))
    points = case.stages[NAMES[name].points].reshape(1, -1, 3)[:, :64]
    assert latents.dtype == torch.bfloat16
    assert torch.isfinite(model.query(points, model.tokens(latents))).all()


@pytest.mark.parametrize("name", FOLDERS)
def test_shards_are_read_like_one_file(name: str, tmp_path: Path) -> None:
    path = checkpoint(name, tmp_path)
    for file in weights_files(path):
        in_shards(file)
    assert close(velocity_of(name, opened(name, path)), velocity_of(name, family_case(name).model), 0)


def test_the_published_pickle_of_2_1_is_read_like_a_flat_file(tmp_path: Path) -> None:
    name = "hunyuan3d_21"
    nested_pickle(DATA / name / "checkpoint.safetensors", tmp_path / "model.fp16.ckpt")
    expected = velocity_of(name, family_case(name).model)
    for path in (tmp_path / "model.fp16.ckpt", tmp_path):
        assert close(velocity_of(name, opened(name, path)), expected, 0)


Tamper = Callable[[Path], object]
TAMPERED: dict[str, tuple[str, str, str, str]] = {
    # family: component file, a tensor, its published name, its shape in the fixture
    "hunyuan3d_21": ("", "model.blocks.6.moe.experts.3.net.2.bias", "model.", "[48]"),
    "triposg": ("transformer", "blocks.3.attn2.to_v.weight", "transformer.", "[64, 48]"),
    "step1x_3d": ("transformer", "dit_model.norm_out.linear.bias", "transformer.", "[112]"),
}


def tampered(name: str, folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    path = checkpoint(name, folder)
    component = TAMPERED[name][0]
    changed(next((path / component).glob("*.safetensors")) if component else path, change)
    return path


def published_name(name: str) -> str:
    _, tensor, prefix, _ = TAMPERED[name]
    return tensor if tensor.startswith(prefix) else prefix + tensor


@pytest.mark.parametrize("name", FAMILIES)
def test_a_missing_tensor_is_named(name: str, tmp_path: Path) -> None:
    path = tampered(name, tmp_path, lambda tensors: tensors.pop(TAMPERED[name][1]))
    with pytest.raises(CheckpointError, match=f"lacks {published_name(name)}"):
        opened(name, path)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_wrong_shape_is_named_with_both_shapes(name: str, tmp_path: Path) -> None:
    _, tensor, _, shape = TAMPERED[name]
    path = tampered(name, tmp_path, lambda tensors: tensors.update({tensor: torch.zeros(3, 5)}))
    with pytest.raises(CheckpointError) as refusal:
        opened(name, path)
    assert f"{published_name(name)} is [3, 5], wanted {shape}" in str(refusal.value)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_tensor_that_nothing_takes_is_named(name: str, tmp_path: Path) -> None:
    extra = TAMPERED[name][1].replace("weight", "surprise").replace("bias", "surprise")
    path = tampered(name, tmp_path, lambda tensors: tensors.update({extra: torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"no network takes: .*surprise"):
        opened(name, path)


WRONG: tuple[Callable[[Shape], Shape | None], ...] = (
    lambda shape: None,
    lambda shape: (shape[0] + 1, *shape[1:]),
    lambda shape: (2 * shape[0], *shape[1:]),
    lambda shape: (1, 1, 1, 1, math.prod(shape)),
    lambda shape: (*shape[:-1], shape[-1] + 1),
    lambda shape: (),
    lambda shape: (1, *shape),
)
"""Missing, more rows, twice the rows, flat, more columns, one number, an axis more."""


def files_with(name: str, changes: Mapping[str, Shape | None]) -> PublishedFiles:
    """The names and shapes of a family's fixture, some changed, those that are None left out."""
    with open_published(ALL[name], torch.device("cpu")) as files:
        shapes = {**files.shapes, **changes}
    return replace(files, shapes={one: shape for one, shape in shapes.items() if shape is not None}, homes={})


def fixture_overrides(name: str) -> dict[str, Any]:
    return overrides_of(name) if name in FAMILIES else SINGLE_FILE_OVERRIDES[name]


def refusal_of(name: str, changes: Mapping[str, Shape | None]) -> str:
    files = files_with(name, changes)
    with pytest.raises(CheckpointError) as refusal:
        family_of(files).load(files, torch.float32, fixture_overrides(name))
    return str(refusal.value)


class WatchedShapes(dict[str, Shape]):
    """Shapes that keep which of them were looked up."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__(shapes)
        self.read: list[str] = []

    def __getitem__(self, name: str) -> Shape:
        self.read.append(name)
        return super().__getitem__(name)


def telling_tensors(name: str) -> dict[str, Shape]:
    """Those of a family's fixture that its sizes are read from, and those that say which family it is."""
    files = files_with(name, {})
    family, watched = family_of(files), WatchedShapes(files.shapes)
    family.build(replace(files, shapes=watched), fixture_overrides(name))
    return {one: tuple(files.shapes[one]) for one in sorted({*watched.read, *family.marks})}


@pytest.mark.parametrize("name", ALL)
def test_a_tensor_that_sizes_are_read_from_is_named_when_it_is_wrong(name: str) -> None:
    """By name and with both shapes, though the sizes of all others were read beside it; or as the one that lacks."""
    telling = telling_tensors(name)
    assert len(telling) > 25
    for (one, shape), wrong in zip(telling.items(), itertools.cycle(WRONG), strict=False):
        changed_to = wrong(shape)
        told = refusal_of(name, {one: changed_to})
        if changed_to is None:
            assert f"lacks {one}" in told
        else:
            assert f"{one} is {list(changed_to)}, wanted {list(shape)}" in told


def test_numbers_that_are_no_floats_are_refused(tmp_path: Path) -> None:
    name, tensor = "triposg", "blocks.3.attn2.to_v.weight"
    path = tampered(name, tmp_path, lambda tensors: tensors.update({tensor: tensors[tensor].to(torch.int8)}))
    with pytest.raises(CheckpointError, match=rf"{tensor} holds int8, wanted are floats"):
        opened(name, path)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("num_latents", value) for value in (-3, 0, 2.5, True, "many")),
        ("image_encoder_px", "wide"),
        ("vae_heads", 0),
        ("vae_heads", "eight"),
        ("scale_factor", 0),
        ("scale_factor", float("nan")),
    ],
)
def test_a_setting_that_no_network_can_have_is_named(name: str, setting: str, value: object) -> None:
    path = DATA / name / NAMES[name].checkpoint
    with pytest.raises(CheckpointError, match=f"{setting} must be a .*number above 0, got {value!r}"):
        open_model(path, device="cpu", dtype=torch.float32, overrides=overrides_of(name) | {setting: value})


@pytest.mark.parametrize("heads", [0, 5, "eight", 8.0, [8]])
def test_heads_of_a_json_file_that_no_width_has_are_named(heads: object, tmp_path: Path) -> None:
    path = checkpoint("triposg", tmp_path)
    config = path / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_attention_heads": heads}))
    with pytest.raises(CheckpointError, match="heads"):
        opened("triposg", path)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_unknown_override_is_named(name: str) -> None:
    path = DATA / name / NAMES[name].checkpoint
    with pytest.raises(CheckpointError, match="num_latens"):
        open_model(path, device="cpu", dtype=torch.float32, overrides={"num_latens": 3})


@pytest.mark.parametrize(
    ("tensor", "meaning"),
    [
        ("model.pos_embed", "an order of the latents"),
        ("model.t_embedder.cond_proj.weight", "a guidance input"),
    ],
)
def test_networks_of_the_same_code_as_2_1_are_refused(tensor: str, meaning: str, tmp_path: Path) -> None:
    path = tampered("hunyuan3d_21", tmp_path, lambda tensors: tensors.update({tensor: torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=meaning):
        opened("hunyuan3d_21", path)


def test_the_scribble_variant_of_triposg_is_refused(tmp_path: Path) -> None:
    name = "blocks.0.attn2_2.to_q.weight"
    path = tampered("triposg", tmp_path, lambda tensors: tensors.update({name: torch.zeros(64, 64)}))
    with pytest.raises(CheckpointError, match="scribble"):
        opened("triposg", path)


@pytest.mark.parametrize(
    ("file", "setting", "value", "found"),
    [
        ("transformer/config.json", "use_label_condition", True, "label variant"),
        ("scheduler/scheduler_config.json", "shift", 3.0, "shift is 3.0"),
        ("scheduler/scheduler_config.json", "use_karras_sigmas", True, "use_karras_sigmas is True"),
        ("vae/config.json", "include_pi", True, "include_pi"),
    ],
)
def test_settings_that_no_published_step1x_has_are_refused(
    file: str, setting: str, value: object, found: str, tmp_path: Path
) -> None:
    path = checkpoint("step1x_3d", tmp_path)
    (path / file).write_text(json.dumps({**json.loads((path / file).read_text()), setting: value}))
    with pytest.raises(CheckpointError, match=found):
        opened("step1x_3d", path)


def test_a_folder_with_a_label_encoder_is_refused(tmp_path: Path) -> None:
    path = checkpoint("step1x_3d", tmp_path)
    (path / "label_encoder").mkdir()
    with pytest.raises(CheckpointError, match="label variant"):
        opened("step1x_3d", path)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_repackaged_folder_without_json_files_falls_back_to_published_numbers(
    name: str, tmp_path: Path
) -> None:
    path = checkpoint(name, tmp_path)
    for file in path.glob("**/*.json"):
        file.unlink()
    assert opened(name, path).family.vae.config.num_heads == {"triposg": 8, "step1x_3d": 12}[name]
