from __future__ import annotations

import numpy as np
import pytest

from ai_engine.errors import JobCancelled
from ai_engine.job import JobOptions
from ai_engine.pipeline.fake_model import RADIUS, FakeModel, rings_for, sphere
from ai_engine.printing.report import report
from ai_engine.stage import Stage

RGBA = np.zeros((8, 8, 4), np.uint8)


def test_the_sphere_is_closed_and_faces_outwards() -> None:
    mesh = sphere(2.0, num_rings=48, num_spokes=96)

    found = report(mesh)
    assert found.is_watertight
    assert found.volume == pytest.approx(4 / 3 * np.pi * 8, rel=0.01)
    assert np.linalg.norm(mesh.vertices, axis=1) == pytest.approx(2.0)


def test_it_tells_its_progress_like_the_shape_model() -> None:
    told: list[tuple[Stage, int, int]] = []

    shape = FakeModel().generate(
        RGBA, JobOptions(seed=0, num_inference_steps=3), lambda *step: told.append(step)
    )

    assert told == [(Stage.DENOISE, done, 3) for done in (1, 2, 3)] + [(Stage.DECODE, 1, 1)]
    assert report(shape.mesh).bbox == pytest.approx((2 * RADIUS,) * 3)


def test_it_stops_where_progress_says_so() -> None:
    def stop(stage: Stage, done: int, total: int) -> None:
        raise JobCancelled

    with pytest.raises(JobCancelled):
        FakeModel().generate(RGBA, JobOptions(seed=0), stop)


@pytest.mark.parametrize("num_faces", [24, 2208, 680_000])
def test_the_sphere_has_about_as_many_faces_as_asked(num_faces: int) -> None:
    shape = FakeModel(num_faces=num_faces).generate(
        RGBA, JobOptions(seed=0, num_inference_steps=1), lambda *_: None
    )

    mesh = shape.mesh
    assert len(mesh.faces) == 4 * rings_for(num_faces) * (rings_for(num_faces) - 1)
    assert len(mesh.faces) == pytest.approx(num_faces, rel=0.01)
