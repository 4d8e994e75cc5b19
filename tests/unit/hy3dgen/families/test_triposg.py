"""What TripoSG says of itself; its numbers: parity/test_families.py, its layouts: test_family.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from parity.parity_case import DATA
from PIL import Image
from support.published_layouts import copied

from hy3dgen.errors import CheckpointError
from hy3dgen.families.triposg import FAMILY, FRAME, decoder_names
from hy3dgen.models import open_model
from hy3dgen.shape_model import ShapeModel


@pytest.fixture(scope="module")
def model() -> ShapeModel:
    return open_model(DATA / "triposg", device="cpu", dtype=torch.float32)


def test_its_defaults_are_the_published_ones(model: ShapeModel) -> None:
    defaults = model.defaults
    assert (defaults.num_steps, defaults.guidance_scale, defaults.guidance_off) == (50, 7.0, 1.0)
    assert (FRAME.half_extent, FRAME.iso) == (1.005, 0.0)
    assert (model.card.model_id, model.card.licence_notice) == ("triposg", "MIT")


def test_its_times_go_evenly_from_noise_to_shape(model: ShapeModel) -> None:
    times = model.family.times(4)
    assert times.tolist() == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])


def test_its_network_counts_down_from_1000_and_points_to_the_shape(model: ShapeModel) -> None:
    clock = model.family.clock
    assert clock.network_time(torch.tensor([0.0, 0.25, 1.0])).tolist() == [1000.0, 750.0, 0.0]
    assert torch.equal(clock.towards_shape(torch.ones(2)), torch.ones(2))


def test_its_picture_is_in_eight_bits_with_a_white_border(model: ShapeModel) -> None:
    pixels = model.prepare_image(Image.new("RGBA", (40, 20), (10, 20, 30, 255)))
    assert pixels.dtype == torch.uint8
    assert pixels[0, :, 0, 0].tolist() == [255, 255, 255]
    assert pixels.shape[-2:] == (48, 48)


def test_guidance_of_one_or_less_is_off(model: ShapeModel) -> None:
    picture = Image.open(DATA / "triposg" / "image_rgba.png")
    once, none = (model.sample(picture, 2, scale, torch.Generator().manual_seed(0)) for scale in (1.0, 0.0))
    assert torch.equal(once, none)


def test_the_last_decoder_block_is_the_one_that_points_go_through() -> None:
    shapes = {f"vae.decoder.blocks.{index}.norm1.weight": (1,) for index in range(3)}
    assert dict(decoder_names(shapes))[".geometry.ln_1."] == ".decoder.blocks.2.norm2."


def test_its_marks_are_its_own() -> None:
    assert FAMILY.recognises(dict.fromkeys(FAMILY.marks, (1,)))
    assert not FAMILY.recognises({FAMILY.marks[0]: (1,)})


@pytest.mark.parametrize(
    ("file", "name"),
    [("vae/config.json", "embed_include_pi"), ("scheduler/scheduler_config.json", "use_dynamic_shifting")],
)
def test_a_setting_that_no_published_model_has_is_refused_by_its_name(
    tmp_path: Path, file: str, name: str
) -> None:
    path = copied(DATA / "triposg", tmp_path / "model")
    settings = json.loads((path / file).read_text())
    (path / file).write_text(json.dumps(settings | {name: True}))
    with pytest.raises(CheckpointError, match=f"{name} is true"):
        open_model(path, device="cpu", dtype=torch.float32)
