"""The doctor's trial job: a plain picture through the embedded model is well, a field turned inside out is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor, nn

from ai_engine.cli.doctor import _field
from ai_engine.cli.trial_job import plain_ball, trial_warnings
from ai_engine.pipeline.shape_model import ShapeModel
from ai_engine.settings import Settings

GIGABYTES = 10**9


@pytest.fixture
def model(tmp_path: Path) -> ShapeModel:
    return ShapeModel.load(Settings(_env_file=None, device="cpu", model_variant=None, data_dir=tmp_path))


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
