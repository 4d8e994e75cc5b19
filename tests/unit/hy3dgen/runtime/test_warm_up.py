"""A pipeline that was made ready gives the same shapes as before."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from parity.parity_case import DATA, Case, load_case
from torch import Tensor
from torch.compiler import nested_compile_region

from hy3dgen.field.geometry import Mesh
from hy3dgen.field.marching_cubes import extract_surface
from hy3dgen.field.sparse_field import SparseField
from hy3dgen.networks.layers import call_block
from hy3dgen.networks.stream_dit import DiT
from hy3dgen.runtime import warm_up as warm_up_module
from hy3dgen.runtime.warm_up import SampleShapes, choose_points_per_call, compile_networks, warm_up

CASES = (("checkpoint", "stages"), ("checkpoint_turbo", "stages_turbo"))


def latents_of(case: Case) -> Tensor:
    latents = case.pipeline(case.image, num_inference_steps=5, latents=case.stages["sample.noise"])
    return latents


@pytest.mark.parametrize("names", CASES)
def test_warming_up_changes_no_number(names: tuple[str, str]) -> None:
    case = load_case(*names)
    before = latents_of(case)
    warm_up(case.pipeline.model)
    assert torch.equal(latents_of(case), before)


def test_warming_up_goes_through_the_octree_and_the_extraction(monkeypatch: pytest.MonkeyPatch) -> None:
    balls: list[Mesh] = []

    def extract(field: SparseField) -> Mesh:
        balls.append(extract_surface(field))
        return balls[-1]

    monkeypatch.setattr(warm_up_module, "extract_surface", extract)
    warm_up(load_case(*CASES[0]).pipeline.model)
    (ball,) = balls
    assert np.linalg.norm(ball.vertices, axis=1) == pytest.approx(warm_up_module.BALL_RADIUS, abs=0.01)


@pytest.mark.parametrize(
    ("second_call_s", "chosen"), [({8000: 1.0, 32_000: 3.9}, 8000), ({8000: 1.0, 32_000: 1.1}, 32_000)]
)
def test_a_call_has_as_many_points_as_make_a_usual_decode_shortest(
    monkeypatch: pytest.MonkeyPatch, second_call_s: dict[int, float], chosen: int
) -> None:
    def seconds(call: partial[Tensor], device: torch.device) -> float:
        size = call.args[0].shape[1]
        if size not in second_call_s:
            raise torch.OutOfMemoryError("full")
        return second_call_s[size]

    monkeypatch.setattr(warm_up_module, "median_seconds", seconds)
    model = choose_points_per_call(load_case(*CASES[0]).pipeline.model)
    assert model.points_per_call == chosen


def test_a_field_is_asked_in_calls_of_one_size_on_a_gpu() -> None:
    on_gpu, on_cpu = (SampleShapes(512, 257, 8000, has_one_size) for has_one_size in (True, False))
    assert (on_gpu.call_sizes, on_cpu.call_sizes) == ({8000}, {8000, 2048})


@pytest.mark.parametrize("answers", [[True], [False, True]])
def test_blocks_of_a_kind_are_compiled_once_and_each_by_itself_where_that_can_not_be(
    monkeypatch: pytest.MonkeyPatch, answers: list[bool]
) -> None:
    model, tried = load_case(*CASES[0]).pipeline.model, list[bool]()

    def prepare(model: object, dit: DiT, *_: object) -> bool:
        tried.append(dit.call_block is call_block)
        return answers[len(tried) - 1]

    monkeypatch.setattr(warm_up_module, "_prepare_denoiser", prepare)
    monkeypatch.setattr(warm_up_module, "_prepare_decoder", lambda *_: True)
    assert compile_networks(model)[1]
    assert tried == [False, True][: len(answers)]


def test_a_block_that_is_called_as_a_region_gives_the_same_numbers() -> None:
    case = load_case(*CASES[0])
    before = latents_of(case)
    dit = case.pipeline.dit
    assert isinstance(dit, DiT)
    dit.call_block = nested_compile_region(call_block)
    assert torch.equal(latents_of(case), before)


AGREE = """
import sys
import torch
sys.path[:0] = ["tests"]
from parity.parity_case import DEVICE, close, load_case
from hy3dgen.runtime.warm_up import compile_networks

def refuse(*_):
    raise RuntimeError("not this way")

case = load_case(*sys.argv[1:])
points = torch.linspace(-1, 1, 6144).view(2048, 3).to(DEVICE)

def results():
    latents = case.pipeline(case.image, num_inference_steps=5, latents=case.stages["sample.noise"])
    return latents, case.vae.field(case.stages["vae.out"])(points)

with torch.no_grad():
    expected = results()
    case.pipeline.model, is_compiled = compile_networks(case.pipeline.model, points_per_call=4096)
    assert is_compiled
    execution = case.pipeline.model.execution
    execution.denoise.plain = execution.query.plain = refuse
    for found, wanted in zip(results(), expected):
        assert close(found, wanted)
"""


@pytest.mark.slow
@pytest.mark.parametrize("names", CASES)
def test_compiled_networks_agree_and_are_used_for_jobs(names: tuple[str, str], tmp_path: Path) -> None:
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    # In a process of its own: the shape checks of these tests can't be compiled.
    subprocess.run([sys.executable, "-c", AGREE, *names], check=True, cwd=DATA.parents[2], env=environment)
