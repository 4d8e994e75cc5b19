"""A field of the wrong sign or range is told in words; a plain one is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hy3dgen.families.field_check import field_warnings
from hy3dgen.field.geometry import Box
from hy3dgen.field.octree import decode_field

BOX = Box.from_bounds(1.05)


def ball(points: Tensor) -> Tensor:
    return 0.6 - points.norm(dim=-1)


def truncated(points: Tensor) -> Tensor:
    return (ball(points) / 0.01).clamp(-1, 1)


def warnings_of(field: Callable[[Tensor], Tensor], resolution: int = 64) -> tuple[str, ...]:
    report = decode_field(field, BOX, resolution, iso=0.0, device="cpu").report
    return field_warnings(field, BOX, resolution, report, torch.device("cpu"))


def test_a_plain_field_gives_no_warning() -> None:
    assert warnings_of(ball) == ()


def test_a_field_with_the_other_sign_is_told() -> None:
    (warning,) = warnings_of(lambda points: -ball(points))
    assert "positive at 8 of the box's 8 corners" in warning
    assert "sign" in warning


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_a_field_of_another_range_is_told(factor: float) -> None:
    assert any("e-0" in one or "e+0" in one for one in warnings_of(lambda points: factor * ball(points)))


def test_a_ramp_shorter_than_a_cell_is_told() -> None:
    assert any("finer octree_resolution" in one for one in warnings_of(truncated, resolution=64))


def test_no_warning_is_part_of_a_report_unless_there_is_one() -> None:
    report = decode_field(ball, BOX, 32, iso=0.0, device="cpu").report
    assert report.warnings == ()
    assert dataclasses.replace(report, warnings=("one",)).warnings == ("one",)
