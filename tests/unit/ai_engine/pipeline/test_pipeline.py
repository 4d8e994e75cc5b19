"""The stages of one job, run in order without a job engine; records pass through JSON as they do in one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image
from service.house import cut_out_png
from support.slicing import needs_slicer

from ai_engine.api.request_schema import JobRequest
from ai_engine.api.response_schemas import view_of
from ai_engine.errors import EmptyMesh, SamplerUnfit
from ai_engine.facts import CutOutFacts, DecodeFacts, ViewName
from ai_engine.images.formats import DownloadLimits
from ai_engine.job import Artifact, DecodedShape, Job, JobOptions, JobStatus, Progress, View
from ai_engine.job_queue.records import JobRecord, JobSummary
from ai_engine.outbound.addresses import AddressPolicy
from ai_engine.outbound.client import GuardedClient
from ai_engine.pipeline.fake_model import FakeModel
from ai_engine.pipeline.lanes import Claim
from ai_engine.pipeline.pipeline import run_job
from ai_engine.pipeline.removers import Removers
from ai_engine.pipeline.resources import Cutouts, Resources, Shape
from ai_engine.pipeline.stages.picture_stages import ViewStages
from ai_engine.slicing.slicer import Slicer
from ai_engine.stage import Stage
from ai_engine.stage_result import JobResult, StageResult
from ai_engine.storage.store import LocalStore
from ai_engine.webhooks.event import JobEvent
from ai_engine.webhooks.event_schema import WebhookEvent
from ai_engine.wishes.print_options import PrintOptions
from ai_engine.wishes.slicing import Slice

FACTS = DecodeFacts(
    "fast",
    (32, 32, 32),
    0.03,
    is_covered=False,
    num_queries=259_207,
    warnings=("the sign may be reversed",),
)


@dataclass(frozen=True)
class SearchingModel(FakeModel):
    """The sphere, as if a field had been searched for it."""

    def generate(self, rgba: Cutouts, options: JobOptions, progress: Progress) -> Shape:
        return Shape(super().generate(rgba, options, progress).mesh, FACTS, ("num_chunks 2048",))


class PlainRun:
    """Does each step at once."""

    claim = Claim()

    def step(self, stage: Stage, work: Callable[[], StageResult]) -> StageResult:
        return StageResult.from_dict(json.loads(json.dumps(work().to_dict())))

    def progress(self, stage: Stage, done: int, total: int) -> None:
        pass

    def waits(self) -> None:
        pass

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    request = JobRequest(session_id="s", asset_id="a", image_url="data:", decode_mode="fast")
    return Job(
        job_id="0" * 32,
        session_id=request.session_id,
        asset_id=request.asset_id,
        image_url=None,
        image=LocalStore(tmp_path).put_bytes("0" * 32, "picture", cut_out_png()),
        webhook_url=None,
        webhook_format="multipart",
        options=request.options(),
        remove_background="never",
        format="stl",
        priority=0,
        timeout_s=60,
        accepted_at_s=0,
        request_sha256="0" * 64,
    )


def resources(folder: Path) -> Resources:
    return Resources(
        store=LocalStore(folder),
        http=GuardedClient(AddressPolicy()),
        removers=Removers(),
        model=SearchingModel(),
        download_limits=DownloadLimits(),
        max_image_pixels=10_000,
    )


def test_the_job_tells_how_its_field_was_searched(job: Job, tmp_path: Path) -> None:
    result = run_job(job, resources(tmp_path), PlainRun())

    assert result.failure is None
    view = view_of(JobRecord(JobSummary(job, JobStatus.SUCCEEDED, result, 1.0), Stage.FINISH, 1.0, result))
    assert view.options.decode_mode == "fast"
    assert view.options.degraded == ["num_chunks 2048"]
    assert JobEvent.of(job, result, 1.0).data["options"]["degraded"] == ["num_chunks 2048"]
    assert json.loads(view.model_dump_json())["decode"] == {
        "mode": "fast",
        "coarse_resolution": [32, 32, 32],
        "saturation_distance": 0.03,
        "is_covered": False,
        "num_queries": 259_207,
        "warnings": ["the sign may be reversed"],
    }


class EmptyModel(FakeModel):
    """Finds no surface."""

    def generate(self, rgba: Cutouts, options: JobOptions, progress: Progress) -> Shape:
        raise EmptyMesh


@pytest.mark.parametrize("model", [FakeModel(), EmptyModel()])
def test_the_facts_of_the_cutout_are_told_whether_or_not_a_mesh_follows(
    model: FakeModel, job: Job, tmp_path: Path
) -> None:
    result = run_job(job, replace(resources(tmp_path), model=model), PlainRun())

    assert result.cutout == CutOutFacts("alpha", 0.25, (), 0, ("small",))
    event = WebhookEvent.model_validate_json(JobEvent.of(job, result, 1.0).to_json())
    assert event.data.cutout == result.cutout
    assert JobResult.from_dict(json.loads(json.dumps(result.to_dict()))).cutout == result.cutout


class UnfitModel(FakeModel):
    """Is distilled."""

    def complete(self, options: JobOptions) -> JobOptions:
        raise SamplerUnfit("it is distilled")


class NoSteps(PlainRun):
    """Does no step at all."""

    def step(self, stage: Stage, work: Callable[[], StageResult]) -> StageResult:
        raise AssertionError(f"{stage} was begun")


def test_a_sampler_that_does_not_fit_fails_the_job_before_its_download(job: Job, tmp_path: Path) -> None:
    result = run_job(job, replace(resources(tmp_path), model=UnfitModel()), NoSteps())

    assert result.failure is not None
    assert (result.failure.code, result.failure.stage) == ("sampler_unfit", "denoise")
    assert not result.failure.retryable


def test_the_report_names_the_sampler_and_its_calls(job: Job, tmp_path: Path) -> None:
    fast = replace(job, options=replace(job.options, sampler="adams"))

    options = JobEvent.of(fast, run_job(fast, resources(tmp_path), PlainRun()), 1.0).data["options"]

    assert (options["sampler"], options["network_calls"]) == ("adams", 5)


@dataclass(frozen=True)
class SeeingModel(FakeModel):
    """Notes which views it was shown, and how large."""

    seen: list[dict[str, tuple[int, ...]]] = field(default_factory=list)

    def generate(self, rgba: Cutouts, options: JobOptions, progress: Progress) -> Shape:
        assert isinstance(rgba, Mapping)
        self.seen.append({view: pixels.shape for view, pixels in rgba.items()})
        return super().generate(rgba, options, progress)


def of_views(job: Job, folder: Path, *names: ViewName) -> Job:
    """The job with several views: its own picture under each name."""
    assert job.image is not None
    return replace(job, image=None, views={name: View(None, job.image) for name in names})


def test_views_reach_the_model_by_their_names_in_the_order_of_the_views(job: Job, tmp_path: Path) -> None:
    model = SeeingModel()
    views = of_views(job, tmp_path, "back", "front")

    result = run_job(
        Job.from_dict(json.loads(json.dumps(views.to_dict()))), seeing(tmp_path, model), PlainRun()
    )

    assert result.failure is None
    assert [list(views) for views in model.seen] == [["front", "back"]]
    assert result.cutout is None
    assert set(result.cutouts) == {"front", "back"}
    assert {path.name for path in tmp_path.rglob("*-cutout.png")} == {"front-cutout.png", "back-cutout.png"}


def seeing(folder: Path, model: FakeModel) -> Resources:
    return replace(resources(folder), model=model)


def test_facts_of_each_view_are_in_the_job_and_in_its_event(job: Job, tmp_path: Path) -> None:
    result = run_job(of_views(job, tmp_path, "front", "left"), resources(tmp_path), PlainRun())

    facts = CutOutFacts("alpha", 0.25, (), 0, ("small",))
    assert JobResult.from_dict(json.loads(json.dumps(result.to_dict()))).cutouts == {
        "front": facts,
        "left": facts,
    }
    record = JobRecord(JobSummary(job, JobStatus.SUCCEEDED, result, 1.0), Stage.FINISH, 1.0, result)
    assert view_of(record).cutouts["left"] == facts
    event = WebhookEvent.model_validate_json(JobEvent.of(job, result, 1.0).to_json())
    assert (event.data.cutout, event.data.cutouts) == (None, {"front": facts, "left": facts})


def test_a_view_that_shows_nothing_ends_the_job_with_its_name(job: Job, tmp_path: Path) -> None:
    views = of_views(job, tmp_path, "front", "left")
    nothing = LocalStore(tmp_path).put_bytes(job.job_id, "nothing", png_of_nothing())
    views = replace(views, views=views.views | {"left": View(None, nothing)})

    failure = run_job(views, resources(tmp_path), PlainRun()).failure

    assert failure is not None
    assert (failure.code, failure.detail.startswith("View left: ")) == ("no_foreground", True)


def png_of_nothing() -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (64, 64)).save(file, "PNG")
    return file.getvalue()


def test_a_model_of_one_view_refuses_several_before_any_download(job: Job, tmp_path: Path) -> None:
    result = run_job(
        of_views(job, tmp_path, "front", "left"), seeing(tmp_path, SeeingModel(takes_views=False)), PlainRun()
    )

    assert result.failure is not None
    assert result.failure.code == "views_unfit"
    assert "download" not in result.timings_s


def test_a_cut_out_that_is_gone_is_made_again_of_its_view_alone(job: Job, tmp_path: Path) -> None:
    stages = ViewStages(of_views(job, tmp_path, "front", "left").sources, resources(tmp_path), PlainRun())
    pictures = stages.download()
    cutouts = stages.cut_out(pictures)
    kept = {name: path.stat().st_mtime_ns for name, path in stages.files(pictures, cutouts).items()}
    stages.files(pictures, cutouts)["left"].unlink()

    files = stages.files(pictures, cutouts)

    assert files["left"].is_file()
    assert files["front"].stat().st_mtime_ns == kept["front"]


class NoModel(FakeModel):
    """A device that no variant may take."""

    def generate(self, rgba: Cutouts, options: JobOptions, progress: Progress) -> Shape:
        raise AssertionError("the device was asked")


def test_a_variant_finishes_the_mesh_of_another_job_without_the_model(job: Job, tmp_path: Path) -> None:
    before = run_job(job, resources(tmp_path), PlainRun())
    store, folder = LocalStore(tmp_path), tmp_path / job.job_id
    mesh, outline = (
        Artifact(f"{job.job_id}/{name}", "0" * 64, (folder / name).stat().st_size)
        for name in ("mesh.npz", "cutout.png")
    )
    shape = DecodedShape(job.job_id, mesh, outline, before.model, before.decode, ("num_chunks 2048",))
    variant = replace(job, job_id="1" * 32, decoded=shape, more_formats=("ply", "3mf"))

    result = run_job(variant, replace(resources(tmp_path), model=NoModel()), PlainRun())

    assert result.failure is None
    assert before.artifact is not None
    assert result.artifact is not None
    assert result.artifact.sha256 == before.artifact.sha256
    assert (result.model, result.decode, set(result.timings_s)) == (before.model, before.decode, {"finish"})
    assert [store.has(file) for file in result.more_files.values()] == [True, True]
    view = view_of(
        JobRecord(JobSummary(variant, JobStatus.SUCCEEDED, result, 1.0), Stage.FINISH, 1.0, result)
    )
    assert [file.format for file in view.artifacts] == ["stl", "ply", "3mf"]
    assert view.variant_of == job.job_id


def test_a_limit_to_bytes_holds_for_the_file_of_each_format(job: Job, tmp_path: Path) -> None:
    small = replace(job, more_formats=("obj", "3mf"), print_options=PrintOptions(max_bytes=30_000))

    result = run_job(small, resources(tmp_path), PlainRun())

    assert result.artifact is not None
    assert max(file.size for file in (result.artifact, *result.more_files.values())) <= 30_000


@needs_slicer
def test_a_job_that_asks_for_it_has_g_code_and_the_same_mesh_in_other_formats(
    job: Job, tmp_path: Path
) -> None:
    wishes = PrintOptions(height_mm=20, slice=Slice())
    sliced = run_job(
        replace(job, print_options=wishes, more_formats=("3mf",)), resources(tmp_path), PlainRun()
    )
    plain = run_job(replace(job, print_options=PrintOptions(height_mm=20)), resources(tmp_path), PlainRun())

    assert sliced.failure is None
    assert sliced.mesh is not None
    assert sliced.gcode is not None
    slicing = sliced.mesh.print.slicing
    assert slicing is not None
    assert (slicing.gcode_sha256, slicing.gcode_bytes) == (sliced.gcode.sha256, sliced.gcode.size)
    assert resources(tmp_path).store.path(sliced.gcode).read_bytes().startswith(b"; generated by PrusaSlicer")
    assert sliced.artifact is not None
    assert plain.artifact is not None
    assert sliced.artifact.sha256 == plain.artifact.sha256
    assert plain.gcode is None


def test_a_worker_without_a_slicer_says_so_before_any_download(job: Job, tmp_path: Path) -> None:
    wishes = PrintOptions(height_mm=20, slice=Slice())
    here = replace(resources(tmp_path), model=NoModel(), slicer=Slicer("no-such-slicer"))

    failure = run_job(replace(job, print_options=wishes), here, PlainRun()).failure
    assert failure is not None
    assert (failure.code, failure.stage) == ("slice_failed", "finish")
    assert "apt-get install prusa-slicer" in failure.detail
