"""The second and third training renderer: which way they look, and that what they draw is the shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("numba")

from training.looks import MAX_AZIMUTH_DEG, Buffers, inked, painted, random_axes, random_azimuth_deg, trace
from training.shapes import random_shape
from training.solids import BOX, ELLIPSOID, Primitive, Shape, assemble

SIDE_PX = 96
FRONT = np.eye(3)


def ball() -> Shape:
    return assemble("ball", [Primitive(ELLIPSOID, (1.0, 1.0, 1.0))])


@pytest.mark.parametrize("distance", [0.0, 4.0])
def test_a_sphere_fills_a_disc_and_faces_outwards(distance: float) -> None:
    buffers = trace(ball(), FRONT, distance, SIDE_PX)
    rows, columns = np.nonzero(buffers.covered)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=1)
    assert buffers.covered.sum() == pytest.approx(np.pi / 4 * (np.ptp(rows) + 1) ** 2, rel=0.03)
    middle = SIDE_PX // 2
    assert buffers.normals[middle, middle] == pytest.approx([0, 0, 1], abs=0.05)
    assert buffers.normals[rows.min() + 1, middle, 1] > 0.8
    assert buffers.normals[middle, columns.max() - 1, 0] > 0.8


def test_a_parallel_camera_sees_the_depth_of_a_sphere() -> None:
    buffers = trace(ball(), FRONT, 0.0, SIDE_PX)
    assert buffers.depth[buffers.covered].min() == pytest.approx(-0.9, abs=0.01)


def test_a_camera_on_the_right_sees_the_right_face() -> None:
    yaw = np.radians(60.0)
    axes = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    part = Primitive(BOX, (1.0, 1.0, 0.1))
    assert np.ptp(np.nonzero(trace(assemble("sheet", [part]), axes, 0.0, SIDE_PX).covered)[1]) < 0.7 * SIDE_PX


def test_random_axes_are_a_rotation_that_looks_from_the_front() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        axes = random_axes(rng)
        assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-9)
        assert np.linalg.det(axes) == pytest.approx(1.0)
        assert axes[2, 2] > 0.3
    assert max(abs(random_azimuth_deg(rng)) for _ in range(200)) <= MAX_AZIMUTH_DEG


@pytest.mark.parametrize("draw", [painted, inked])
def test_a_picture_is_opaque_where_the_shape_is(
    draw: Callable[[np.random.Generator, Buffers], NDArray[np.uint8]],
) -> None:
    shape = random_shape(np.random.default_rng(1), "mug")
    for seed in range(10):
        rng = np.random.default_rng(seed)
        buffers = trace(shape, random_axes(rng), 3.0, SIDE_PX)
        alpha = draw(rng, buffers)[..., 3] > 0
        assert alpha[buffers.covered].all()
        # Lines may lie two pixels outside.
        assert alpha.sum() < buffers.covered.sum() * 1.25


def test_ink_leaves_a_steep_plane_unlined() -> None:
    floor = assemble("floor", [Primitive(BOX, (1.0, 0.02, 1.0))])
    pitch = np.radians(8.0)
    c, s = np.cos(pitch), np.sin(pitch)
    buffers = trace(floor, np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]]), 0.0, 256)
    for seed in range(8):
        picture = inked(np.random.default_rng(seed), buffers)
        rgb = picture[picture[..., 3] > 0][:, :3].astype(int).sum(1)
        assert np.unique(rgb, return_counts=True)[1].max() > 0.4 * len(rgb)
