"""The derived table: every code, by what a cell's surface must satisfy. Whole meshes: test_marching_cubes.py."""

from __future__ import annotations

from collections import Counter

import pytest

from hy3dgen.field.marching_cubes_table import (
    CORNERS,
    EDGES,
    FACES,
    NUM_CODES,
    code_table,
    edge_corners,
    face_corners,
    loops_of,
    share_a_face,
    triangles_of,
    triangulations,
)

CODES = range(NUM_CODES)


def test_corners_edges_and_faces_are_those_of_a_cube() -> None:
    assert (len(CORNERS), len(EDGES), len(FACES)) == (8, 12, 6)
    for edge in range(12):
        low, high = (CORNERS[corner] for corner in edge_corners(edge))
        assert sum(a != b for a, b in zip(low, high, strict=True)) == 1
    for face, (axis, side) in enumerate(FACES):
        assert {CORNERS[corner][axis] for corner in face_corners(face)} == {side}


def test_loops_pass_each_crossed_edge_once() -> None:
    for code in CODES:
        crossed = [edge for edge in range(12) if code_table().crossed_edges[code][edge]]
        assert sorted(edge for loop in loops_of(code) for edge in loop) == crossed


def test_an_edge_of_a_triangle_is_inner_and_used_twice_or_on_a_face_and_used_once() -> None:
    for code in CODES:
        edges = Counter(
            frozenset(pair) for a, b, c in triangles_of(code) for pair in ((a, b), (b, c), (c, a))
        )
        assert all(count == (1 if share_a_face(*pair) else 2) for pair, count in edges.items())


def test_the_opposite_code_has_as_many_crossed_edges() -> None:
    table = code_table()
    for code in CODES:
        assert table.crossed_edges[code] == table.crossed_edges[NUM_CODES - 1 - code]
        assert table.mixed_faces[code] == table.mixed_faces[NUM_CODES - 1 - code]


def test_nothing_is_drawn_where_all_corners_agree() -> None:
    assert code_table().triangles[0] == code_table().triangles[NUM_CODES - 1] == ()


@pytest.mark.parametrize(("corners", "ways"), [(3, 1), (4, 2), (5, 5), (6, 14)])
def test_a_loop_has_as_many_triangulations_as_catalan_says(corners: int, ways: int) -> None:
    assert len(list(triangulations(tuple(range(corners))))) == ways
