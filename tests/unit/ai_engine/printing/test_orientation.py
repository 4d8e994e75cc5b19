from __future__ import annotations

import numpy as np
import pytest
from support.solid_shapes import cube, sphere

from ai_engine.printing.orientation import y_up, z_up
from ai_engine.printing.prepare import MIN_BASE_SHARE, finish
from ai_engine.printing.report import report
from ai_engine.wishes.print_options import PrintOptions


def test_turning_upright_keeps_the_handedness_and_can_be_undone() -> None:
    mesh = sphere(8)
    assert report(z_up(mesh)).volume == pytest.approx(report(mesh).volume)
    assert np.array_equal(y_up(z_up(mesh)).vertices, mesh.vertices)


def test_a_flat_base_is_as_large_as_promised_and_the_height_is_still_the_one_asked() -> None:
    finished, found = finish(sphere(48), PrintOptions(height_mm=60, flat_base=True))
    ground_plan = np.pi / 4 * found.bbox[0] * found.bbox[1]
    assert found.is_watertight
    assert found.contact_area >= 0.97 * MIN_BASE_SHARE * ground_plan
    assert finished.vertices[:, 2].max() == pytest.approx(60)
    assert finished.vertices[:, 2].min() == 0


def test_a_flat_base_without_a_height_stays_in_model_units_with_y_up() -> None:
    finished, found = finish(sphere(32), PrintOptions(flat_base=True))
    low = finished.vertices[:, 1].min()
    assert -1 < low < -0.8
    assert np.count_nonzero(finished.vertices[:, 1] == low) > 10
    assert found.units == "model"


def test_what_stands_flat_already_keeps_its_faces() -> None:
    finished, _ = finish(cube(), PrintOptions(flat_base=True, height_mm=20))
    assert len(finished.faces) == 12
