"""Faults of camera, file and mask: what they leave of the cut-out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("cv2")

from training.wear import worn

SIDE_PX = 112


def disc() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX] - SIDE_PX / 2
    inside = np.hypot(rows, columns) < 40
    return np.where(inside[..., None], np.array([200, 60, 40, 255], np.uint8), np.uint8(0))


def test_the_object_stays_visible_and_nothing_far_from_it_appears() -> None:
    opaque = disc()[..., 3] > 0
    for seed in range(60):
        alpha = worn(np.random.default_rng(seed), disc())[..., 3]
        if (alpha == 255).all():
            continue  # an opaque picture, as a caller without a mask sends it
        assert (alpha[opaque] > 127).mean() > 0.8
        assert not alpha[:8].any()


def test_some_pictures_are_opaque_some_masks_soft_and_some_wrong() -> None:
    alphas = [worn(np.random.default_rng(seed), disc())[..., 3] for seed in range(60)]
    masks = [alpha for alpha in alphas if not (alpha == 255).all()]
    areas = [float((alpha > 127).sum()) / (disc()[..., 3] > 127).sum() for alpha in masks]
    assert 0 < len(alphas) - len(masks) < 20
    assert min(areas) < 0.98
    assert max(areas) > 1.02
    assert sum(((alpha > 10) & (alpha < 245)).any() for alpha in masks) > 10


def test_the_seed_fixes_the_picture() -> None:
    first, again, other = (worn(np.random.default_rng(seed), disc()) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
