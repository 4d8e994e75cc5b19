from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ai_engine.errors import StartupError
from ai_engine.pipeline import device as device_module
from ai_engine.pipeline.device import (
    Room,
    choose_device,
    driver_version,
    dtype_of,
    is_built_for,
    is_compiled,
    prepare_card,
    share_memory,
    shared_memory,
)
from ai_engine.settings import Settings
from hy3dgen.weights.offload import Residence, Weights

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
WEIGHTS = Weights(2 * 10**9, 2 * 10**9, 10**9)


def test_the_drivers_version_is_read_off_its_kernel_module(tmp_path: Path) -> None:
    said = tmp_path / "version"
    said.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)\n"
        "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14+deb12u1)\n"
    )
    assert driver_version(said) == "580.65.06"
    said.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
    )
    assert driver_version(said) == "535.104.05"
    assert driver_version(tmp_path / "none") == "none"


@pytest.mark.parametrize(
    ("card", "is_built"), [((7, 0), False), ((7, 5), True), ((8, 9), True), ((10, 3), True), ((12, 0), True)]
)
def test_a_card_is_supported_when_pytorch_has_code_of_its_architecture_or_code_to_translate(
    card: tuple[int, int], is_built: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120a", "compute_120"]
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
    assert is_built_for(card) == is_built


@pytest.mark.parametrize(
    ("changes", "residence", "device", "found"),
    [
        ({"compile": "1"}, "full", CPU, True),
        ({"compile": "1"}, "low", CPU, None),
        ({}, "full", CPU, None),
        ({}, "full", GPU, True),
        ({"compile": "0"}, "full", GPU, None),
    ],
)
def test_networks_are_compiled_where_it_is_wished_and_their_weights_stay(
    changes: dict[str, str],
    residence: Residence,
    device: torch.device,
    found: bool | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_module, "has_compiler", lambda: True)
    settings = Settings().model_copy(update=changes)
    assert is_compiled(settings, residence, device) is found
    monkeypatch.setattr(device_module, "has_compiler", lambda: False)
    assert is_compiled(settings, residence, device) is (None if found is None else False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_asked_for_or_required_must_be_there() -> None:
    assert choose_device("auto", require_gpu=False) == torch.device("cpu")
    with pytest.raises(StartupError, match="REQUIRE_GPU"):
        choose_device("auto", require_gpu=True)
    with pytest.raises(StartupError, match="DEVICE=cuda:1"):
        choose_device("cuda:1", require_gpu=False)


def test_the_networks_compute_in_half_precision_on_a_gpu_alone_unless_it_is_chosen(tmp_path: Path) -> None:
    own, chosen = Settings(data_dir=tmp_path), Settings(data_dir=tmp_path, dtype="bfloat16")
    assert (dtype_of(own, CPU), dtype_of(own, GPU)) == (torch.float32, torch.float16)
    assert dtype_of(chosen, CPU) == dtype_of(chosen, GPU) == torch.bfloat16


def test_main_memory_always_holds_all_weights(tmp_path: Path) -> None:
    room = Room.on(CPU, Settings(data_dir=tmp_path, device="cpu"))
    assert (room.residence, room.free, room.is_enough) == ("full", None, True)
    assert room.needed_bytes > room.weights.total > 0


def test_what_a_checkpoint_needs_can_not_be_read_off_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(StartupError, match=r"model\.safetensors"):
        Room.on(CPU, Settings(data_dir=tmp_path, model_path=tmp_path / "model.safetensors"))


def test_a_device_has_enough_when_a_job_fits_to_the_byte() -> None:
    needed = Room(WEIGHTS, "full", free=0).needed_bytes
    assert Room(WEIGHTS, "full", free=needed).is_enough
    assert not Room(WEIGHTS, "full", free=needed - 1).is_enough


def test_a_card_is_made_the_current_one_and_float32_is_exact_there(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    prepare_card(torch.device("cuda", 1), torch.float16)
    assert torch.backends.cudnn.allow_tf32
    prepare_card(torch.device("cuda"), torch.float32)
    assert not torch.backends.cudnn.allow_tf32
    assert current == [1, 0]


def test_bfloat16_is_refused_where_it_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    with pytest.raises(StartupError, match="DTYPE=float16"):
        prepare_card(GPU, torch.bfloat16)
    prepare_card(GPU, torch.float16)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_start_without_a_gpu_says_what_this_pytorch_was_built_for() -> None:
    with pytest.raises(StartupError, match=r"driver .* PyTorch 2\.\S+ is built for "):
        choose_device("cuda", require_gpu=False)


@pytest.mark.parametrize(
    ("free", "how"),
    [
        (11, ["full", "full"]),
        (10, ["full", "low"]),
        (8, ["full", "low"]),
        (7, ["low", "low"]),
        (5, ["low", "low"]),
        (4, ["low", "minimal"]),
        (2, ["minimal", "minimal"]),
    ],
)
def test_models_of_one_worker_share_the_device_the_first_one_first(free: int, how: list[str]) -> None:
    assert share_memory([WEIGHTS, WEIGHTS], free * 10**9) == how


def test_a_chosen_memory_holds_for_every_model_and_one_alone_chooses_for_itself(tmp_path: Path) -> None:
    own, chosen = Settings(data_dir=tmp_path), Settings(data_dir=tmp_path, memory="low")
    assert shared_memory([own]) == ["auto"]
    assert shared_memory([chosen, chosen]) == ["low", "low"]
