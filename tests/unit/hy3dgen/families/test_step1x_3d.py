"""What Step1X-3D says of itself; its numbers: parity/test_families.py, its layouts: test_family.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from parity.parity_case import DATA
from PIL import Image
from support.published_layouts import changed, copied

from hy3dgen.errors import CheckpointError
from hy3dgen.families.step1x_3d import CONDITION_PROJECTION, FAMILY, FRAME, denoiser_name, times
from hy3dgen.models import open_model
from hy3dgen.networks.stream_dit import DiTConfig
from hy3dgen.shape_model import ShapeModel


@pytest.fixture(scope="module")
def model() -> ShapeModel:
    return open_model(DATA / "step1x_3d", device="cpu", dtype=torch.float32)


def test_its_defaults_are_the_published_ones(model: ShapeModel) -> None:
    defaults = model.defaults
    assert (defaults.num_steps, defaults.guidance_scale, defaults.guidance_off) == (50, 7.5, 1.0)
    assert (FRAME.half_extent, FRAME.iso) == (1.05, 0.0)
    assert model.card.licence_notice == "Apache-2.0"


def test_its_times_leave_out_the_step_that_is_multiplied_by_zero() -> None:
    assert len(times(50)) == 50
    assert times(50)[0] == pytest.approx(0.999 / 49, abs=1e-6)
    assert times(50)[-1] == 1
    assert times(50).diff().gt(0).all()


def test_its_network_points_to_the_noise(model: ShapeModel) -> None:
    assert torch.equal(model.family.clock.towards_shape(torch.ones(2)), -torch.ones(2))
    assert model.family.clock.network_time(torch.tensor([0.0])).tolist() == [1000.0]


def test_its_picture_keeps_its_aspect_in_a_white_square(model: ShapeModel) -> None:
    pixels = model.prepare_image(Image.new("RGBA", (60, 30), (10, 20, 30, 255)))
    assert (pixels.dtype, tuple(pixels.shape)) == (torch.uint8, (1, 3, 60, 60))
    assert pixels[0, :, 0, 0].tolist() == [255, 255, 255]
    assert pixels[0, :, 30, 30].tolist() == [10, 20, 30]


def test_its_encoder_has_registers_that_leave_no_token(model: ShapeModel) -> None:
    config = model.family.conditioner.config
    assert config.num_registers > 0
    context = model.encode(Image.new("RGBA", (60, 30), (10, 20, 30, 255)))
    assert context.shape[1] == 1 + (config.working_px // 14) ** 2


def test_the_final_modulation_is_published_the_other_way_round(model: ShapeModel) -> None:
    sizes = model.family.dit.config
    assert isinstance(sizes, DiTConfig)
    assert denoiser_name(sizes, "final_modulation.linear.weight").is_swapped
    assert not denoiser_name(sizes, "final.weight").is_swapped
    assert denoiser_name(sizes, "single_blocks.0.fused_in.weight").shares[-1] == sizes.mlp_hidden


def test_its_mark_is_its_own() -> None:
    assert FAMILY.recognises(dict.fromkeys(FAMILY.marks, (1,)))


def test_the_label_variant_is_refused_by_its_setting_its_folder_and_its_tensors(tmp_path: Path) -> None:
    by_setting, by_folder, by_tensor = (
        copied(DATA / "step1x_3d", tmp_path / name) for name in ("setting", "folder", "tensor")
    )
    config = by_setting / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"use_label_condition": True}))
    (by_folder / "label_encoder").mkdir()
    (encoder,) = (by_tensor / "visual_encoder").glob("*.safetensors")
    changed(encoder, lambda tensors: tensors.update({"clip_model.a": torch.ones(1)}))
    for path in (by_setting, by_folder, by_tensor):
        with pytest.raises(CheckpointError, match=f"{path.name} is Step1X-3D's label variant"):
            open_model(path, device="cpu", dtype=torch.float32)


def test_a_condition_that_is_projected_is_no_published_one(tmp_path: Path) -> None:
    path = copied(DATA / "step1x_3d", tmp_path / "model")
    home, _, name = CONDITION_PROJECTION.partition(".")
    (file,) = (path / home).glob("*.safetensors")
    changed(file, lambda tensors: tensors.update({f"{name}weight": torch.ones(1)}))
    with pytest.raises(CheckpointError, match="projects its condition"):
        open_model(path, device="cpu", dtype=torch.float32)
