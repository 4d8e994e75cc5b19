"""Files and folders are one table of tensors; what is missing, doubled or no table is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from parity.parity_case import DATA
from safetensors.torch import save_file
from support.published_layouts import copied, in_shards

from hy3dgen.errors import CheckpointError
from hy3dgen.weights.published_files import PublishedFiles, open_published

CPU = torch.device("cpu")


def read(path: Path, name: str) -> torch.Tensor:
    with open_published(path, CPU) as files:
        return files.read(name).clone()


def names_of(path: Path) -> list[str]:
    with open_published(path, CPU) as files:
        return sorted(files.shapes)


def settings_of(path: Path) -> PublishedFiles:
    with open_published(path, CPU) as files:
        return files


def test_the_names_of_a_component_begin_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    save_file({"a.weight": torch.ones(2)}, tmp_path / "vae" / "model.safetensors")
    assert names_of(tmp_path) == ["vae.a.weight"]
    assert read(tmp_path, "vae.a.weight").tolist() == [1, 1]


def test_only_the_components_that_the_index_names_are_read(tmp_path: Path) -> None:
    for folder in ("vae", "other"):
        (tmp_path / folder).mkdir()
        save_file({"a": torch.ones(1)}, tmp_path / folder / "model.safetensors")
    (tmp_path / "model_index.json").write_text(json.dumps({"vae": ["any", "Class"], "other": [None, None]}))
    assert names_of(tmp_path) == ["vae.a"]


def test_a_folder_around_one_file_is_that_file(tmp_path: Path) -> None:
    save_file({"model.a": torch.ones(1)}, tmp_path / "model.fp16.safetensors")
    assert names_of(tmp_path) == ["model.a"]


def test_the_names_of_a_nested_pickle_begin_with_their_table(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(1)}, "vae": {"b": torch.zeros(1)}}, tmp_path / "model.ckpt")
    assert names_of(tmp_path / "model.ckpt") == ["model.a", "vae.b"]


def test_a_pickle_of_anything_but_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"a": "text"}}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"something else than tensors: model\.a"):
        names_of(tmp_path / "model.ckpt")


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"a": Path("anything")}}, tmp_path / "model.ckpt")
    with pytest.raises(CheckpointError, match="can't be read as a pickled checkpoint"):
        names_of(tmp_path / "model.ckpt")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    path = copied(DATA / "triposg", tmp_path / "model")
    in_shards(path / "vae" / "diffusion_pytorch_model.safetensors")
    (path / "vae" / "diffusion_pytorch_model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"vae lacks the shards .*-00002-of-00003"):
        names_of(path)


def test_a_tensor_in_two_shards_is_named(tmp_path: Path) -> None:
    for number in (1, 2):
        save_file({"a": torch.ones(1)}, tmp_path / f"part-{number}.safetensors")
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
    (tmp_path / "part.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="holds a twice"):
        names_of(tmp_path)


def test_several_files_without_an_index_are_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_file({name: torch.ones(1)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match=r"several weights files .*one\.safetensors, two\.safetensors"):
        names_of(tmp_path)


def test_a_folder_without_weights_is_told_with_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").touch()
    with pytest.raises(CheckpointError, match=r"no weights .*readme\.txt"):
        names_of(tmp_path)


def test_settings_are_found_by_their_path_and_have_a_default() -> None:
    files = settings_of(DATA / "step1x_3d")
    assert files.setting("vae/config.json", "z_scale_factor", 1.0) == 1.25
    assert files.setting("vae/config.json", "no such", 7) == 7
    assert files.setting("vae/config.json", "resolutions", 7) == 7
    assert files.setting("absent.json", "no such", 7) == 7


def test_settings_that_are_not_json_are_named(tmp_path: Path) -> None:
    path = copied(DATA / "triposg", tmp_path / "model")
    (path / "vae" / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"vae/config\.json is not JSON"):
        names_of(path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": ["a"]}'])
def test_an_index_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "part.safetensors")
    (tmp_path / "part.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"part\.safetensors\.index\.json is no index of shards"):
        names_of(tmp_path)


def test_an_index_leads_to_no_file_outside_its_folder(tmp_path: Path) -> None:
    save_file({"secret": torch.ones(1)}, tmp_path / "outside.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    index = {"weight_map": {"secret": "../outside.safetensors"}}
    (folder / "part.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"model lacks the shards outside\.safetensors"):
        names_of(folder)


def test_settings_that_are_no_table_are_named(tmp_path: Path) -> None:
    path = copied(DATA / "triposg", tmp_path / "model")
    (path / "vae" / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match=r"vae/config\.json is no JSON object"):
        names_of(path)


def test_one_file_has_its_header_and_several_have_none(tmp_path: Path) -> None:
    for folder in ("dit", "vae"):
        (tmp_path / folder).mkdir()
        save_file({"a": torch.ones(1)}, tmp_path / folder / "m.safetensors", metadata={"from": folder})
    assert settings_of(tmp_path / "vae" / "m.safetensors").header == {"from": "vae"}
    assert settings_of(tmp_path).header == {}
