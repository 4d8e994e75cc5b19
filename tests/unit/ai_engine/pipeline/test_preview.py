"""Pictures of finished meshes, drawn with the job or later."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from unit.ai_engine.pipeline.test_pipeline import PlainRun, job, resources

from ai_engine.facts import MeshFormat
from ai_engine.job import Artifact, Job
from ai_engine.pipeline.pipeline import run_job
from ai_engine.pipeline.preview import draw_preview
from ai_engine.stage_result import JobResult
from ai_engine.storage.store import LocalStore

__all__ = ["job"]  # a fixture


def finished(job: Job, folder: Path, file_format: MeshFormat, *, thumbnail: bool) -> JobResult:
    options = replace(job.print_options, height_mm=40.0, thumbnail=thumbnail)
    return run_job(replace(job, format=file_format, print_options=options), resources(folder), PlainRun())


def picture_of(store: LocalStore, artifact: Artifact) -> np.ndarray:
    with Image.open(io.BytesIO(store.path(artifact).read_bytes())) as picture:
        return np.asarray(picture).astype(int)


@pytest.mark.parametrize("file_format", ["stl", "3mf", "glb", "obj", "ply"])
def test_a_picture_drawn_later_is_the_one_drawn_with_the_job(
    file_format: MeshFormat, job: Job, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path)
    before = finished(job, tmp_path, file_format, thumbnail=True)
    later = finished(job, tmp_path, file_format, thumbnail=False)
    assert before.preview is not None
    assert (before.drawable, later.preview) == (None, None)
    assert later.drawable is not None
    expected = picture_of(store, before.preview)

    drawn = draw_preview(job.job_id, later.drawable, store, is_z_up=True)

    difference = np.abs(picture_of(store, drawn) - expected)
    assert difference.max() <= 1
    assert expected.std() > 10
