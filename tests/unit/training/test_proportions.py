"""Proportions beyond and at the ends of what the families draw."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

pytest.importorskip("numba")

from training.proportions import OUTER_SHARE, Outer, Stretched, outer_shape, wide_shape
from training.shapes import FAMILY_NAMES, grid_points, random_shape, sdf


def test_a_stretched_range_is_wider_about_the_same_middle_and_stays_positive() -> None:
    wide = Stretched(np.random.default_rng(0), 2.0)
    drawn = np.array([wide.uniform(1.0, 2.0) for _ in range(2000)])
    assert drawn.mean() == pytest.approx(1.5, abs=0.05)
    assert drawn.min() < 0.6
    assert drawn.max() > 2.4
    assert min(wide.uniform(0.1, 1.0) for _ in range(500)) >= 0.05
    assert min(wide.uniform(0.0, 1.0) for _ in range(500)) >= 0.0


def test_outer_draws_lie_at_both_ends_of_the_range() -> None:
    drawn = Outer(np.random.default_rng(0)).uniform(2.0, 3.0, 1000)
    assert np.minimum(drawn - 2.0, 3.0 - drawn).max() <= OUTER_SHARE + 1e-9
    assert 0.4 < (drawn > 2.5).mean() < 0.6


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_family_stays_a_solid_within_the_cube(family: str) -> None:
    points = grid_points(48, 1.0)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        stretched = random_shape(cast(np.random.Generator, Stretched(rng, 1.9)), family)
        for shape in (stretched, wide_shape(rng, family), outer_shape(rng, family)):
            inside = points[sdf(shape, points) < 0]
            assert len(inside) > 60
            assert np.abs(inside).max() < 0.96
