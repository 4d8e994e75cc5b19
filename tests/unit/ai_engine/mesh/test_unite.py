from __future__ import annotations

from itertools import product

import manifold3d
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.solid_shapes import cube, joined, sphere

from ai_engine.mesh.clean import clean
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import signed_volumes
from ai_engine.mesh.topology import edge_facts, face_bodies, weld


def box(x: float, y: float, z: float, centre: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    return Mesh(
        cube(1).vertices * np.asarray([x, y, z], np.float32) + np.asarray(centre, np.float32), cube().faces
    )


def volume(mesh: Mesh) -> float:
    return float(signed_volumes(mesh.corners()).sum())


def num_bodies(mesh: Mesh) -> int:
    return int(face_bodies(mesh.faces, len(mesh.vertices)).max()) + 1


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        ((cube(2), box(1, 1, 1, (0, 1.5, 0))), 9.0),  # a small cube on a large one, no vertex shared
        ((cube(2), box(2, 2, 2, (2, 0, 0))), 16.0),  # a whole wall shared
        ((cube(2), cube(2, (0.5, 0.5, 0.5))), 16 - 1.5**3),
        ((cube(2), cube(1)), 8.0),  # one within the other
    ],
)
def test_bodies_that_share_a_wall_or_space_become_one(bodies: tuple[Mesh, ...], expected: float) -> None:
    whole, _ = clean(joined(*bodies))
    assert num_bodies(whole) == 1
    assert edge_facts(whole.faces, len(whole.vertices)).is_solid
    assert volume(whole) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gap", [-1e-4, -1e-6, 1e-6, 1e-4])
def test_bodies_with_a_hair_between_their_walls_become_one(gap: float) -> None:
    whole, repairs = clean(joined(cube(2), cube(2, (2 + gap, 0, 0)), cube(2, (0, 2 + gap, 0))))
    assert num_bodies(whole) == repairs.bodies_joined - 1 == 1
    assert edge_facts(whole.faces, len(whole.vertices)).is_solid
    assert volume(whole) == pytest.approx(24.0, rel=2e-4)


@pytest.mark.parametrize(
    "apart",
    [
        cube(2, (2.01, 0, 0)),
        cube(2, (2 + 1e-5, 2 + 1e-5, 0)),
        cube(2, (2.5, 0, 0)),
        cube(2, (2, 2, 0)),
        cube(2, (2, 2, 2)),
    ],
)
def test_bodies_apart_or_touching_in_a_line_or_a_point_stay_two(apart: Mesh) -> None:
    whole, repairs = clean(joined(cube(2), apart))
    assert repairs.bodies_joined == 0
    assert volume(whole) == pytest.approx(16, rel=0.05)


def test_links_of_a_chain_whose_boxes_meet_stay_as_they_are() -> None:
    ball = sphere(24, 1.0)
    near = Mesh(ball.vertices + np.asarray([1.5, 1.5, 0], np.float32), ball.faces)
    both = joined(ball, near)
    assert clean(both)[0] is both


def test_a_hollow_stays_a_hollow_when_its_solid_is_joined() -> None:
    hollow = joined(cube(4), Mesh(cube(2).vertices, cube(2).faces[:, ::-1]))
    whole, repairs = clean(joined(hollow, cube(2, (2.5, 0, 0))))
    assert repairs.bodies_joined == 1
    assert volume(whole) == pytest.approx(64 - 8 + 6)


def test_a_ball_in_a_hollow_stays_in_it() -> None:
    hollow = joined(cube(4), Mesh(cube(2).vertices, cube(2).faces[:, ::-1]))
    whole, repairs = clean(joined(hollow, cube(1)))
    assert repairs.bodies_joined == 0
    assert volume(whole) == pytest.approx(64 - 8 + 1)


def needle(length: float, centre: tuple[float, float, float]) -> Mesh:
    return box(0.01, length, 0.01, centre)


@pytest.mark.parametrize(
    ("small", "added"),
    [
        ((box(0.1, 0.1, 0.1, (0, -1.04, 0)),), 0.1 * 0.1 * 0.09),  # sunk in a little, no vertex shared
        ((box(0.1, 0.1, 0.1, (0.3, -1.05, 0.2)),), 0.1**3),  # a whole wall shared
        ((box(0.1, 0.1, 0.1, (1.05, 1.0, 0)),), 0.1**3),  # half of a wall shared
        (
            (box(0.1, 0.1, 0.1, (0, -1.04, 0)), box(0.1, 0.1, 0.1, (0, -1.12, 0))),
            0.1 * 0.1 * 0.17,  # one on the other, only the first at the body
        ),
        ((needle(2.4, (0.5, 0, 0.3)),), 0.01 * 0.01 * 0.4),  # through it, no corner inside
        ((box(0.1, 0.1, 0.1, (0, -1.04, 0)), box(0.1, 0.1, 0.1, (0, -1.6, 0))), 0.1 * 0.1 * 0.09),
    ],
)
def test_a_small_body_that_meets_a_larger_one_is_joined_before_floaters_are_dropped(
    small: tuple[Mesh, ...], added: float
) -> None:
    whole, repairs = clean(joined(cube(2), *small))
    assert num_bodies(whole) == 1
    assert edge_facts(whole.faces, len(whole.vertices)).is_solid
    assert volume(whole) == pytest.approx(8 + added, abs=1e-5)
    assert repairs.bodies_joined + repairs.parts_dropped == len(small)
    assert clean(whole)[0] is whole


@pytest.mark.parametrize(
    "small",
    [
        box(0.1, 0.1, 0.1, (0, -1.06, 0)),  # a hair below it
        box(0.1, 0.1, 0.1),  # inside
        Mesh(cube(0.1).vertices, cube(0.1).faces[:, ::-1]),  # a bubble inside
    ],
)
def test_a_small_body_that_is_joined_to_none_is_a_floater(small: Mesh) -> None:
    whole, repairs = clean(joined(cube(2), small))
    assert (len(whole.faces), repairs.counts()) == (12, {"parts_dropped": 1})


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_small_bodies_round_a_ball_are_joined_where_an_exact_union_ties_them_to_it(seed: int) -> None:
    random = np.random.default_rng(seed)
    ball, places = sphere(20), random.normal(size=(12, 3))
    places *= random.uniform(0.85, 1.15, (12, 1)) / np.linalg.norm(places, axis=1, keepdims=True)
    small = [cube(0.09, tuple(place)) for place in places.tolist()]
    solids = [
        manifold3d.Manifold(manifold3d.Mesh(m.vertices, m.faces.astype(np.uint32))) for m in (ball, *small)
    ]
    parts = manifold3d.Manifold.batch_boolean(solids, manifold3d.OpType.Add).decompose()
    whole, _ = clean(joined(ball, *small))
    assert volume(whole) == pytest.approx(max(part.volume() for part in parts), rel=1e-5)


sides = st.tuples(*[st.integers(1, 6)] * 3)
places = st.tuples(*[st.integers(0, 8)] * 3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(places, sides), min_size=1, max_size=4))
def test_the_union_of_boxes_has_the_volume_that_counting_their_cells_gives(
    boxes: list[tuple[tuple[int, int, int], tuple[int, int, int]]],
) -> None:
    corners = [set(product(*zip(place, np.add(place, side), strict=True))) for place, side in boxes]
    assume(len(set.union(*corners)) == 8 * len(boxes))
    cells = np.zeros((14, 14, 14), np.bool_)
    for (x, y, z), (a, b, c) in boxes:
        cells[x : x + a, y : y + b, z : z + c] = True
    centres = [tuple(p + s / 2 for p, s in zip(place, side, strict=True)) for place, side in boxes]
    meshes = [box(*side, centre) for (_, side), centre in zip(boxes, centres, strict=True)]  # type: ignore[arg-type]
    whole, repairs = clean(joined(*meshes), min_part_share=0.0)
    as_read = weld(whole)
    assert edge_facts(as_read.faces, len(as_read.vertices)).is_solid
    # A seam where two solids touch is drawn in by 2 % of the way to its neighbours.
    slack = 0.1 if repairs.seams_parted else 1e-4
    assert volume(whole) == pytest.approx(np.count_nonzero(cells), rel=slack)
