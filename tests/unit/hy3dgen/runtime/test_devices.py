"""All that a job touches lies on the job's device, whatever waits elsewhere."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from parity.parity_case import DATA
from PIL import Image
from support.pretended_gpu import OnGpu, pretended_gpu
from torch import Tensor

from hy3dgen.pipeline import Hunyuan3DDiTFlowMatchingPipeline
from hy3dgen.runtime.warm_up import fit_to_card, warm_up
from hy3dgen.weights.offload import Residence


def job(device: torch.device, checkpoint: str, residence: Residence) -> tuple[Tensor, Any]:
    overrides = json.loads((DATA / "overrides.json").read_text())[checkpoint]
    pipeline, vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
        DATA / f"{checkpoint}.safetensors", device, torch.float32, overrides=overrides, residence=residence
    )
    if device.type == "cuda":
        pipeline.model = fit_to_card(pipeline.model)
        warm_up(pipeline.model)
    generator = torch.Generator().manual_seed(3)
    steps: list[int] = []
    latents = pipeline(
        Image.open(DATA / "image.png"), 3, generator=generator, callback=lambda done, _: steps.append(done)
    )
    assert steps
    (mesh,) = vae.latents2mesh(vae(latents / vae.scale_factor), octree_resolution=32)
    return latents, mesh


@pytest.mark.parametrize(
    ("checkpoint", "residence"), [("checkpoint", "low"), ("checkpoint_turbo", "minimal")]
)
def test_a_job_on_a_gpu_leaves_nothing_on_the_cpu(checkpoint: str, residence: Residence) -> None:
    expected, mesh = job(torch.device("cpu"), checkpoint, "full")
    with pretended_gpu() as gpu:
        latents, same = job(gpu, checkpoint, residence)
        assert isinstance(latents, OnGpu)
        assert torch.equal(latents.cpu(), expected)
    assert np.array_equal(same.vertices, mesh.vertices)
    assert np.array_equal(same.faces, mesh.faces)


def test_the_pretended_gpu_is_as_strict_as_a_real_one() -> None:
    with pretended_gpu() as gpu:
        there = torch.zeros(3, device=gpu)
        assert (there.device, torch.zeros(3).device) == (gpu, torch.device("cpu"))
        assert isinstance((there + 1)[there == 0], OnGpu)
        assert isinstance(torch.zeros(3).to(there), OnGpu)
        assert not isinstance(there.cpu(), OnGpu)
        with pytest.raises(RuntimeError, match="on the GPU and on the CPU"):
            there + torch.zeros(3)
        with pytest.raises(TypeError, match="fetched"):
            there.numpy()
