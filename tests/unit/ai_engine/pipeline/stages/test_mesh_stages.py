"""The line of a job that begins with a caller's own mesh, without a job engine."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import pytest
import trimesh
from support import sample_job
from support.slicing import program
from unit.ai_engine.pipeline.test_pipeline import NoModel, PlainRun, resources

from ai_engine.caller_meshes.limits import MeshLimits
from ai_engine.job import DecodedShape, Job
from ai_engine.pipeline.pipeline import run_job
from ai_engine.pipeline.resources import Resources
from ai_engine.pipeline.stages.mesh_stages import MeshStages
from ai_engine.slicing.slicer import Slicer
from ai_engine.stage_result import StageResult
from ai_engine.webhooks.event import JobEvent
from ai_engine.wishes.additions import Base
from ai_engine.wishes.print_options import PrintOptions
from ai_engine.wishes.slicing import Slice


@pytest.fixture
def bench(tmp_path: Path) -> Resources:
    return replace(resources(tmp_path), model=NoModel())


def of_mesh(bench: Resources, data: bytes) -> Job:
    job = sample_job.job(image_url=None)
    return replace(job, mesh=bench.store.put_bytes(job.job_id, "caller-mesh", data))


def box(file_format: str = "stl") -> bytes:
    made: bytes = trimesh.creation.box((10, 20, 30)).export(file_type=file_format)
    return made


def test_a_mesh_is_finished_without_the_model_and_keeps_its_size(bench: Resources) -> None:
    job = of_mesh(bench, box())

    result = run_job(job, bench, PlainRun())

    assert result.failure is None
    assert result.mesh is not None
    assert result.check is not None
    assert (result.mesh.units, result.mesh.bbox) == ("mm", (10, 20, 30))
    assert (result.check.triangles, result.model) == (12, {})
    assert result.options is not None
    assert result.options.model is None
    assert set(result.timings_s) == {"download", "finish"}
    event = JobEvent.of(job, result, 1.0)
    assert "seed" not in event.data["options"]


def test_the_floaters_that_are_dropped_do_not_change_the_size(bench: Resources) -> None:
    crumb = trimesh.creation.box((0.1, 0.1, 0.1))
    crumb.apply_translation((0, 0, 60))
    both = trimesh.util.concatenate([trimesh.creation.box((10, 20, 30)), crumb])

    result = run_job(of_mesh(bench, both.export(file_type="stl")), bench, PlainRun())

    assert result.mesh is not None
    assert result.mesh.bbox == pytest.approx((10, 20, 30), rel=1e-5)


def test_a_file_that_was_read_is_read_again_where_it_is_gone(bench: Resources) -> None:
    stages = MeshStages(of_mesh(bench, box()), bench, PlainRun())
    read = stages.read()
    bench.store.path(read.artifact).unlink()

    assert stages.present(read, stages.read).stat().st_size == read.artifact.size


def test_an_error_keeps_the_report_of_what_came(bench: Resources) -> None:
    job = replace(of_mesh(bench, box()), print_options=PrintOptions(max_bytes=10))
    failed = run_job(job, bench, PlainRun())
    refused = run_job(of_mesh(bench, b"nothing"), bench, PlainRun())
    small = replace(bench, mesh_limits=MeshLimits(max_faces=11))
    many = run_job(of_mesh(bench, box()), small, PlainRun())

    assert failed.failure is not None
    assert failed.failure.code == "result_too_large"
    assert failed.check is not None
    assert [one.failure and one.failure.code for one in (refused, many)] == [
        "mesh_invalid",
        "mesh_too_many_faces",
    ]


def test_a_variant_of_a_callers_mesh_is_in_millimetres_too(bench: Resources) -> None:
    job = of_mesh(bench, box("glb"))
    read = MeshStages(job, bench, PlainRun()).read()
    shape = DecodedShape(job.job_id, read.artifact, None, {}, mm_per_unit=read.mm_per_unit)
    variant = Job.from_dict(replace(job, job_id="1" * 32, mesh=None, decoded=shape, format="ply").to_dict())

    result = run_job(variant, bench, PlainRun())

    assert result.mesh is not None
    assert result.mesh.bbox == pytest.approx((10_000, 30_000, 20_000), rel=1e-5)
    data = bench.store.path(result.artifact).read_bytes() if result.artifact else b""
    assert trimesh.load(io.BytesIO(data), file_type="ply").is_watertight


SLAB: bytes = trimesh.creation.box((30, 30, 6)).export(file_type="stl")
SLAB_URL = "data:model/stl;base64," + base64.b64encode(SLAB).decode()


def test_a_pedestal_is_kept_as_it_came_and_a_kept_one_is_not_fetched(bench: Resources) -> None:
    job = replace(of_mesh(bench, box()), print_options=PrintOptions(base=Base(mesh_url=SLAB_URL)))

    made = MeshStages(job, bench, PlainRun()).fetch_pedestal()

    assert made.pedestal is not None
    assert bench.store.path(made.pedestal).read_bytes() == SLAB
    nowhere = PrintOptions(base=Base(mesh_url="https://a.example/gone.stl"))
    again = replace(job, job_id="1" * 32, print_options=nowhere, pedestal=made.pedestal)
    kept = MeshStages(Job.from_dict(again.to_dict()), bench, PlainRun()).fetch_pedestal()
    assert (kept.artifact.sha256, kept.pedestal) == (made.artifact.sha256, made.pedestal)
    assert StageResult.from_dict(kept.to_dict()) == kept


def test_a_mesh_without_a_unit_is_not_sliced(bench: Resources, tmp_path: Path) -> None:
    bench = replace(bench, slicer=Slicer(program(tmp_path / "slicer.sh", "exit 0")))
    unitless = b"# Y up\n" + trimesh.creation.box((1, 2, 3)).export(file_type="obj").encode()
    job = replace(of_mesh(bench, unitless), print_options=PrintOptions(slice=Slice()))

    failure = run_job(job, bench, PlainRun()).failure

    assert failure is not None
    assert (failure.code, "give height_mm" in failure.detail) == ("slice_failed", True)
