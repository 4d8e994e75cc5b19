from __future__ import annotations

from support.broken_meshes import hollow_ball
from support.solid_shapes import sphere

from ai_engine.printing.prepare import finish
from ai_engine.wishes.print_options import PrintOptions


def test_the_target_is_kept_and_the_surface_stays_closed_and_near() -> None:
    mesh = sphere(40)
    for target in (4000, 1000, 101):
        _, found = finish(mesh, PrintOptions(target_faces=target))
        assert found.num_faces <= target
        assert found.num_faces > 0.9 * target
        assert found.is_watertight
        assert found.simplification_error is not None
        # A facet of a ball with n faces lies about 2.4 / n deep; collapses choose worse at the poles.
        assert found.simplification_error < 40 / target


def test_enough_faces_already_means_none_are_touched() -> None:
    mesh = sphere(8)
    finished, found = finish(mesh, PrintOptions(target_faces=10_000))
    assert finished is mesh
    assert found.simplification_error is None


def test_an_unreachable_target_is_said_and_the_mesh_kept() -> None:
    finished, found = finish(hollow_ball(), PrintOptions(target_faces=4))
    assert found.is_watertight
    assert len(finished.faces) == 3904
    assert "could not be brought to 4 faces" in found.warnings[-1]
