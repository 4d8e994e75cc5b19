from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from support.broken_meshes import cup
from support.solid_shapes import cube, sphere

from ai_engine.errors import NotPrintable
from ai_engine.mesh.holes import fill_holes, rims
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import signed_volumes
from ai_engine.mesh.topology import compact, edge_facts
from ai_engine.printing import prepare as print_ready
from ai_engine.printing.prepare import finish
from ai_engine.wishes.print_options import PrintOptions


def test_a_large_hole_that_is_not_flat_is_left_open_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(print_ready, "repair", lambda mesh: None)  # as where pymeshlab is not installed
    _, found = finish(cup())
    assert not found.is_closed
    assert found.is_manifold
    assert found.warnings[0].startswith("The surface is not closed")
    with pytest.raises(NotPrintable, match="not closed"):
        finish(cup(), PrintOptions(require_printable=True))


def without_faces(mesh: Mesh, is_lost: NDArray[np.bool_]) -> Mesh:
    return compact(mesh.vertices, mesh.faces[~is_lost])


def volume(mesh: Mesh) -> float:
    return float(signed_volumes(mesh.corners()).sum())


@pytest.mark.parametrize("lost", [[3], [3, 40], [3, 4], [7, 100, 200]])
def test_small_holes_are_closed_as_they_were(lost: list[int]) -> None:
    ball = sphere(12)
    holed = without_faces(ball, np.isin(np.arange(len(ball.faces)), lost))
    num_holes = len(rims(holed))

    filled, num_filled = fill_holes(holed)

    assert num_filled == num_holes > 0
    assert edge_facts(filled.faces, len(filled.vertices)).is_solid
    assert len(filled.faces) == len(ball.faces)
    assert volume(filled) == pytest.approx(volume(ball), rel=0.01)


@pytest.mark.parametrize("side", range(6))
def test_a_large_flat_hole_is_closed_on_each_side_of_a_box(side: int) -> None:
    box = cube()
    lost = np.isin(np.arange(12), [2 * side, 2 * side + 1])

    filled, num_filled = fill_holes(without_faces(box, lost))

    assert num_filled == 1
    assert edge_facts(filled.faces, len(filled.vertices)).is_solid
    assert volume(filled) == pytest.approx(8.0)


def open_tray() -> Mesh:
    """An L of area 5 and height 1 without its lid."""
    outline = np.asarray([(0, 0), (3, 0), (3, 1), (1, 1), (1, 3), (0, 3)], np.float32)
    floor, rim = (np.column_stack([outline, np.full(6, height, np.float32)]) for height in (0, 1))
    faces = [(0, after, here) for here, after in pairwise(range(1, 6))]
    for here in range(6):
        after = (here + 1) % 6
        faces += [(here, after, after + 6), (here, after + 6, here + 6)]
    return Mesh(np.concatenate([floor, rim]), np.asarray(faces, np.int32))


def test_a_flat_hole_that_is_no_convex_shape_is_closed_flat() -> None:
    filled, num_filled = fill_holes(open_tray())

    assert num_filled == 1
    assert edge_facts(filled.faces, len(filled.vertices)).is_solid
    assert volume(filled) == pytest.approx(5.0), "the area of the L, not that of its hull"


def test_a_closed_mesh_has_no_rim_and_is_given_back() -> None:
    ball = sphere(8)
    assert rims(ball) == []
    assert fill_holes(ball) == (ball, 0)


def test_a_rim_runs_as_the_missing_faces_would() -> None:
    ball = sphere(8)
    (rim,) = rims(without_faces(ball, np.arange(len(ball.faces)) == 20))
    first, second, third = ball.faces[20].tolist()
    assert rim.tolist() in ([first, second, third], [second, third, first], [third, first, second])
