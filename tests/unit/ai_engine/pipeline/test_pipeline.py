"""The stages of one job, run in order without a job engine; records pass through JSON as they do in one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from service.house import cut_out_png

from ai_engine.api.request_schema import JobRequest
from ai_engine.api.response_schemas import view_of
from ai_engine.errors import EmptyMesh, SamplerUnfit
from ai_engine.facts import CutOutFacts, DecodeFacts
from ai_engine.images.formats import DownloadLimits
from ai_engine.job import Job, JobOptions, JobStatus, Progress
from ai_engine.job_queue.records import JobRecord
from ai_engine.outbound.addresses import AddressPolicy
from ai_engine.outbound.client import GuardedClient
from ai_engine.pipeline.fake_model import StandInModel
from ai_engine.pipeline.pipeline import run_job
from ai_engine.pipeline.removers import Removers
from ai_engine.pipeline.resources import Resources, Shape
from ai_engine.stage import Stage
from ai_engine.stage_result import JobResult, StageResult
from ai_engine.storage.store import LocalStore
from ai_engine.webhooks.event import JobEvent
from ai_engine.webhooks.event_schema import WebhookEvent

FACTS = DecodeFacts(
    "fast",
    (32, 32, 32),
    0.03,
    is_covered=False,
    num_queries=259_207,
    warnings=("the sign may be reversed",),
)


@dataclass(frozen=True)
class SearchingModel(StandInModel):
    """The sphere, as if a field had been searched for it."""

    def generate(self, rgba: NDArray[np.uint8], options: JobOptions, progress: Progress) -> Shape:
        return Shape(super().generate(rgba, options, progress).mesh, FACTS, ("num_chunks 2048",))


class PlainRun:
    """Does each step at once."""

    def step(self, name: str, work: Callable[[], StageResult]) -> StageResult:
        return StageResult.from_dict(json.loads(json.dumps(work().to_dict())))

    def progress(self, stage: Stage, done: int, total: int) -> None:
        pass

    def waits(self) -> None:
        pass


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
    view = view_of(JobRecord(job, JobStatus.SUCCEEDED, "finish", 1.0, result, [], 1.0))
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


class EmptyModel(StandInModel):
    """Finds no surface."""

    def generate(self, rgba: NDArray[np.uint8], options: JobOptions, progress: Progress) -> Shape:
        raise EmptyMesh


@pytest.mark.parametrize("model", [StandInModel(), EmptyModel()])
def test_the_facts_of_the_cutout_are_told_whether_or_not_a_mesh_follows(
    model: StandInModel, job: Job, tmp_path: Path
) -> None:
    result = run_job(job, replace(resources(tmp_path), model=model), PlainRun())

    assert result.cutout == CutOutFacts("alpha", 0.25, (), 0, ("small",))
    event = WebhookEvent.model_validate_json(JobEvent.of(job, result, 1.0).to_json())
    assert event.data.cutout == result.cutout
    assert JobResult.from_dict(json.loads(json.dumps(result.to_dict()))).cutout == result.cutout


class UnfitModel(StandInModel):
    """Is distilled."""

    def complete(self, options: JobOptions) -> JobOptions:
        raise SamplerUnfit("it is distilled")


class NoSteps(PlainRun):
    """Does no step at all."""

    def step(self, name: str, work: Callable[[], StageResult]) -> StageResult:
        raise AssertionError(f"{name} was begun")


def test_a_sampler_that_does_not_fit_fails_the_job_before_its_download(job: Job, tmp_path: Path) -> None:
    result = run_job(job, replace(resources(tmp_path), model=UnfitModel()), NoSteps())

    assert result.failure is not None
    assert (result.failure.code, result.failure.stage) == ("sampler_unfit", "denoise")
    assert not result.failure.retryable


def test_the_report_names_the_sampler_and_its_calls(job: Job, tmp_path: Path) -> None:
    fast = replace(job, options=replace(job.options, sampler="adams"))

    options = JobEvent.of(fast, run_job(fast, resources(tmp_path), PlainRun()), 1.0).data["options"]

    assert (options["sampler"], options["network_calls"]) == ("adams", 5)
