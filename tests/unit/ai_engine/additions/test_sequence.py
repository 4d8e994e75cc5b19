"""The order of all additions: one closed body, and volumes that add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_prints import random_options, random_shape
from support.solid_shapes import cube, sphere

from ai_engine.additions.sequence import add_all
from ai_engine.additions.solid import num_bodies, solid_of
from ai_engine.errors import AdditionUnfit
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.topology import edge_facts
from ai_engine.printing.orientation import stand
from ai_engine.wishes.additions import Attach, Base, Hollow
from ai_engine.wishes.print_options import PrintOptions


def standing(mesh: Mesh) -> Mesh:
    points = mesh.vertices.copy()
    points[:, 2] -= points[:, 2].min()
    return Mesh(points, mesh.faces)


def test_nothing_asked_is_the_mesh_itself() -> None:
    mesh = cube(20.0)
    found = add_all(mesh, PrintOptions(height_mm=20))
    assert (found.mesh is mesh, found.facts, found.remarks) == (True, (), ())


def test_the_order_is_hollow_base_attach_whatever_is_asked() -> None:
    wishes = PrintOptions(
        height_mm=40, hollow=Hollow(2.0), base=Base("hex", text="Ada", height_mm=8), attach=Attach("keyring")
    )
    found = add_all(standing(sphere(32, 20.0)), wishes)
    solid = solid_of(found.mesh)
    assert [one.kind for one in found.facts] == ["hollow", "base", "keyring"]
    assert num_bodies(solid) == 1
    ball = solid_of(sphere(32, 20.0)).volume()
    assert solid.volume() == pytest.approx(ball + sum(one.volume_mm3 for one in found.facts), abs=0.5)


def test_a_hollow_that_will_stand_in_a_base_is_drained_above_it() -> None:
    wishes = PrintOptions(height_mm=40, hollow=Hollow(2.0), base=Base(height_mm=8))
    found = add_all(standing(sphere(32, 20.0)), wishes)
    # Drilled beneath, the base would have closed the hole, and the hollow would be a shell of its own.
    assert len(solid_of(found.mesh).decompose()) == 1


def test_a_wish_that_does_not_fit_names_its_reason() -> None:
    with pytest.raises(AdditionUnfit, match="nowhere thick enough") as caught:
        add_all(standing(cube(3.0)), PrintOptions(height_mm=3, hollow=Hollow(1.4)))
    assert (caught.value.code, caught.value.stage, caught.value.retryable) == (
        "addition_unfit",
        "finish",
        False,
    )


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_wishes_together_leave_one_closed_body_of_the_parts_volume(seed: int) -> None:
    random = np.random.default_rng(seed)
    mesh, wishes = random_shape(random), random_options(random)
    upright = stand(mesh, wishes.height_mm or 1.0)
    try:
        found = add_all(upright, wishes)
    except AdditionUnfit:
        return
    solid = solid_of(found.mesh)
    assert edge_facts(found.mesh.faces, len(found.mesh.vertices)).is_solid
    assert num_bodies(solid) == 1 or any("does not reach" in remark for remark in found.remarks)
    parts = solid_of(upright).volume() + sum(one.volume_mm3 for one in found.facts)
    assert solid.volume() == pytest.approx(parts, rel=1e-3, abs=0.5)


def test_a_pedestal_that_is_named_and_not_there_is_refused() -> None:
    with pytest.raises(AdditionUnfit, match="not there"):
        add_all(cube(20.0), PrintOptions(height_mm=20, base=Base(mesh_url="https://example.com/a.stl")))
