from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from support.solid_shapes import cube, joined, sphere

from ai_engine.errors import AdditionUnfit, NotPrintable
from ai_engine.facts import PrintFacts
from ai_engine.mesh.mesh import Mesh
from ai_engine.printing.prepare import finish
from ai_engine.printing.report import report
from ai_engine.wishes.additions import Attach, Base, Hollow
from ai_engine.wishes.print_options import PrintOptions


def box(x: float, y: float, z: float) -> Mesh:
    return Mesh(cube(1).vertices * np.asarray([x, y, z], np.float32), cube().faces)


def test_with_nothing_asked_a_mesh_in_good_order_passes_untouched() -> None:
    mesh = sphere()
    finished, found = finish(mesh)
    assert finished is mesh
    assert found.is_watertight
    assert found.units == "model"
    assert found.repairs == {}


def test_a_height_makes_millimetres_with_z_up_standing_on_the_plate() -> None:
    finished, found = finish(box(1, 2, 0.5), PrintOptions(height_mm=80))
    lower, upper = finished.vertices.min(axis=0), finished.vertices.max(axis=0)
    assert lower[2] == 0
    assert upper[2] == 80
    assert np.allclose(lower[:2] + upper[:2], 0, atol=1e-5)
    assert found.bbox == pytest.approx((40, 20, 80))
    assert found.units == "mm"


def test_parts_that_cut_through_each_other_become_one_before_printing() -> None:
    overlapping = joined(cube(), cube(centre=(0.5, 0.5, 0.5)))
    assert report(overlapping).crossing_share == pytest.approx(0.25)
    _, found = finish(overlapping, PrintOptions(require_printable=True))
    assert found.crossing_share == 0
    assert found.repairs == {"bodies_joined": 1}
    assert found.volume == pytest.approx(16 - 1.5**3)


def test_a_body_that_cuts_through_itself_is_not_printable() -> None:
    ball = sphere(16)
    pushed = ball.vertices.copy()
    pushed[pushed[:, 1] > 0.8, 1] -= 2.2  # the upper pole sticks out below
    with pytest.raises(NotPrintable, match="cut through others"):
        finish(Mesh(pushed, ball.faces), PrintOptions(require_printable=True))


def test_a_ghost_floor_is_reported_and_refused_where_the_print_must_work() -> None:
    stood_on = joined(
        sphere(24, 0.6),
        Mesh(
            cube(1).vertices * np.asarray([2, 0.05, 2], np.float32) - np.asarray([0, 0.62, 0], np.float32),
            cube().faces,
        ),
    )
    _, found = finish(stood_on, half_extent=1.01)
    assert found.ghost_plane == "floor"
    assert found.warnings[0].startswith("The object stands on a flat floor")
    assert not found.facts().printable
    with pytest.raises(NotPrintable, match="flat floor"):
        finish(stood_on, PrintOptions(require_printable=True), half_extent=1.01)


def test_facts_of_a_report_without_a_ghost_plane_are_read_as_none() -> None:
    facts = asdict(report(cube()).facts())
    del facts["ghost_plane"]
    assert PrintFacts.from_dict(json.loads(json.dumps(facts))).ghost_plane is None


def test_a_base_and_a_ring_are_added_to_the_posed_mesh_and_reported() -> None:
    wishes = PrintOptions(height_mm=40, base=Base(height_mm=8, text="Ada"), attach=Attach("keyring"))
    finished, found = finish(sphere(24), wishes)
    plain = finish(sphere(24), PrintOptions(height_mm=40))[1]
    added = sum(one.volume_mm3 for one in found.facts().additions)
    assert [one.kind for one in found.additions] == ["base", "keyring"]
    assert found.is_watertight
    assert found.num_bodies == 1
    assert found.volume == pytest.approx(plain.volume + added, rel=1e-3)
    assert finished.vertices[:, 2].min() == 0
    assert found.bbox[2] > 40 + 8


def test_a_limit_to_faces_holds_for_what_was_added_too() -> None:
    wishes = PrintOptions(
        height_mm=40, target_faces=3000, hollow=Hollow(), base=Base(text="Ada", height_mm=9)
    )
    finished, found = finish(sphere(48), wishes)
    assert len(finished.faces) <= 3000
    assert found.is_watertight
    assert found.simplification_error is not None
    assert found.simplification_error < 1


def test_what_has_millimetres_is_not_added_to_model_units() -> None:
    with pytest.raises(AdditionUnfit, match="give height_mm"):
        finish(sphere(), PrintOptions(base=Base()))
