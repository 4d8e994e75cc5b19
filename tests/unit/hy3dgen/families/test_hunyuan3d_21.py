"""What Hunyuan3D-2.1 says of itself; its numbers: parity/test_families.py, its layouts: test_family.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from parity.parity_case import DATA
from PIL import Image

from hy3dgen.errors import CheckpointError
from hy3dgen.families.hunyuan3d_21 import FAMILY, FRAME, MARKS, OTHER_MODELS, SETTINGS
from hy3dgen.models import open_model
from hy3dgen.shape_model import ShapeModel
from hy3dgen.weights.published_files import PublishedFiles

FOLDER = DATA / "hunyuan3d_21"
OVERRIDES = json.loads((FOLDER / "overrides.json").read_text())


@pytest.fixture(scope="module")
def model() -> ShapeModel:
    known = {name: value for name, value in OVERRIDES.items() if name in SETTINGS}
    return open_model(FOLDER / "checkpoint.safetensors", device="cpu", dtype=torch.float32, overrides=known)


def test_its_defaults_are_the_published_ones(model: ShapeModel) -> None:
    assert (model.defaults.num_steps, model.defaults.guidance_scale) == (50, 5.0)
    assert (FRAME.half_extent, FRAME.iso) == (1.01, 0.0)
    assert model.card.model_id == "hunyuan3d-dit-v2-1"


def test_its_times_are_those_of_2_0(model: ShapeModel) -> None:
    assert model.family.times(5).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_its_picture_is_framed_like_that_of_2_0(model: ShapeModel) -> None:
    pixels = model.prepare_image(Image.new("RGBA", (60, 30), (10, 20, 30, 255)))
    assert pixels.dtype == torch.float32
    assert pixels[0, :, 0, 0].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("prefix", "meaning"), OTHER_MODELS.items())
def test_networks_of_the_same_code_that_were_never_published_are_refused(prefix: str, meaning: str) -> None:
    shapes = dict.fromkeys((*MARKS, f"{prefix}weight"), (1, 1))
    with pytest.raises(CheckpointError, match=meaning):
        FAMILY.build(PublishedFiles(Path("some.ckpt"), shapes, {}, {}, {}), {})


@pytest.mark.parametrize(
    ("overrides", "said"), [({"schedule": "consistency"}, "flow"), ({"steps": 3}, "steps")]
)
def test_settings_that_it_does_not_have_are_refused(overrides: dict[str, object], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        open_model(FOLDER / "checkpoint.safetensors", device="cpu", dtype=torch.float32, overrides=overrides)
