from __future__ import annotations

import numpy as np
import pytest
from solid_shapes import cube, joined, sphere

from ai_engine.mesh import Mesh
from ai_engine.print_ready import finish, report


def faces_changed(mesh: Mesh, faces: np.ndarray) -> Mesh:
    return Mesh(mesh.vertices, faces.astype(np.int32))


def test_a_cube_is_closed_with_its_true_volume_and_size() -> None:
    found = report(cube(side=2.0, centre=(5, 6, 7)))
    assert found.is_watertight
    assert found.is_winding_consistent
    assert found.volume == pytest.approx(8.0)
    assert found.bbox == pytest.approx((2.0, 2.0, 2.0))
    assert (found.num_bodies, found.num_faces, found.num_vertices) == (1, 12, 8)
    assert found.warnings == ()


def test_a_mesh_in_good_order_passes_unchanged() -> None:
    mesh = sphere()
    finished, found = finish(mesh)
    assert finished is mesh
    assert found.is_watertight


def test_a_missing_face_is_an_open_surface() -> None:
    found = report(faces_changed(cube(), cube().faces[1:]))
    assert not found.is_watertight
    assert found.is_winding_consistent
    assert "not closed" in found.warnings[0]


def test_one_flipped_face_breaks_the_winding_and_leaves_it_closed() -> None:
    faces = cube().faces.copy()
    faces[4] = faces[4, ::-1]
    found = report(faces_changed(cube(), faces))
    assert not found.is_watertight
    assert not found.is_winding_consistent
    assert found.warnings == ("Some faces look the wrong way.",)


def test_a_mesh_inside_out_is_said_to_be() -> None:
    found = report(faces_changed(cube(), cube().faces[:, ::-1]))
    assert found.is_watertight
    assert found.volume == pytest.approx(-8.0)
    assert found.warnings == ("The faces look inwards.",)


def test_a_doubled_face_is_not_watertight() -> None:
    assert not report(faces_changed(cube(), np.concatenate([cube().faces, cube().faces[:1]]))).is_watertight


def test_an_edge_with_four_faces_is_not_watertight() -> None:
    first, second = cube(), cube(centre=(2, 2, 0))
    upright_edge = {0: 2, 4: 6}  # the second cube's corners that are the first one's
    faces = np.vectorize(lambda number: upright_edge.get(number, number + 8))(second.faces)
    both = Mesh(
        np.concatenate([first.vertices, second.vertices]),
        np.concatenate([first.faces, faces]).astype(np.int32),
    )
    assert not report(both).is_watertight


def test_separate_parts_are_counted_and_loose_vertices_are_not() -> None:
    found = report(joined(cube(), cube(centre=(9, 0, 0)), sphere(4)))
    assert found.num_bodies == 3
    assert found.is_watertight
    loose = Mesh(np.concatenate([cube().vertices, [[50, 50, 50]]]).astype(np.float32), cube().faces)
    assert report(loose).num_bodies == 1
    assert report(loose).bbox == pytest.approx((2.0, 2.0, 2.0))


def test_no_face_is_nothing_to_print() -> None:
    found = report(Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)))
    assert not found.is_watertight
    assert (found.num_bodies, found.volume) == (0, 0.0)
