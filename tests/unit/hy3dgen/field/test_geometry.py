"""Meshes know whether they are closed, which way they face and how large they are."""

from __future__ import annotations

import numpy as np
import pytest

from hy3dgen.field.geometry import Box, Mesh

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32)


def test_a_tetrahedron_is_closed_and_encloses_a_sixth() -> None:
    mesh = Mesh(VERTICES, FACES)
    assert mesh.is_closed
    assert mesh.volume == pytest.approx(1 / 6)
    assert mesh.bounds.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_hole_a_flipped_face_and_a_doubled_face_are_not_closed() -> None:
    flipped = FACES.copy()
    flipped[0] = flipped[0, ::-1]
    for faces in (FACES[:3], flipped, np.concatenate([FACES, FACES])):
        assert not Mesh(VERTICES, faces).is_closed


def test_an_inside_out_mesh_has_negative_volume() -> None:
    assert Mesh(VERTICES, FACES[:, ::-1]).volume == pytest.approx(-1 / 6)


def test_an_empty_mesh_is_not_closed_and_has_no_bounds() -> None:
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    assert empty.is_empty
    assert not empty.is_closed
    with pytest.raises(ValueError, match="no bounds"):
        _ = empty.bounds


def test_arrays_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="faces"):
        Mesh(VERTICES, FACES[:, :2])


@pytest.mark.parametrize("bounds", [1.01, 1])
def test_one_number_is_a_half_extent(bounds: float) -> None:
    assert Box.from_bounds(bounds).upper == (bounds, bounds, bounds)


def test_six_numbers_are_two_corners() -> None:
    box = Box.from_bounds([-1, -2, -3, 1, 2, 3])
    assert box.lower == (-1, -2, -3)
    assert box.extent == (2, 4, 6)
    with pytest.raises(ValueError, match="one number or six, got 3"):
        Box.from_bounds([1, 2, 3])
    with pytest.raises(ValueError, match="lower < upper"):
        Box.from_bounds(-1.0)
    with pytest.raises(ValueError, match="finite"):
        Box.from_bounds(float("inf"))
