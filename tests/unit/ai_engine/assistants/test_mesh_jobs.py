from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_engine.assistants.mesh_jobs import MeshJob, Step, write_files
from ai_engine.job import JobStatus


@pytest.mark.parametrize("status", JobStatus)
def test_a_job_is_over_when_nothing_of_it_will_change(status: JobStatus) -> None:
    job = MeshJob("0" * 32, "vase", status, (Step("queue", 0.0),))
    assert job.is_over == (status not in (JobStatus.QUEUED, JobStatus.RUNNING))


def test_an_answer_has_the_latest_step_and_what_is_known_of_the_mesh() -> None:
    steps = (Step("queue", 0.0), Step("denoise", 0.25))
    job = MeshJob("0" * 32, "vase", JobStatus.RUNNING, steps, facts={"seed": 3})

    assert json.loads(json.dumps(job.as_dict())) == {
        "job_id": "0" * 32,
        "name": "vase",
        "status": "running",
        "stage": "denoise",
        "progress": 0.25,
        "file": None,
        "error": None,
        "seed": 3,
    }


def test_gcode_lies_beside_its_mesh_where_there_is_any(tmp_path: Path) -> None:
    write_files(tmp_path / "a.stl", b"mesh", None)
    write_files(tmp_path / "b.stl", b"mesh", b"G28")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.stl", "b.gcode", "b.stl"]
