"""Where a hole begins, and what it opens."""

from __future__ import annotations

import manifold3d
import pytest

from ai_engine.additions.drains import Drain, drill_drain, widest_point
from ai_engine.wishes.additions import Hollow


def ball(radius: float, z: float = 0.0) -> manifold3d.Manifold:
    return manifold3d.Manifold.sphere(radius, 64).translate((0.0, 0.0, z))


def test_the_widest_point_of_a_rectangle_is_on_its_middle_line() -> None:
    point = widest_point(manifold3d.CrossSection.square((20, 6), True).translate((5, 2)))
    assert point is not None
    assert point == pytest.approx((5, 2), abs=0.2)


def test_nothing_has_no_widest_point() -> None:
    assert widest_point(manifold3d.CrossSection()) is None


def test_of_two_equal_places_the_one_farther_back_is_taken() -> None:
    both = manifold3d.CrossSection.circle(3, 64) + manifold3d.CrossSection.circle(3, 64).translate((0, 20))
    point = widest_point(both)
    assert point is not None
    assert point[1] == pytest.approx(20, abs=0.1)


def test_a_hole_joins_hollow_and_outside() -> None:
    solid, cavity = ball(20), ball(17)
    found = drill_drain(solid, solid, cavity, Drain(Hollow(drain_diameter_mm=4), None))
    assert found is not None
    assert len(found.decompose()) == 1
    _, _, low, _, _, _ = found.bounding_box()
    assert found.slice(low + 1.5).area() < solid.slice(low + 1.5).area()


def test_a_hole_goes_back_where_the_object_will_stand_in_something() -> None:
    solid, cavity = ball(20), ball(17)
    found = drill_drain(solid, solid, cavity, Drain(Hollow(drain_diameter_mm=4), -12.0))
    assert found is not None
    removed = (solid - cavity) - found
    assert removed.bounding_box()[1] > 0


def test_a_hollow_that_lies_below_the_base_s_top_has_no_place_for_a_hole() -> None:
    solid, cavity = ball(20), ball(4, -10.0)
    assert drill_drain(solid, solid, cavity, Drain(Hollow(), 0.0)) is None
