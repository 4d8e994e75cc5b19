"""The interface of a loaded model, on Hunyuan3D-2 with random weights; the other families: parity/test_families.py."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from parity.parity_case import DATA, close, same
from PIL import Image
from safetensors.torch import load_file
from support.pretended_gpu import pretended_gpu

from hy3dgen.errors import EmptyImage, EmptyMesh, ImageError, LatentShapeError, SamplerUnfit
from hy3dgen.models import open_model
from hy3dgen.pipeline import Hunyuan3DDiTFlowMatchingPipeline
from hy3dgen.shape_model import ShapeModel
from hy3dgen.weights.offload import Residence

OVERRIDES = json.loads((DATA / "overrides.json").read_text())
STAGES = load_file(DATA / "stages.safetensors")
PICTURE = Image.open(DATA / "image.png")
VIEWS = {name: DATA / f"view_{name}.png" for name in ("right", "front", "left")}


def opened(name: str = "checkpoint", **overrides: Any) -> ShapeModel:
    settings = OVERRIDES[name] | overrides
    return open_model(DATA / f"{name}.safetensors", device="cpu", dtype=torch.float32, overrides=settings)


@pytest.fixture(scope="module")
def model() -> ShapeModel:
    return opened()


@pytest.mark.parametrize(("residence", "num_asked"), [("minimal", 3), ("low", 6)])
def test_layers_that_are_brought_for_their_calls_are_brought_once_a_step(
    residence: Residence, num_asked: int
) -> None:
    with pretended_gpu() as gpu:
        overrides = OVERRIDES["checkpoint"]
        there = open_model(
            DATA / "checkpoint.safetensors",
            device=gpu,
            dtype=torch.float32,
            overrides=overrides,
            residence=residence,
        )
        asked: list[int] = []
        there.family.dit.final.register_forward_hook(lambda *_: asked.append(1))
        there.sample(PICTURE, 4, generator=seeded(0))
    assert len(asked) == num_asked, "both sides of the guidance in one call, or one after the other"


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_prepared_picture_and_its_tokens_are_the_references(model: ShapeModel) -> None:
    assert same(model.prepare_image(PICTURE), STAGES["pre.image"])
    assert close(model.encode(PICTURE), STAGES["cond.main"])


def test_a_picture_may_be_a_path_or_an_rgba_array(model: ShapeModel) -> None:
    expected = model.prepare_image(PICTURE)
    assert torch.equal(model.prepare_image(DATA / "image.png"), expected)
    assert torch.equal(model.prepare_image(np.asarray(PICTURE.convert("RGBA"))), expected)


def test_views_are_prepared_and_encoded_by_name(model: ShapeModel) -> None:
    assert same(model.prepare_image(VIEWS), STAGES["mv.pre.image"])
    assert close(model.encode(VIEWS), STAGES["mv.cond.main"])


def test_a_view_of_no_known_side_is_refused(model: ShapeModel) -> None:
    with pytest.raises(ImageError, match="top"):
        model.encode({"front": PICTURE, "top": PICTURE})


def test_a_model_of_one_view_refuses_several_by_name() -> None:
    other = open_model(DATA / "triposg", device="cpu", dtype=torch.float32)
    with pytest.raises(ImageError, match=r"triposg takes one view, got front, left"):
        other.encode({"left": PICTURE, "front": PICTURE})


def test_the_velocity_is_the_references_at_both_ends_of_time(model: ShapeModel) -> None:
    latents, context = STAGES["dit.x"][:1], STAGES["cond.main"]
    for time in (0, 1):
        expected = STAGES[f"dit.velocity_t{time}"]
        assert close(model.velocity(latents, float(time), context), expected)
        assert close(model.velocity(latents, torch.tensor([float(time)]), context), expected)


def test_a_distilled_model_gets_its_own_guidance_as_input() -> None:
    turbo, stages = opened("checkpoint_turbo"), load_file(DATA / "stages_turbo.safetensors")
    latents, context = stages["dit.x"][:1], stages["dit.context"][:1]
    expected = turbo.family.dit(latents, torch.tensor([0.5]), context, torch.tensor([5.0]))
    assert torch.equal(turbo.velocity(latents, 0.5, context), expected)


def test_sampling_gives_what_the_published_pipeline_gives(model: ShapeModel) -> None:
    pipeline = Hunyuan3DDiTFlowMatchingPipeline(model)
    published = pipeline(PICTURE, 4, generator=seeded(2))
    assert isinstance(published, torch.Tensor)
    assert torch.equal(model.sample(PICTURE, 4, generator=seeded(2)), published)


def test_what_is_none_is_the_models_own(model: ShapeModel) -> None:
    own = model.sample(PICTURE, None, None, seeded(3))
    assert torch.equal(own, model.sample(PICTURE, 50, 5.0, seeded(3)))


def test_progress_is_told_after_each_real_step(model: ShapeModel) -> None:
    seen: list[tuple[int, int]] = []
    model.sample(PICTURE, 4, callback=lambda *step: seen.append(step))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_given_latents_replace_the_noise_and_other_widths_are_refused(model: ShapeModel) -> None:
    start = STAGES["sample.noise"]
    first, again = (model.sample(PICTURE, 2, latents=start) for _ in range(2))
    assert torch.equal(first, again)
    with pytest.raises(LatentShapeError, match=r"takes \[batch, tokens, 16\], got \[1, 32, 64\]"):
        model.sample(PICTURE, 2, latents=torch.zeros(1, 32, 64))


@pytest.mark.parametrize(("sampler", "steps", "said"), [("heun", 4, "heun"), ("euler", 0, "one step")])
def test_what_it_can_not_sample_by_is_refused(model: ShapeModel, sampler: Any, steps: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        model.sample(PICTURE, steps, sampler=sampler)


def test_adams_comes_closer_to_the_flow_than_eulers_method_with_the_same_calls() -> None:
    trained = open_model(
        DATA.parents[2] / "models" / "tiny" / "tiny.safetensors", device="cpu", dtype=torch.float32
    )
    picture = Image.new("RGBA", (256, 256))
    picture.paste((200, 120, 60, 255), (60, 40, 200, 220))
    start = trained.noise(seeded(0))
    flow = trained.sample(picture, 200, latents=start, sampler="adams")

    adams_off = float((trained.sample(picture, 16, latents=start, sampler="adams") - flow).norm())
    euler_off = float((trained.sample(picture, 17, latents=start) - flow).norm())

    assert adams_off < euler_off / 2


def test_adams_is_refused_for_a_distilled_model() -> None:
    with pytest.raises(SamplerUnfit, match="distilled"):
        opened("checkpoint_turbo").sample(PICTURE, 4, sampler="adams")


def test_a_transparent_picture_is_refused(model: ShapeModel) -> None:
    with pytest.raises(EmptyImage):
        model.sample(Image.new("RGBA", (32, 32)))


def test_the_scale_factor_is_the_models_own_affair(model: ShapeModel) -> None:
    vae, latents = model.family.vae, STAGES["sample.noise"]
    with torch.no_grad():
        assert torch.equal(model.tokens(latents), vae(latents / vae.scale_factor))
    assert vae.scale_factor != 1


def test_the_field_is_the_references_and_positive_inside(model: ShapeModel) -> None:
    points = STAGES["geo.points"][None]
    assert close(model.query(points, STAGES["vae.out"]), STAGES["geo.logits"][..., 0])


def test_decode_gives_a_closed_mesh_in_the_models_frame_and_its_report(model: ShapeModel) -> None:
    mesh, report = model.decode(STAGES["vae.out"], resolution=32)
    (same_mesh,) = model.family.vae.latents2mesh(STAGES["vae.out"], octree_resolution=32)
    assert np.array_equal(mesh.vertices, same_mesh.vertices)
    assert np.array_equal(mesh.faces, same_mesh.faces)
    assert report.num_queries > 0
    assert np.abs(mesh.vertices).max() <= model.family.frame.half_extent


def test_a_box_and_a_level_may_be_asked_for(model: ShapeModel) -> None:
    mesh, _ = model.decode(STAGES["vae.out"], resolution=24, bounds=(-0.5, -0.5, -0.5, 0.5, 0.5, 0.5))
    assert np.abs(mesh.vertices).max() <= 0.5
    with pytest.raises(EmptyMesh):
        model.decode(STAGES["vae.out"], resolution=16, level=1e6)


def test_another_execution_runs_the_same_networks(model: ShapeModel) -> None:
    asked: list[int] = []

    def denoise(*arguments: Any) -> torch.Tensor:
        asked.append(1)
        return model.family.dit.velocity(*arguments)

    other = model.running(denoise=denoise)

    assert other.family is model.family
    assert torch.equal(
        other.sample(PICTURE, 3, generator=seeded(1)), model.sample(PICTURE, 3, generator=seeded(1))
    )
    assert len(asked) == 4
    assert model.execution.denoise is None
