"""The doctor's trial job: a plain picture through the embedded model is well, a field turned inside out is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ai_engine.cli import model_checks
from ai_engine.cli.model_checks import (
    _card,
    _field,
    _room,
    free_main_memory,
    plain_ball,
    shape_model,
    trial_warnings,
)
from ai_engine.pipeline import device
from ai_engine.pipeline.device import Room
from ai_engine.pipeline.shape_model import ShapeModel
from ai_engine.settings import Settings
from hy3dgen.weights.offload import Weights

GIGABYTES = 10**9


def settings(tmp_path: Path, **changes: object) -> Settings:
    return Settings(**{"data_dir": tmp_path, **changes})  # type: ignore[arg-type]


@pytest.fixture
def model(tmp_path: Path) -> ShapeModel:
    return ShapeModel.load(settings(tmp_path, device="cpu"))


def turned_inside_out(head: nn.Linear) -> None:
    head.register_forward_hook(lambda _module, _inputs, output: -output)


def test_the_embedded_model_passes(model: ShapeModel) -> None:
    assert trial_warnings(model) == ()
    assert _field(model, 0).remedy is None


def test_a_field_with_the_other_sign_is_told_with_a_remedy(model: ShapeModel) -> None:
    turned_inside_out(model.model.family.vae.geometry.head)
    finding = _field(model, 0)
    assert "positive at 8 of the box's 8 corners" in finding.text
    assert finding.remedy is not None


def test_a_field_without_a_surface_is_told(model: ShapeModel) -> None:
    def far_outside(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return output.abs().neg() - 1

    model.model.family.vae.geometry.head.register_forward_hook(far_outside)
    assert "no mesh" in trial_warnings(model)[0]


def test_large_weights_are_not_tried_on_a_cpu(model: ShapeModel) -> None:
    assert "looked at with every job" in _field(model, 5 * GIGABYTES).text


def test_the_picture_is_a_cut_out_ball() -> None:
    picture = plain_ball()
    assert picture[0, 0, 3] == 0
    assert picture[64, 64, 3] == 255
    assert len(set(picture[64, 20:108, 0].tolist())) > 10


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    chosen = settings(tmp_path, model_path=tmp_path / "none.safetensors", device="cpu")
    wrong = list(shape_model(chosen))[-1]
    assert "none.safetensors" in wrong.text
    assert wrong.remedy is not None


def test_it_says_before_loading_whether_the_model_will_fit(tmp_path: Path) -> None:
    found = list(shape_model(settings(tmp_path, device="cpu")))
    assert found[0].text.startswith("device: cpu, main memory; a job takes about 1.0 GB, memory full")
    assert found[0].remedy is None


def test_a_missing_c_compiler_is_named_with_what_it_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(tmp_path, device="cpu", compile="1")
    monkeypatch.setattr(device, "has_compiler", lambda: False)
    (wrong,) = _card(chosen)
    assert "1.7 times with v2-mini" in wrong.text
    assert wrong.remedy is not None
    assert "gcc" in wrong.remedy
    monkeypatch.setattr(device, "has_compiler", lambda: True)
    assert [finding.remedy for finding in _card(chosen)] == [None]
    assert list(_card(settings(tmp_path, device="cpu"))) == []


def test_a_card_that_pytorch_was_not_built_for_is_named_with_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "choose_device", lambda name, require_gpu: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla V100")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80"])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (GIGABYTES, GIGABYTES))
    wrong = next(_card(settings(tmp_path, compile="0")))
    assert wrong.text.startswith("card: Tesla V100, sm_70; driver ")
    assert wrong.text.endswith("cards sm_75 sm_80")
    assert wrong.remedy == "install a PyTorch built for it"


def test_a_device_that_is_too_small_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(Weights(2 * 10**9, 2 * 10**9, 10**9), "full", free=3 * 10**9)
    monkeypatch.setattr(Room, "on", lambda device, settings: room)
    wrong = _room(settings(tmp_path, device="cpu"))
    assert "3.0 GB free; a job takes about 6.0 GB" in wrong.text
    assert wrong.remedy is not None


@pytest.mark.parametrize(("free", "fits"), [(500_000_000, False), (2_000_000_000, True), (None, True)])
def test_main_memory_that_is_too_small_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int | None, fits: bool
) -> None:
    monkeypatch.setattr(model_checks, "free_main_memory", lambda: free)
    found = _room(settings(tmp_path, device="cpu"))
    assert (found.remedy is None) == fits
    assert found.text.endswith("memory full" if free is None else f"memory full; {free / 1e9:.1f} GB free")


@pytest.fixture
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own files, as they look with 2 GB available."""
    monkeypatch.setattr(model_checks, "SYSTEM_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(model_checks, "GROUP_MEMORY", tmp_path)
    (tmp_path / "meminfo").write_text("MemTotal:  8000000 kB\nMemAvailable:  2000000 kB\n")


@pytest.mark.usefixtures("_files")
def test_free_main_memory_is_what_the_system_can_give() -> None:
    assert free_main_memory() == 2_048_000_000


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize(
    ("limit", "free"), [("max", 2_048_000_000), ("1500000000", 1_100_000_000), ("300000000", 0)]
)
def test_the_limit_of_a_container_counts_without_pages_of_files(
    tmp_path: Path, limit: str, free: int
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.stat").write_text("anon 400000000\nfile 900000000\n")
    assert free_main_memory() == free


@pytest.mark.usefixtures("_files")
def test_where_the_system_does_not_say_nothing_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "meminfo").unlink()
    assert free_main_memory() is None
