"""Meshes know whether they are closed, which way they face and how large they are."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from hy3dgen.field.geometry import Box, Frame, Mesh

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


BODIES = {
    "a ball": trimesh.creation.icosphere(subdivisions=3, radius=0.7),
    "a ring": trimesh.creation.torus(major_radius=0.6, minor_radius=0.2),
    "a tube": trimesh.creation.annulus(r_min=0.2, r_max=0.5, height=0.9),
    "a lying capsule": trimesh.creation.capsule(height=1.0, radius=0.2),
    "two boxes": trimesh.util.concatenate(
        [trimesh.creation.box((0.2, 0.3, 0.4)), trimesh.creation.box((1, 2, 3)).apply_translation((5, 0, 0))]
    ),
}
"""Bodies that another program draws and measures."""


@pytest.mark.parametrize("name", BODIES)
def test_bodies_of_another_program_are_measured_as_it_measures_them(name: str) -> None:
    body = BODIES[name]
    mesh = Mesh(body.vertices.astype(np.float32), body.faces.astype(np.int32))
    assert mesh.is_closed == body.is_watertight
    assert mesh.volume == pytest.approx(body.volume, rel=1e-5)
    assert mesh.bounds == pytest.approx(body.bounds, abs=1e-6)


@pytest.mark.parametrize("name", BODIES)
def test_a_body_without_one_of_its_faces_is_open(name: str) -> None:
    body = BODIES[name]
    for lost in (0, len(body.faces) // 2, len(body.faces) - 1):
        faces = np.delete(body.faces, lost, axis=0).astype(np.int32)
        assert not Mesh(body.vertices.astype(np.float32), faces).is_closed


def test_volume_follows_size_and_sign_follows_a_mirror_wherever_the_body_stands() -> None:
    body = BODIES["a ring"]
    vertices, faces = body.vertices.astype(np.float32), body.faces.astype(np.int32)
    volume = Mesh(vertices, faces).volume
    assert Mesh(2 * vertices, faces).volume == pytest.approx(8 * volume, rel=1e-5)
    assert Mesh(vertices + np.float32(3), faces).volume == pytest.approx(volume, rel=1e-4)
    assert Mesh(vertices * np.array([1, -1, 1], np.float32), faces).volume == pytest.approx(-volume, rel=1e-5)


def test_the_order_of_faces_and_vertices_does_not_matter() -> None:
    body, dice = BODIES["a ball"], np.random.default_rng(0)
    order = dice.permutation(len(body.vertices))
    place = np.argsort(order)
    shuffled = Mesh(
        body.vertices[order].astype(np.float32), place[dice.permutation(body.faces)].astype(np.int32)
    )
    assert shuffled.is_closed
    assert shuffled.volume == pytest.approx(body.volume, rel=1e-5)


def test_a_frame_is_a_cube_round_the_origin() -> None:
    assert Frame(half_extent=1.05, iso=0.0).box == Box((-1.05,) * 3, (1.05,) * 3)


@pytest.mark.parametrize("side", [0, 1, 2])
def test_a_box_that_is_flat_or_turned_over_on_one_axis_is_refused(side: int) -> None:
    upper = [1.0, 1.0, 1.0]
    for wrong in (-1.0, -2.0, float("nan")):
        upper[side] = wrong
        with pytest.raises(ValueError, match="a box needs"):
            Box((-1.0, -1.0, -1.0), (upper[0], upper[1], upper[2]))
