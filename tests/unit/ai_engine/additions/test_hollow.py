"""Hollowing against what a pencil says: walls, volumes, holes that open."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.solid_shapes import cube, joined, sphere

from ai_engine.additions.hollow import hollow
from ai_engine.additions.solid import num_bodies, solid_of
from ai_engine.errors import AdditionUnfit
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.proximity import distances
from ai_engine.mesh.topology import edge_facts, face_bodies
from ai_engine.wishes.additions import Hollow

SHARE = 0.005
"""Of the hollow's volume: edges of the inner surface are rounded by a cell, here a fifth of the wall."""


def is_solid(mesh: Mesh) -> bool:
    return edge_facts(mesh.faces, len(mesh.vertices)).is_solid


def test_a_cube_of_40_mm_with_walls_of_2_has_the_volume_that_a_pencil_says() -> None:
    found = hollow(cube(40.0), Hollow(wall_mm=2, drain="none"))
    assert solid_of(found.mesh).volume() == pytest.approx(40**3 - 36**3, abs=SHARE * 36**3)
    assert found.facts.volume_mm3 == pytest.approx(-(36**3), rel=SHARE)
    assert (found.facts.count, found.facts.drains) == (1, 0)
    assert "trapped" in found.remarks[0]


def test_the_wall_has_its_thickness_everywhere() -> None:
    ball = sphere(48, 15.0)
    found = hollow(ball, Hollow(wall_mm=1.5, drain="none")).mesh
    inner = found.vertices[np.linalg.norm(found.vertices, axis=1) < 14.5].astype(np.float64)
    walls = distances(inner, ball)
    assert len(inner) > 1000
    assert abs(walls - 1.5).max() < 0.05 * 1.5


@pytest.mark.parametrize("floor_z", [None, -12.0])
def test_a_drain_opens_the_hollow(floor_z: float | None) -> None:
    found = hollow(sphere(32, 15.0), Hollow(wall_mm=2, drain_diameter_mm=3), floor_z=floor_z)
    assert found.facts.drains == 1
    assert face_bodies(found.mesh.faces, len(found.mesh.vertices)).max() == 0
    # Hole and hollow make a ball of a surface with one handle less than none: still a ball.
    assert solid_of(found.mesh).genus() == 0


def test_holes_go_back_above_what_it_stands_in() -> None:
    ball = sphere(32, 15.0)
    opened = solid_of(hollow(ball, Hollow(wall_mm=2), floor_z=-10.0).mesh)
    wall = solid_of(ball) - solid_of(sphere(32, 14.0))
    hole = max((wall - opened).decompose(), key=lambda part: part.volume())
    assert hole.bounding_box()[1] > 0
    # Below it are but slivers, where facets of the ball were divided anew.
    assert hole.trim_by_plane((0.0, 0.0, -1.0), 10.0).volume() < 1e-3 * hole.volume()


def test_two_bodies_of_a_solid_are_drained_each() -> None:
    pair = joined(sphere(24, 12.0), sphere(24, 12.0))
    points = pair.vertices.copy()
    points[len(points) // 2 :, 0] += 30
    found = hollow(Mesh(points, pair.faces), Hollow(wall_mm=2))
    assert (found.facts.count, found.facts.drains) == (2, 2)


def test_a_hollow_that_is_there_already_stays_empty() -> None:
    inner = cube(20.0)
    shell = joined(cube(60.0), Mesh(inner.vertices, inner.faces[:, ::-1].copy()))
    found = hollow(shell, Hollow(wall_mm=2, drain="none"))
    # 60³ − 56³ of outer wall, and 24³ − 20³ round the old hollow.
    assert solid_of(found.mesh).volume() == pytest.approx(60**3 - 56**3 + 24**3 - 20**3, rel=0.02)


def test_what_is_too_thin_is_refused() -> None:
    with pytest.raises(AdditionUnfit, match="nowhere thick enough"):
        hollow(cube(3.0), Hollow(wall_mm=2))


@settings(max_examples=8, deadline=None)
@given(
    size=st.tuples(*(st.floats(14, 40) for _ in range(3))),
    wall=st.floats(1, 4),
    drain=st.sampled_from(["auto", "none"]),
    rings=st.integers(8, 24),
)
def test_any_ellipsoid_stays_one_closed_body(
    size: tuple[float, float, float], wall: float, drain: Literal["auto", "none"], rings: int
) -> None:
    ball = sphere(rings, 0.5)
    mesh = Mesh((ball.vertices * np.asarray(size)).astype(np.float32), ball.faces)
    found = hollow(mesh, Hollow(wall, drain, 2.0))
    solid = solid_of(found.mesh)
    assert is_solid(found.mesh)
    assert num_bodies(solid) == 1
    assert solid.volume() == pytest.approx(solid_of(mesh).volume() + found.facts.volume_mm3, abs=0.2)
    if drain == "auto":
        assert len(solid.decompose()) == 1
