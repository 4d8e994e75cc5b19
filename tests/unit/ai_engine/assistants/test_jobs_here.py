"""Jobs one after the other, with a model that takes as long as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
import trimesh
from service.house import wait_for

from ai_engine.api.request_schema import JobRequest
from ai_engine.assistants.jobs_here import JobsHere
from ai_engine.assistants.mesh_jobs import MeshJob, UnknownJob
from ai_engine.engine.finishing import check_file
from ai_engine.engine.generated import Generated, GenerationFailed, Pictures, StageProgress
from ai_engine.errors import NoForeground
from ai_engine.facts import MeshFacts, PrintFacts
from ai_engine.job import JobStatus
from ai_engine.stage_result import JobFailure

NOTHING = Pictures(b"a picture")


@cache
def report() -> PrintFacts:
    box: bytes = trimesh.creation.box((20, 20, 20)).export(file_type="stl")
    return check_file(box).facts()


def request(name: str) -> JobRequest:
    return JobRequest(session_id="s", asset_id=name)


@dataclass
class HeldModel:
    """Makes a mesh in two steps; the second waits until it may."""

    may_end: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def generate(self, request: JobRequest, pictures: Pictures, progress: StageProgress) -> Generated:
        progress("denoise", 1, 2)
        self.may_end.wait(60)
        progress("denoise", 2, 2)
        if self.error is not None:
            raise self.error
        facts = MeshFacts("stl", 12, "mm", (20.0, 20.0, 20.0), report())
        return Generated("stl", b"a mesh", facts, 3, {}, {}, other_format=lambda _: b"", gcode=b"G28")

    def close(self) -> None: ...


@pytest.fixture
def model() -> Iterator[HeldModel]:
    one = HeldModel()
    yield one
    one.may_end.set()


@pytest.fixture
def jobs(model: HeldModel) -> Iterator[JobsHere]:
    one = JobsHere(model)
    yield one
    model.may_end.set()
    one.close()


def wait(jobs: JobsHere, job_id: str) -> MeshJob:
    wait_for(lambda: jobs.look(job_id).is_over, "the job is over")
    return jobs.look(job_id)


def test_a_job_is_followed_from_its_first_step_to_its_file(
    jobs: JobsHere, model: HeldModel, tmp_path: Path
) -> None:
    job_id = jobs.begin(request("vase"), NOTHING, tmp_path / "vase.stl")
    wait_for(lambda: jobs.look(job_id).as_dict()["stage"] == "denoise", "it runs")
    assert jobs.look(job_id).as_dict()["progress"] == 0.4
    assert not list(tmp_path.iterdir())
    model.may_end.set()

    job = wait(jobs, job_id)

    assert (job.status, job.file) == (JobStatus.SUCCEEDED, str(tmp_path / "vase.stl"))
    progress = [step.progress for step in job.steps]
    assert (progress, progress[-1]) == (sorted(progress), 1.0)
    assert (tmp_path / "vase.stl").read_bytes() == b"a mesh"
    assert (tmp_path / "vase.gcode").read_bytes() == b"G28"
    assert (job.as_dict()["seed"], job.as_dict()["faces"]) == (3, 12)


def test_jobs_run_one_after_the_other_and_are_listed_newest_first(
    jobs: JobsHere, model: HeldModel, tmp_path: Path
) -> None:
    first, second = (jobs.begin(request(name), NOTHING, tmp_path / f"{name}.stl") for name in "ab")
    wait_for(lambda: jobs.look(first).status == JobStatus.RUNNING, "the first runs")

    assert jobs.look(second).status == JobStatus.QUEUED
    assert [job["name"] for job in jobs.latest(None, 20)] == ["b", "a"]
    assert [job["name"] for job in jobs.latest(JobStatus.RUNNING, 20)] == ["a"]
    assert [job["name"] for job in jobs.latest(None, 1)] == ["b"]
    model.may_end.set()
    assert wait(jobs, second).status == JobStatus.SUCCEEDED


def test_a_job_is_stopped_where_it_is_and_writes_nothing(
    jobs: JobsHere, model: HeldModel, tmp_path: Path
) -> None:
    running, waiting = (jobs.begin(request(name), NOTHING, tmp_path / f"{name}.stl") for name in "ab")
    for job_id in (running, waiting):
        jobs.cancel(job_id)
    model.may_end.set()

    assert [wait(jobs, job_id).status for job_id in (running, waiting)] == [JobStatus.CANCELLED] * 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GenerationFailed(JobFailure.of(NoForeground("Nothing."))), "no_foreground"),
        (RuntimeError("a bug"), "failed"),
    ],
)
def test_a_failure_has_its_code(
    jobs: JobsHere, model: HeldModel, tmp_path: Path, error: Exception, code: str
) -> None:
    model.error = error
    model.may_end.set()

    job = wait(jobs, jobs.begin(request("a"), NOTHING, tmp_path / "a.stl"))

    assert job.status == JobStatus.FAILED
    assert job.as_dict()["error"] == {"code": code, "detail": str(error)}


def test_a_file_that_can_not_be_written_is_a_failure(
    jobs: JobsHere, model: HeldModel, tmp_path: Path
) -> None:
    model.may_end.set()
    job = wait(jobs, jobs.begin(request("a"), NOTHING, tmp_path / "absent" / "a.stl"))
    assert job.status == JobStatus.FAILED
    assert "absent" in str(job.as_dict()["error"])


def test_an_id_of_no_job_is_refused(jobs: JobsHere) -> None:
    for ask in (jobs.look, jobs.cancel):
        with pytest.raises(UnknownJob, match="no job"):
            ask("0" * 32)
