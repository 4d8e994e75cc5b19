"""Resizing, view embeddings and shapes of the picture encoder; its numbers: parity/test_image.py."""

from __future__ import annotations

import math

import pytest
import torch

from hy3dgen.networks.image_encoder import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Conditioner,
    ConditionerConfig,
    resize_shorter_side,
    view_embeddings,
)

CONFIG = ConditionerConfig(
    width=32, num_layers=2, num_heads=2, is_swiglu=False, mlp_ratio=4, native_px=56, working_px=56
)


@pytest.fixture(scope="module")
def conditioner() -> Conditioner:
    torch.manual_seed(0)
    return Conditioner(CONFIG).eval().requires_grad_(False)


def test_a_view_is_told_by_its_own_waves_whatever_its_place() -> None:
    found = view_embeddings((0, 2), 8)
    angles = [2 * 10_000 ** (-j / 4) for j in range(4)]
    assert found[0].tolist() == [0.0] * 4 + [1.0] * 4
    assert found[1].tolist() == pytest.approx([*map(math.sin, angles), *map(math.cos, angles)])
    assert torch.equal(view_embeddings((2,), 8)[0], found[1])


@pytest.mark.parametrize("size", [(30, 30), (60, 30), (30, 61), (14, 100), (200, 100)])
def test_the_middle_square_of_the_asked_side_comes_out(size: tuple[int, int]) -> None:
    assert resize_shorter_side(torch.rand(1, 3, *size), 28).shape == (1, 3, 28, 28)


def test_a_picture_of_the_asked_size_is_left_as_it_is() -> None:
    pixels = torch.rand(1, 3, 28, 28)
    assert torch.equal(resize_shorter_side(pixels, 28), pixels)


def test_resizing_keeps_a_plain_colour() -> None:
    assert torch.allclose(resize_shorter_side(torch.full((1, 3, 50, 70), 0.3), 28), torch.tensor(0.3))


def test_grey_is_normalised_by_mean_and_deviation(conditioner: Conditioner) -> None:
    seen = conditioner.normalise(torch.zeros(1, 3, 56, 56))[0, :, 0, 0].tolist()
    assert seen == pytest.approx([(0.5 - m) / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)])


def test_there_is_a_class_token_and_one_per_patch(conditioner: Conditioner) -> None:
    assert conditioner(torch.zeros(2, 3, 100, 80)).shape == (2, 1 + 16, 32)


def test_views_follow_each_other_each_with_its_own_vector_added(conditioner: Conditioner) -> None:
    pixels = torch.rand(1, 2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    both = conditioner(pixels, (0, 2))
    apart = [conditioner(pixels[:, at]) + view_embeddings((view,), 32) for at, view in ((0, 0), (1, 2))]
    assert torch.allclose(both, torch.cat(apart, dim=1), atol=1e-5)


@pytest.mark.parametrize(("shape", "views"), [((1, 3, 56, 56), (0,)), ((1, 2, 3, 56, 56), None)])
def test_views_without_indices_or_indices_without_views_are_refused(
    conditioner: Conditioner, shape: tuple[int, ...], views: tuple[int, ...] | None
) -> None:
    with pytest.raises(ValueError, match="do not fit the views"):
        conditioner(torch.zeros(shape), views)
