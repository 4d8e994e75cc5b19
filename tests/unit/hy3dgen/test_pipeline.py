"""The public line of the shape model, as callers use it, on the parity checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from parity.parity_case import DATA
from PIL import Image
from torch import Tensor

from hy3dgen.errors import EmptyImage, EmptyMesh, LatentShapeError
from hy3dgen.sampling import Schedule
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline, Mesh, ShapeVAE

CHECKPOINT = DATA / "checkpoint.safetensors"
Loaded = tuple[Hunyuan3DDiTFlowMatchingPipeline, ShapeVAE]
OVERRIDES = json.loads((DATA / "overrides.json").read_text())


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return Hunyuan3DDiTFlowMatchingPipeline.from_single_file(CHECKPOINT, overrides=OVERRIDES["checkpoint"])


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return Image.open(DATA / "image.png")


def latents_of(pipeline: Hunyuan3DDiTFlowMatchingPipeline, *args: Any, **options: Any) -> Tensor:
    latents = pipeline(*args, **options)
    return latents


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_published_snippet_runs_as_it_stands(image: Image.Image) -> None:
    ckpt_path, DEVICE = str(CHECKPOINT), "cpu"  # noqa: N806 (the snippet's own name)
    pipeline, vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
        ckpt_path, device=DEVICE, use_safetensors=True, overrides=OVERRIDES["checkpoint"]
    )
    latents = pipeline(image=image, num_inference_steps=5)
    assert latents.shape == (1, 32, 16)
    latents = latents / vae.scale_factor
    latents = vae(latents)
    assert latents.shape == (1, 32, 64)
    meshes = vae.latents2mesh(latents, bounds=1.01, octree_resolution=32, mc_level=-1 / 512, num_chunks=8000)
    assert isinstance(meshes[0], Mesh)
    assert len(meshes[0].faces) > 1000


def test_the_same_seed_gives_the_same_latents_and_another_seed_others(
    loaded: Loaded, image: Image.Image
) -> None:
    pipeline, _vae = loaded
    first, again, other = (latents_of(pipeline, image, 2, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_latents_that_skipped_the_vae_are_refused_with_both_widths(loaded: Loaded) -> None:
    _pipeline, vae = loaded
    with pytest.raises(LatentShapeError, match=r"takes \[batch, tokens, 64\], got \[1, 32, 16\]"):
        vae.latents2mesh(torch.zeros(1, 32, 16))
    with pytest.raises(LatentShapeError, match=r"takes \[batch, tokens, 16\], got \[1, 32, 64\]"):
        vae(torch.zeros(1, 32, 64))


def test_a_field_without_a_surface_is_an_empty_mesh_and_not_none(loaded: Loaded) -> None:
    _pipeline, vae = loaded
    with pytest.raises(EmptyMesh):
        vae.latents2mesh(torch.zeros(1, 32, 64), octree_resolution=16, mc_level=1e6)


def test_a_transparent_picture_is_refused_before_the_network_runs(loaded: Loaded) -> None:
    pipeline, _vae = loaded
    with pytest.raises(EmptyImage, match="fully transparent"):
        pipeline(Image.new("RGBA", (32, 32)))


def test_progress_is_reported_after_each_real_step(loaded: Loaded, image: Image.Image) -> None:
    pipeline, _vae = loaded
    seen: list[tuple[int, int]] = []
    pipeline(image, 4, callback=lambda *step: seen.append(step))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_guidance_of_one_equals_the_plain_velocity(loaded: Loaded, image: Image.Image) -> None:
    pipeline, _vae = loaded
    once = latents_of(pipeline, image, 3, guidance_scale=1.0, generator=seeded(0))
    off = latents_of(pipeline, image, 3, guidance_scale=-1.0, generator=seeded(0))
    assert torch.equal(once, off)


def test_a_distilled_denoiser_needs_its_guidance_and_a_plain_one_refuses_it(loaded: Loaded) -> None:
    pipeline, _vae = loaded
    with pytest.raises(ValueError, match="takes no guidance"):
        pipeline.dit(torch.zeros(1, 32, 16), torch.zeros(1), torch.zeros(1, 17, 48), torch.ones(1))
    distilled, _ = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
        DATA / "checkpoint_turbo.safetensors", overrides=OVERRIDES["checkpoint_turbo"]
    )
    with pytest.raises(ValueError, match="takes a guidance"):
        distilled.dit(torch.zeros(1, 24, 8), torch.zeros(1), torch.zeros(1, 26, 40))


def test_a_multi_view_checkpoint_takes_a_single_picture_as_its_front(image: Image.Image) -> None:
    pipeline, _vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
        CHECKPOINT, overrides=OVERRIDES["checkpoint"] | {"is_multi_view": True}
    )
    assert torch.equal(pipeline.encode(image), pipeline.encode({"front": image}))


def test_query_coordinates_stay_float32_in_half_precision(image: Image.Image) -> None:
    _pipeline, vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
        CHECKPOINT, dtype=torch.bfloat16, overrides=OVERRIDES["checkpoint"]
    )
    tokens = torch.randn(1, 32, 64, generator=seeded(0)).bfloat16()
    near, far = torch.tensor([[[0.7, 0.1, 0.2]]]), torch.tensor([[[0.7005, 0.1, 0.2]]])
    assert near.bfloat16().equal(far.bfloat16())
    assert not vae.query_geometry(near, tokens).equal(vae.query_geometry(far, tokens))


def test_vertices_are_scaled_by_the_number_of_cells(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sphere comes out at its radius and centre; the reference's divisor R+1 makes it 1.5 % small at R=64."""
    _pipeline, vae = loaded
    resolution, radius = 64, 0.6
    sphere: Any = vars(ShapeVAE.latents2mesh)["__wrapped__"]
    monkeypatch.setattr(vae, "field", lambda _tokens: lambda points: radius - points.norm(dim=-1))
    (mesh,) = sphere(vae, torch.zeros(1, 1, 64), octree_resolution=resolution, mc_level=0.0)
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - radius).max() < 0.001
    assert np.abs(mesh.bounds.mean(axis=0)).max() < 1e-4
    assert mesh.is_closed
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.01)


NOT_NEEDED = (
    *("ai_engine", "fastapi", "diffusers", "transformers", "scipy", "skimage", "sympy", "trimesh"),
    *("torch._dynamo", "torch.distributed.tensor"),
)
"""What loading and running a model does without: each costs a third of a second of import, or more."""


def test_importing_the_model_imports_torch_alone_and_touches_no_device() -> None:
    code = (
        "import sys, hy3dgen.shapegen, torch; "
        f"assert not set({NOT_NEEDED!r}) & set(sys.modules); "
        "assert not torch.cuda.is_initialized()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=DATA.parents[2])


def test_another_schedule_takes_its_own_times(loaded: Loaded, image: Image.Image) -> None:
    pipeline, _vae = loaded
    calls: dict[Schedule, int] = {}
    for schedule in ("flow", "consistency"):
        seen: list[tuple[int, int]] = []
        pipeline(image, 4, schedule=schedule, callback=lambda *step, seen=seen: seen.append(step))
        calls[schedule] = len(seen)
    assert calls == {"flow": 3, "consistency": 4}
    own, named = (latents_of(pipeline, image, 3, generator=seeded(0), schedule=one) for one in (None, "flow"))
    assert torch.equal(own, named)


def test_latents_of_the_callers_own_take_the_place_of_the_noise(loaded: Loaded, image: Image.Image) -> None:
    pipeline, _vae = loaded
    start = pipeline.noise(seeded(5))
    given, drawn = (
        latents_of(pipeline, image, 2, latents=start),
        latents_of(pipeline, image, 2, generator=seeded(5)),
    )
    assert torch.equal(given, drawn)
    with pytest.raises(LatentShapeError):
        pipeline(image, 2, latents=torch.zeros(1, 32, 17))


def test_the_pipeline_shows_the_sizes_of_its_networks(loaded: Loaded) -> None:
    pipeline, vae = loaded
    assert pipeline.vae is vae
    assert pipeline.device == torch.device("cpu")
    assert pipeline.config.dit == pipeline.dit.config
    assert pipeline.config.vae.latent_channels == pipeline.noise().shape[-1] == 16
    assert pipeline.config.dit.context_width == pipeline.encode(Image.open(DATA / "image.png")).shape[-1]
