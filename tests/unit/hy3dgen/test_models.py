"""`open_model` tells the family by tensors, loads it where it is asked to, and names what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from parity.parity_case import DATA
from PIL import Image
from safetensors.torch import save_file

from hy3dgen.errors import CheckpointError
from hy3dgen.models import FAMILIES, family_of, open_model, weights_of
from hy3dgen.shape_model import ShapeModel
from hy3dgen.weights.published_files import PublishedFiles

PLAIN = DATA / "checkpoint.safetensors"
OVERRIDES = json.loads((DATA / "overrides.json").read_text())["checkpoint"]
FOLDERS = {"triposg": DATA / "triposg", "step1x-3d-geometry-1300m": DATA / "step1x_3d"}


def opened(path: Path = PLAIN, **options: Any) -> ShapeModel:
    options = {"device": "cpu", "dtype": torch.float32, "overrides": OVERRIDES} | options
    return open_model(path, **options)


def mesh_bytes(model: ShapeModel) -> bytes:
    generator = torch.Generator().manual_seed(1)
    latents = model.sample(Image.open(DATA / "image.png"), 3, generator=generator)
    mesh, _ = model.decode(model.tokens(latents), resolution=24)
    return mesh.vertices.tobytes() + mesh.faces.tobytes()


def files_of(*names: str) -> PublishedFiles:
    return PublishedFiles(Path("some.safetensors"), dict.fromkeys(names, (1,)), {}, {}, {})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_family_is_told_by_its_own_marks_alone(family: Any) -> None:
    assert family_of(files_of(*family.marks)) is family
    assert [one.name for one in FAMILIES if one.recognises(dict.fromkeys(family.marks, (1,)))] == [
        family.name
    ]


def test_tensors_of_no_known_family_are_named_and_the_known_ones_listed() -> None:
    with pytest.raises(CheckpointError, match=r"no known family .*TripoSG.*begins with unet\.a, unet\.b"):
        family_of(files_of("unet.b", "unet.a"))


def test_an_empty_file_has_no_tensor_to_be_told_by(tmp_path: Path) -> None:
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(CheckpointError, match="begins with no tensor"):
        opened(tmp_path / "empty.safetensors")


def test_a_separate_vae_file_is_told_from_a_checkpoint() -> None:
    with pytest.raises(CheckpointError, match="vae_path"):
        family_of(files_of("post_kl.weight"))


@pytest.mark.parametrize(("model_id", "folder"), FOLDERS.items())
def test_a_folder_is_opened_like_a_file(model_id: str, folder: Path) -> None:
    assert opened(folder, overrides=None).card.model_id == model_id


def test_a_variant_is_refused_by_a_family_that_has_none() -> None:
    with pytest.raises(CheckpointError, match="variant"):
        opened(FOLDERS["triposg"], overrides=None, variant="v2-0")


def test_a_variant_that_contradicts_the_tensors_is_refused() -> None:
    with pytest.raises(CheckpointError, match="lacks guidance tensors"):
        opened(variant="v2-mini-turbo")


def test_the_same_seed_gives_the_same_bytes_wherever_the_weights_wait() -> None:
    full, low, minimal = (mesh_bytes(opened(residence=one)) for one in ("full", "low", "minimal"))
    assert full == low == minimal


def test_all_networks_are_in_the_asked_numbers_in_eval_mode_without_gradients() -> None:
    for network in opened(dtype=torch.bfloat16).family.networks:
        assert not network.training
        assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}
        assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("path", [DATA / "hunyuan3d_21" / "checkpoint.safetensors", *FOLDERS.values()])
def test_the_size_of_the_weights_is_known_before_any_is_read(path: Path) -> None:
    model = open_model(path, device="cpu", dtype=torch.float32)
    found = weights_of(path, torch.float16)
    sizes = [2 * sum(one.numel() for one in network.parameters()) for network in model.family.networks]
    assert [found.conditioner, found.dit, found.vae] == sizes


@pytest.mark.parametrize("tau", [0, 0.25, torch.tensor(0.25), torch.tensor([0.25])])
def test_a_velocity_is_asked_at_a_time_of_any_form(tau: Any) -> None:
    model = opened()
    x, context = torch.zeros(1, 4, 16), torch.zeros(1, 3, 48)
    assert model.velocity(x=x, tau=tau, context=context).shape == x.shape
