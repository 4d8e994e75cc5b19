"""A ring's hole has its diameter, a magnet's pocket its depth and its wall."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.solid_shapes import cube, sphere

from ai_engine.additions.attach import PLAY_MM, attach
from ai_engine.additions.solid import num_bodies, solid_of
from ai_engine.errors import AdditionUnfit
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.topology import edge_facts
from ai_engine.wishes.additions import MAGNET_WALL_MM, Attach


def test_a_ring_s_hole_has_its_diameter() -> None:
    solid = solid_of(attach(sphere(48, 15.0), Attach("keyring", 6, 3)).mesh)
    # From the front, through the ring's middle: the section at y = 0 has one hole.
    upright = solid.rotate((-90.0, 0.0, 0.0)).slice(0.0)
    holes = [np.asarray(ring) for ring in upright.to_polygons() if _area(np.asarray(ring)) < 0]
    assert len(holes) == 1
    assert np.ptp(holes[0], axis=0) == pytest.approx([6, 6], abs=0.02)
    assert solid.genus() == 1
    assert num_bodies(solid) == 1


def _area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def test_a_magnet_s_pocket_has_its_diameter_and_depth() -> None:
    found = attach(cube(30.0), Attach("magnet", 10, 3))
    pocket = np.pi / 4 * (10 + PLAY_MM) ** 2 * 3
    solid = solid_of(found.mesh)
    _, _, _, _, back, _ = solid.bounding_box()
    assert 30 * 30 * (15 + back) - solid.volume() == pytest.approx(pocket, rel=0.005)
    assert is_solid(found.mesh)


def test_a_wall_that_would_be_too_thin_is_refused() -> None:
    plate = Mesh((cube(30.0).vertices * np.asarray([1, 0.1, 1])).astype(np.float32), cube(30.0).faces)
    assert attach(plate, Attach("magnet", 10, 3 - MAGNET_WALL_MM - 0.1)).facts.kind == "magnet"
    with pytest.raises(AdditionUnfit, match="wall left"):
        attach(plate, Attach("magnet", 10, 2.5))


def is_solid(mesh: Mesh) -> bool:
    return edge_facts(mesh.faces, len(mesh.vertices)).is_solid


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(*(st.floats(16, 60) for _ in range(3))),
    options=st.builds(
        Attach, st.sampled_from(["keyring", "magnet"]), diameter_mm=st.floats(2, 6), depth_mm=st.floats(1, 3)
    ),
    rings=st.integers(8, 20),
)
def test_any_ellipsoid_with_any_of_them_is_one_closed_body(
    size: tuple[float, float, float], options: Attach, rings: int
) -> None:
    ball = sphere(rings, 0.5)
    mesh = Mesh((ball.vertices * np.asarray(size)).astype(np.float32), ball.faces)
    found = attach(mesh, options)
    solid = solid_of(found.mesh)
    assert is_solid(found.mesh)
    assert num_bodies(solid) == 1
    assert solid.volume() == pytest.approx(
        solid_of(mesh).volume() + found.facts.volume_mm3, rel=1e-3, abs=0.2
    )
