"""The service's door to the shape model, on the embedded checkpoint."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch.utils.hooks import RemovableHandle

from ai_engine.errors import (
    DeviceFault,
    GpuOutOfMemory,
    InternalError,
    JobCancelled,
    NoForeground,
    SamplerUnfit,
    StartupError,
)
from ai_engine.job import JobOptions
from ai_engine.pipeline import device, shape_model
from ai_engine.pipeline.device import Room
from ai_engine.pipeline.shape_model import ShapeModel
from ai_engine.settings import Settings
from ai_engine.stage import Stage
from hy3dgen import models
from hy3dgen.errors import NotFinite
from hy3dgen.families.variants import Settings as Variant
from hy3dgen.runtime.warm_up import warm_up
from hy3dgen.shape_model import ShapeModel as LoadedModel

OPTIONS = JobOptions(seed=7, num_inference_steps=4, octree_resolution=48)


def ignore(stage: Stage, done: int, total: int) -> None:
    pass


@pytest.fixture(scope="module")
def model() -> ShapeModel:
    return ShapeModel.load(Settings(device="cpu"))


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    image = Image.new("RGBA", (200, 200))
    ImageDraw.Draw(image).ellipse((40, 40, 160, 160), fill=(200, 120, 60, 255))
    return np.asarray(image)


def test_a_picture_becomes_a_closed_mesh_in_the_box(model: ShapeModel, picture: NDArray[np.uint8]) -> None:
    mesh = model.generate(picture, OPTIONS, ignore).mesh
    edges = np.sort(
        np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1
    )
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    assert np.abs(mesh.vertices).max() <= 1.01


def test_the_same_seed_gives_the_same_mesh_byte_for_byte(
    model: ShapeModel, picture: NDArray[np.uint8]
) -> None:
    first, again = (model.generate(picture, OPTIONS, ignore).mesh for _ in range(2))
    assert first.vertices.tobytes() == again.vertices.tobytes()
    assert first.faces.tobytes() == again.faces.tobytes()


def test_progress_goes_step_by_step_of_those_asked_for_then_level_by_level(
    model: ShapeModel, picture: NDArray[np.uint8]
) -> None:
    seen: list[tuple[Stage, int, int]] = []
    model.generate(picture, OPTIONS, lambda *step: seen.append(step))
    denoising = [step for step in seen if step[0] == Stage.DENOISE]
    decoding = seen[len(denoising) :]
    assert denoising == [(Stage.DENOISE, 1, 4), (Stage.DENOISE, 2, 4), (Stage.DENOISE, 4, 4)]
    assert decoding[-1][1] == decoding[-1][2]
    assert {stage for stage, _, _ in decoding} == {Stage.DECODE}


@pytest.mark.parametrize("stage", [Stage.DENOISE, Stage.DECODE])
def test_a_job_stops_between_two_steps_when_progress_raises(
    model: ShapeModel, picture: NDArray[np.uint8], stage: Stage
) -> None:
    def stop(at: Stage, done: int, total: int) -> None:
        if at == stage:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        model.generate(picture, OPTIONS, stop)


def test_the_decode_mode_chooses_the_first_lattice_and_tells_what_may_hide(
    model: ShapeModel, picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def steep_sphere(points: torch.Tensor) -> torch.Tensor:
        return torch.tanh((0.6 - points.norm(dim=-1)) / 0.0175)

    monkeypatch.setattr(model.model.family.vae, "field", lambda tokens: steep_sphere)
    options = replace(OPTIONS, octree_resolution=96)

    strict, fast = (
        model.generate(picture, replace(options, decode_mode=mode), ignore) for mode in ("strict", "fast")
    )

    assert strict.decode is not None
    assert fast.decode is not None
    assert (strict.decode.mode, strict.decode.coarse_resolution) == ("strict", (96, 96, 96))
    assert (fast.decode.mode, fast.decode.coarse_resolution) == ("fast", (48, 48, 48))
    assert (strict.decode.is_covered, fast.decode.is_covered) == (True, False)
    assert strict.decode.saturation_distance == pytest.approx(0.0175 * np.arctanh(0.95), rel=0.15)
    assert fast.decode.num_queries < strict.decode.num_queries
    assert np.array_equal(strict.mesh.vertices, fast.mesh.vertices)


def test_ten_jobs_of_many_threads_compute_in_the_thread_that_loaded_and_warmed_up(
    picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, set[str]] = {"load": set(), "make_ready": set(), "generate": set()}

    def noted(doing: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            names[doing].add(threading.current_thread().name)
            return work(*arguments, **named)

        return call

    monkeypatch.setattr(models, "open_model", noted("load", models.open_model))
    monkeypatch.setattr(shape_model, "warm_up", noted("make_ready", warm_up))
    monkeypatch.setattr(LoadedModel, "sample", noted("generate", LoadedModel.sample))
    monkeypatch.setattr(LoadedModel, "decode", noted("generate", LoadedModel.decode))
    model = ShapeModel.load(Settings(device="cpu")).make_ready(Settings(device="cpu"))
    options = replace(OPTIONS, num_inference_steps=2, octree_resolution=16)
    with ThreadPoolExecutor(4, thread_name_prefix="job") as jobs:
        list(jobs.map(lambda _: model.generate(picture, options, ignore), range(10)))

    assert names["load"] == names["make_ready"] == names["generate"]
    assert len(names["load"]) == 1
    assert threading.current_thread().name not in names["load"]


def test_made_ready_it_gives_the_same_mesh(model: ShapeModel, picture: NDArray[np.uint8]) -> None:
    ready = ShapeModel.load(Settings(device="cpu")).make_ready(Settings(device="cpu"))
    first, after = (one.generate(picture, OPTIONS, ignore) for one in (model, ready))
    assert first.mesh.vertices.tobytes() == after.mesh.vertices.tobytes()


@pytest.mark.parametrize("memory", ["low", "minimal"])
def test_with_little_memory_it_gives_the_same_mesh(
    model: ShapeModel, picture: NDArray[np.uint8], memory: str
) -> None:
    settings = Settings(device="cpu", memory=memory)
    small = ShapeModel.load(settings).make_ready(settings)
    first, same = (one.generate(picture, OPTIONS, ignore) for one in (model, small))
    assert small.residence == memory
    assert first.mesh.vertices.tobytes() == same.mesh.vertices.tobytes()


def test_the_room_that_is_needed_is_known_before_anything_is_loaded() -> None:
    room = Room.on(torch.device("cpu"), Settings(device="cpu"))
    assert room.weights.total == pytest.approx(2 * 7_029_000, rel=0.02)  # the file holds halves
    assert room.is_enough
    assert room.residence == "full"
    assert not replace(room, free=10**8).is_enough


@pytest.mark.parametrize(
    ("wish", "memory", "is_compiled"),
    [("1", "full", True), ("auto", "full", False), ("0", "full", False), ("1", "low", False)],
)
def test_compiling_is_for_networks_that_stay_where_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wish: str, memory: str, is_compiled: bool
) -> None:
    compiled: list[int] = []

    def compile_networks(model: object) -> tuple[object, bool]:
        compiled.append(1)
        return model, True

    monkeypatch.setattr(device, "has_compiler", lambda: True)
    monkeypatch.setattr(shape_model, "compile_networks", compile_networks)
    monkeypatch.setattr(shape_model, "set_compiler_cache", lambda folder: None)
    settings = Settings(device="cpu", compile=wish, memory=memory, data_dir=tmp_path)
    ShapeModel.load(settings).make_ready(settings)
    assert compiled == ([1] if is_compiled else [])


def test_without_a_c_compiler_compiling_is_not_tried_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = Settings(device="cpu", compile="1", data_dir=tmp_path)
    ready = ShapeModel.load(settings).make_ready(settings)
    assert ready.model.execution.denoise is None
    assert caplog.text.count("no C compiler") == 1


def test_numbers_that_overflow_end_the_job_with_what_to_set(
    model: ShapeModel, picture: NDArray[np.uint8]
) -> None:
    def overflow(_: torch.nn.Module, __: object, tokens: torch.Tensor) -> torch.Tensor:
        return tokens * float("inf")

    with (
        model.model.family.vae.register_forward_hook(overflow),
        pytest.raises(InternalError, match="shape decoder gave numbers that are not finite"),
    ):
        model.generate(picture, OPTIONS, ignore)


def test_a_job_that_overflows_float16_is_computed_once_more_in_bfloat16_and_says_so(
    picture: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    model = ShapeModel.load(Settings(device="cpu", dtype="float16"))

    def overflow(_: torch.nn.Module, __: object, velocity: torch.Tensor) -> torch.Tensor:
        return velocity * float("inf")

    with model.model.family.vae.register_forward_hook(overflow):
        shape = model.generate(picture, OPTIONS, ignore)
    assert shape.degraded == ("float16 overflowed, computed in bfloat16",)
    assert len(shape.mesh.faces) > 100
    assert "shape decoder gave numbers that are not finite in float16" in caplog.text
    assert model.generate(picture, OPTIONS, ignore).degraded == (), (
        "the next job is computed in float16 again"
    )


def test_numbers_that_overflow_in_bfloat16_too_end_the_job(
    picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, reads = ShapeModel.load(Settings(device="cpu", dtype="float16")), list[torch.dtype]()

    def overflow(loaded: LoadedModel, latents: torch.Tensor) -> torch.Tensor:
        reads.append(loaded.dtype)
        raise NotFinite("the shape decoder gave numbers that are not finite")

    monkeypatch.setattr(LoadedModel, "tokens", overflow)
    with pytest.raises(InternalError, match="overflowed"):
        model.generate(picture, OPTIONS, ignore)
    assert reads == [torch.float16, torch.bfloat16]


def refuse_calls(network: torch.nn.Module, max_points: int) -> RemovableHandle:
    """From now on the device has no room for calls of more points."""

    def refuse(_: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        if arguments[0].shape[1] > max_points:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    return network.register_forward_pre_hook(refuse)


def test_what_memory_made_smaller_is_told_and_the_mesh_is_the_same(
    model: ShapeModel, picture: NDArray[np.uint8]
) -> None:
    expected = model.generate(picture, OPTIONS, ignore)

    with refuse_calls(model.model.family.vae.geometry, max_points=2048):
        found = model.generate(picture, OPTIONS, ignore)

    assert (expected.degraded, found.degraded) == ((), ("num_chunks 2048",))
    assert np.array_equal(found.mesh.faces, expected.mesh.faces)


def test_a_job_that_fits_in_no_form_ends_with_a_code(model: ShapeModel, picture: NDArray[np.uint8]) -> None:
    with refuse_calls(model.model.family.vae.geometry, max_points=0), pytest.raises(GpuOutOfMemory):
        model.generate(picture, OPTIONS, ignore)


@pytest.mark.parametrize(
    ("error", "is_fault"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True),
        (RuntimeError("shape '[2, 3]' is invalid for input of size 5"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasLtMatmul`"), False),
    ],
)
def test_a_device_that_broke_is_told_from_a_bug(
    model: ShapeModel, picture: NDArray[np.uint8], error: RuntimeError, is_fault: bool
) -> None:
    def break_down(*_: object) -> None:
        raise error

    with (
        model.model.family.vae.geometry.register_forward_pre_hook(break_down),
        pytest.raises(DeviceFault if is_fault else RuntimeError) as raised,
    ):
        model.generate(picture, OPTIONS, ignore)
    assert str(raised.value) == str(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
    ],
)
def test_a_library_that_lacks_memory_is_no_broken_device(
    model: ShapeModel, picture: NDArray[np.uint8], error: RuntimeError
) -> None:
    def run_short(*_: object) -> None:
        raise error

    with (
        model.model.family.dit.register_forward_pre_hook(run_short),
        model.model.family.vae.register_forward_pre_hook(run_short),
        pytest.raises(GpuOutOfMemory),
    ):
        model.generate(picture, OPTIONS, ignore)


def short_of_memory(work: Callable[..., Any], times: int) -> Callable[..., Any]:
    """`work`, which runs out of memory the first `times` times."""
    failures = iter(range(times))

    def call(*arguments: Any, **named: Any) -> Any:
        if next(failures, None) is not None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return work(*arguments, **named)

    return call


@pytest.mark.parametrize(("times", "residence"), [(0, "full"), (1, "low"), (2, "minimal")])
def test_loading_goes_one_residence_lower_where_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch, times: int, residence: str
) -> None:
    monkeypatch.setattr(models, "open_model", short_of_memory(models.open_model, times))
    assert ShapeModel.load(Settings(device="cpu")).residence == residence


@pytest.mark.parametrize(("times", "residence"), [(1, "low"), (2, "minimal")])
def test_a_warm_up_that_does_not_fit_is_tried_one_residence_lower_and_the_mesh_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
    model: ShapeModel,
    picture: NDArray[np.uint8],
    times: int,
    residence: str,
) -> None:
    monkeypatch.setattr(shape_model, "warm_up", short_of_memory(warm_up, times))
    ready = ShapeModel.load(Settings(device="cpu")).make_ready(Settings(device="cpu"))
    first, same = (one.generate(picture, OPTIONS, ignore) for one in (model, ready))
    assert ready.residence == residence
    assert first.mesh.vertices.tobytes() == same.mesh.vertices.tobytes()


@pytest.mark.parametrize(("memory", "times"), [("full", 1), ("auto", 3)])
def test_a_start_that_fits_in_no_allowed_residence_says_so(
    monkeypatch: pytest.MonkeyPatch, memory: str, times: int
) -> None:
    settings = Settings(device="cpu", memory=memory)
    loaded = ShapeModel.load(settings)
    monkeypatch.setattr(shape_model, "warm_up", short_of_memory(warm_up, times))
    with pytest.raises(StartupError, match="does not fit the memory of cpu"):
        loaded.make_ready(settings)
    monkeypatch.setattr(models, "open_model", short_of_memory(models.open_model, times))
    with pytest.raises(StartupError, match="does not fit the memory of cpu"):
        ShapeModel.load(settings)


def test_a_transparent_picture_has_no_foreground(model: ShapeModel) -> None:
    with pytest.raises(NoForeground):
        model.generate(np.zeros((64, 64, 4), np.uint8), OPTIONS, ignore)


def test_the_model_says_what_it_is(model: ShapeModel) -> None:
    assert model.model_id == "ai-engine-tiny-1.3"
    assert model.licence == "Apache-2.0"
    assert model.complete(JobOptions(seed=0)).num_inference_steps == 10
    assert not model.has_gpu


def test_options_are_completed_by_the_models_own_values_and_wishes_stay(model: ShapeModel) -> None:
    own, wished = (model.complete(one) for one in (JobOptions(seed=7), JobOptions(seed=7, bounds=0.9)))

    assert (own.guidance_scale, own.bounds, own.mc_level, own.num_chunks) == (2.0, 1.01, -1 / 512, 8000)
    assert wished.bounds == 0.9


def test_a_missing_checkpoint_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"gone\.safetensors: there is no such file .* set MODEL_PATH="):
        ShapeModel.load(Settings(device="cpu", model_path=tmp_path / "gone.safetensors"))


def test_fast_takes_no_more_calls_than_faithful_and_says_how_many(model: ShapeModel) -> None:
    faithful, fast, asked = (
        model.complete(one)
        for one in (
            JobOptions(seed=7),
            JobOptions(seed=7, sampler="adams"),
            JobOptions(seed=7, sampler="adams", num_inference_steps=12),
        )
    )

    assert (faithful.sampler, faithful.num_inference_steps, faithful.network_calls) == ("euler", 10, 9)
    assert (fast.sampler, fast.num_inference_steps, fast.network_calls) == ("adams", 9, 9)
    assert asked.network_calls == 12


def test_the_sampler_asked_for_is_the_one_that_denoises(
    model: ShapeModel, picture: NDArray[np.uint8]
) -> None:
    told: list[tuple[int, int]] = []

    def progress(stage: Stage, done: int, total: int) -> None:
        if stage == Stage.DENOISE:
            told.append((done, total))

    faithful = model.generate(picture, OPTIONS, ignore)
    fast = model.generate(picture, replace(OPTIONS, sampler="adams"), progress)

    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert not np.array_equal(fast.mesh.vertices, faithful.mesh.vertices)


def test_a_distilled_model_refuses_the_two_step_sampler(model: ShapeModel) -> None:
    turbo = replace(model.model.family, settings=Variant(schedule="consistency"))
    distilled = replace(model, model=replace(model.model, family=turbo))

    with pytest.raises(SamplerUnfit, match="distilled"):
        distilled.complete(JobOptions(seed=7, sampler="adams"))
    assert distilled.complete(JobOptions(seed=7)).sampler == "euler"
