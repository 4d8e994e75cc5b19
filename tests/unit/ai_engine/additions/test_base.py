"""Bases: one closed body, volumes that the parts say, and a text that can be read back from a picture of its side."""

from __future__ import annotations

from typing import Literal, get_args

import manifold3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.solid_shapes import cube, joined, sphere

from ai_engine.additions.base import CONTACT_SHARE, add_base, add_pedestal, contact_depth
from ai_engine.additions.lettering import fit_text
from ai_engine.additions.solid import num_bodies, solid_of
from ai_engine.errors import AdditionUnfit
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.topology import edge_facts
from ai_engine.wishes.additions import Base

Shape = Literal["round", "square", "rounded", "hex", "oval"]
Style = Literal["engraved", "embossed"]
SHAPES: tuple[Shape, ...] = get_args(Shape)


def is_solid(mesh: Mesh) -> bool:
    return edge_facts(mesh.faces, len(mesh.vertices)).is_solid


def test_a_cube_on_a_square_base_has_the_volume_that_a_pencil_says() -> None:
    found = add_base(cube(20.0), Base("square", height_mm=5, margin_mm=2))
    solid = solid_of(found.mesh)
    sunk = contact_depth(cube(20.0))
    assert solid.volume() == pytest.approx(24 * 24 * 5 + 20 * 20 * (20 - sunk), rel=1e-4)
    assert np.ptp(found.mesh.vertices, axis=0) == pytest.approx([24, 24, 25 - sunk], abs=1e-3)


def test_a_ball_is_sunk_until_its_share_of_the_footprint_touches() -> None:
    ball = sphere(64, 20.0)
    solid = solid_of(ball)
    section = solid.slice(-20 + contact_depth(ball)).area()
    assert CONTACT_SHARE <= section / solid.project().area() < 2 * CONTACT_SHARE


@pytest.mark.parametrize("shape", SHAPES)
def test_the_base_holds_the_whole_footprint(shape: Shape) -> None:
    found = solid_of(add_base(sphere(24, 15.0), Base(shape, margin_mm=1)).mesh)
    assert (found.project() - found.slice(0.5)).area() < 1e-3 * found.project().area()


@pytest.mark.parametrize("style", get_args(Style))
@pytest.mark.parametrize("shape", SHAPES)
def test_the_text_changes_the_volume_by_its_area_times_its_depth(shape: Shape, style: Style) -> None:
    plain = add_base(cube(40.0), Base(shape, height_mm=10))
    found = add_base(cube(40.0), Base(shape, height_mm=10, text="Müller 7", text_style=style))
    change = (found.facts.volume_mm3 - plain.facts.volume_mm3) * (1 if style == "embossed" else -1)
    assert num_bodies(solid_of(found.mesh)) == 1
    assert is_solid(found.mesh)
    assert 0.6 * 20 < change < 0.6 * 40 * 10


@pytest.mark.parametrize("style", get_args(Style))
def test_the_text_is_read_back_from_a_picture_of_its_side(style: Style) -> None:
    """Rays from the front: those that meet the side displaced by the depth show the letters of the font."""
    options = Base("square", height_mm=10, margin_mm=2, text="Ada 42", text_style=style)
    solid = solid_of(add_base(cube(40.0), options).mesh)
    side = -22.0
    xs, zs = np.arange(-21, 21, 0.2) + 0.013, np.arange(0.5, 9.5, 0.2) + 0.017
    seen = np.asarray([[solid.ray_cast((x, -60, z), (x, 60, z))[0].position[1] for x in xs] for z in zs])
    is_letter = np.abs(seen - side) > options.text_depth_mm / 2
    text = fit_text("Ada 42", width_mm=44 * 0.85, height_mm=10 * 0.62)
    thick = text.extrude(2).translate((0, 0, -1))
    expected = np.asarray([[len(thick.ray_cast((x, z - 5, -9), (x, z - 5, 9))) > 0 for x in xs] for z in zs])
    assert (is_letter & expected).sum() / (is_letter | expected).sum() > 0.97


def test_a_character_that_the_font_lacks_is_named() -> None:
    with pytest.raises(AdditionUnfit, match=r"'Ж' \(U\+0416\)"):
        add_base(cube(40.0), Base(text="Жar"))


def test_text_that_would_be_thinner_than_a_line_is_refused() -> None:
    with pytest.raises(AdditionUnfit, match="thinner than a printer's line"):
        add_base(cube(20.0), Base(text="a very long name for a very small base, and more"))


def test_a_part_that_does_not_reach_the_base_is_reported() -> None:
    two = joined(cube(20.0), cube(4.0, (0.0, 0.0, 30.0)))
    assert "does not reach" in add_base(two, Base()).remarks[0]


def test_the_shop_s_pedestal_holds_it_at_the_middle_of_its_top() -> None:
    pedestal = cube(30.0, (100.0, 7.0, -3.0))
    found = add_pedestal(cube(20.0), pedestal)
    solid = solid_of(found.mesh)
    lower, upper = np.reshape(solid.bounding_box(), (2, 3))
    assert lower == pytest.approx([-15, -15, 0], abs=1e-3)
    assert upper[2] == pytest.approx(50 - contact_depth(cube(20.0)), abs=1e-3)
    assert solid.slice(40).bounds() == pytest.approx((-10, -10, 10, 10), abs=1e-3)
    assert num_bodies(solid) == 1


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(*(st.floats(10, 60) for _ in range(3))),
    shape=st.sampled_from(SHAPES),
    height=st.floats(1, 20),
    margin=st.floats(0, 10),
    rings=st.integers(6, 20),
)
def test_any_ellipsoid_on_any_base_is_one_closed_body(
    size: tuple[float, float, float], shape: Shape, height: float, margin: float, rings: int
) -> None:
    ball = sphere(rings, 0.5)
    mesh = Mesh((ball.vertices * np.asarray(size)).astype(np.float32), ball.faces)
    found = add_base(mesh, Base(shape, height, margin))
    solid = solid_of(found.mesh)
    assert is_solid(found.mesh)
    assert solid.status() == manifold3d.Error.NoError
    assert num_bodies(solid) == 1
    assert found.mesh.vertices[:, 2].min() == pytest.approx(0, abs=1e-4)
    assert solid.volume() == pytest.approx(
        solid_of(mesh).volume() + found.facts.volume_mm3, rel=1e-3, abs=0.2
    )
