"""Every stage of every family behind `open_model` equals the reference's, and so do its time tables and pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from parity.family_case import NAMES, FamilyCase, family_case
from parity.parity_case import DEVICE, Recorder, close, same
from support.dense_twin import dense_field
from support.mesh_checks import assert_same_cells, assert_same_surface
from torch import Tensor, nn
from torch.nn import functional

from hy3dgen.field.decode_options import DecodeOptions
from hy3dgen.field.field_query import FieldQuery
from hy3dgen.field.geometry import Box
from hy3dgen.field.octree import decode_field
from hy3dgen.networks.layers import time_waves
from hy3dgen.networks.vecset_decoder import fourier_features
from hy3dgen.sampling import flow_match_sigmas, flow_times, rectified_sigmas, thousandths_left, times_of

LATENT_TOLERANCE = 2e-4
CALL = 2048


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest) -> FamilyCase:
    return family_case(request.param)


def tau_of(case: FamilyCase, time: Tensor) -> Tensor:
    """The sampler's time for the network's own."""
    return time if case.name == "hunyuan3d_21" else 1 - time.double() / 1000


def towards_shape(case: FamilyCase, velocity: Tensor) -> Tensor:
    return -velocity if case.name == "step1x_3d" else velocity


def test_the_encoder_sees_the_reference_s_pixels_exactly(case: FamilyCase) -> None:
    seen = case.model.family.conditioner.normalise(case.model.prepare_image(case.image))
    assert same(seen, case.stages["cond.pixel_values"])


@pytest.mark.parametrize(
    ("name", "pictures"),
    [("triposg", ["rgba"]), ("step1x_3d", ["wide", "tall", "square"])],
)
def test_prepared_pictures_are_exact(name: str, pictures: list[str]) -> None:
    case = family_case(name)
    for picture in pictures:
        prepared = case.model.prepare_image(case.picture(f"image_{picture}.png"))
        assert same(prepared, case.prepared(f"prepared_{picture}.png")), picture


def test_a_hard_matte_is_framed_as_by_the_reference_once_it_is_cut_to_its_largest_part() -> None:
    """The reference's way for pictures without alpha. What is cropped by it goes through ours to the same pixels."""
    case = family_case("triposg")
    picture = np.array(case.picture("image_rgb.png").convert("RGB"))
    mask = hard_matte(np.array(case.picture("matte_1024.png").convert("L")), picture.shape[:2])
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    left, upper, width, height = cv2.boundingRect(max(outlines, key=cv2.contourArea))
    cut_out = np.dstack([picture, mask])[upper : upper + height, left : left + width]
    assert same(case.model.prepare_image(cut_out), case.prepared("prepared_rgb.png"))


def hard_matte(matte: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A soft matte as 0 and 255: resized, stretched to its range, cut by Otsu, parts under 200 px dropped."""
    resized = functional.interpolate(
        torch.from_numpy(matte)[None, None].float() / 255, size=size, mode="bilinear", antialias=True
    )[0, 0]
    levels = 255 * (resized - resized.min()) / (resized.max() - resized.min())
    _, mask = cv2.threshold(levels.numpy().astype(np.uint8), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    _, parts, facts, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return np.where(facts[parts, cv2.CC_STAT_AREA] < 200, 0, mask).astype(np.uint8)


def test_the_prepared_picture_of_2_1_is_exact() -> None:
    case = family_case("hunyuan3d_21")
    assert same(case.model.prepare_image(case.image), case.stages["pre.image"])


def test_picture_tokens_agree(case: FamilyCase) -> None:
    assert close(case.model.encode(case.image), case.context)


def test_picture_tokens_agree_for_every_shape_of_picture() -> None:
    case = family_case("step1x_3d")
    for picture in ("tall", "square"):
        tokens = case.model.encode(case.picture(f"image_{picture}.png"))
        assert close(tokens, case.stages[f"cond.{picture}.tokens"]), picture


def test_the_encoder_agrees_layer_by_layer(case: FamilyCase) -> None:
    recorder, conditioner = Recorder(), case.model.family.conditioner
    dino: Any = conditioner.dino
    recorder.watch("cond.after_layer_0", dino.encoder.layer[0])
    if conditioner.registers is None:
        recorder.watch("cond.embeddings", conditioner.dino.embeddings)
    else:
        recorder.watch("cond.all_tokens", conditioner.dino.layernorm)
    case.model.encode(case.image)
    assert_recorded(recorder, case)


def test_the_velocity_agrees_for_two_times_at_once(case: FamilyCase) -> None:
    stages = case.stages
    tau = tau_of(case, stages[case.names.time])
    velocity = case.model.velocity(stages["dit.x"], tau, stages["dit.context"])
    assert close(velocity, towards_shape(case, stages["dit.velocity"]))


def test_the_velocity_agrees_at_single_times(case: FamilyCase) -> None:
    found = [name for name in case.stages if name.startswith("dit.velocity_t")]
    assert len(found) >= 2
    for name in found:
        time = torch.tensor(float(name.removeprefix("dit.velocity_t")))
        velocity = case.model.velocity(case.stages["dit.x"][:1], float(tau_of(case, time)), case.context)
        assert close(velocity, towards_shape(case, case.stages[name])), name


@pytest.mark.parametrize("name", ["hunyuan3d_21", "triposg"])
def test_the_denoiser_with_skips_agrees_step_by_step(name: str) -> None:
    case, recorder = family_case(name), Recorder()
    dit: Any = case.model.family.dit
    stages = case.stages
    latent_in, final_norm = (
        ("x_embedder", "norm_final") if name == "hunyuan3d_21" else ("proj_in", "norm_out")
    )
    recorder.watch(f"dit.{latent_in}", dit.latent_in)
    recorder.watch(f"dit.{final_norm}", dit.final_norm)
    for number, block in enumerate(dit.blocks):
        recorder.watch(f"dit.block_{number}", block)
        watch_if(recorder, stages, f"dit.block_{number}.skip_merged", block.merge)
        for names, module in (
            (("attn1", "self_attn"), block.attention),
            (("attn2", "cross_attn"), block.cross_attention),
            (("mlp", "ff", "moe.out"), block.feed_forward),
        ):
            for own in names:
                watch_if(recorder, stages, f"dit.block_{number}.{own}", module)
    dit(stages["dit.x"], stages[case.names.time], stages["dit.context"])
    assert len(recorder.outputs) > 12
    assert_recorded(recorder, case)


def test_the_experts_are_chosen_and_weighed_as_by_the_reference() -> None:
    case = family_case("hunyuan3d_21")
    for number in (5, 6):
        dit: Any = case.model.family.dit
        experts = dit.blocks[number].feed_forward
        name = f"dit.block_{number}.moe"
        seen = case.stages[f"{name}.in"]
        weights, chosen = experts.route(seen.flatten(0, 1))
        assert same(chosen.view(2, -1, 2), case.stages[f"{name}.topk_index"])
        assert close(weights.view(2, -1, 2), case.stages[f"{name}.topk_weight"])
        assert close(experts.shared(seen), case.stages[f"{name}.shared"])


def test_the_streams_of_step1x_agree_step_by_step() -> None:
    case, recorder = family_case("step1x_3d"), Recorder()
    dit: Any = case.model.family.dit
    stages = case.stages
    recorder.watch("dit.time_token", dit.time_in)
    recorder.watch("dit.proj_in", dit.latent_in)
    recorder.watch("dit.context_in", dit.context_in)
    for number, block in enumerate(dit.double_blocks):
        recorder.watch(f"dit.double_{number}", block)
    for number, block in enumerate(dit.single_blocks):
        recorder.watch(f"dit.single_{number}", block)
    dit(stages["dit.x"], stages["dit.timestep"], stages["dit.context"])
    for name, output in recorder.outputs.items():
        pair = {".latent": output[0], ".context": output[1]} if isinstance(output, tuple) else {"": output}
        for side, tensor in pair.items():
            assert close(tensor, stages[name + side]), (name, side)


def test_time_features_agree(case: FamilyCase) -> None:
    name = "dit.timestep_embedding" if case.name == "hunyuan3d_21" else "dit.time_features"
    expected = case.stages[name]
    assert close(time_waves(case.stages[case.names.time], expected.shape[-1]), expected)


def test_the_side_without_a_picture_is_exact_for_less(case: FamilyCase) -> None:
    """What guidance asks of the second side equals asking it with a context of zeros."""
    dit: Any = case.model.family.dit
    stages = case.stages
    (num_tokens,) = {case.context.shape[1]}
    time, expected = stages[case.names.time][1:], stages["dit.velocity"][1:]
    latents = stages["dit.x"][1:]
    if case.name == "step1x_3d":
        blank = dit.context_in(torch.zeros_like(case.context[:, :1]))
        found = dit.velocity(latents, blank, dit.modulations(time), num_tokens)
    else:
        found = dit.velocity(latents, time, None)
    assert close(found, expected)


TABLES: dict[str, Callable[[int], Tensor]] = {
    "hunyuan3d_21": flow_times,
    "triposg": rectified_sigmas,
    "step1x_3d": flow_match_sigmas,
}


def test_time_tables_are_exact(case: FamilyCase) -> None:
    prefix = "sched.flow.sigmas_" if case.name == "hunyuan3d_21" else "sched.sigmas_"
    names = [name for name in case.stages if name.startswith(prefix)]
    assert len(names) >= 5
    for name in names:
        num_steps = int(name.removeprefix(prefix))
        sigmas = TABLES[case.name](num_steps)
        assert same(sigmas, case.stages[name]), name
        if case.name != "hunyuan3d_21":
            timesteps = thousandths_left(times_of(sigmas))[:-1]
            assert same(timesteps, case.stages[f"sched.timesteps_{num_steps}"]), name


def test_a_shifted_table_is_exact() -> None:
    stages = family_case("triposg").stages
    for num_steps in (5, 12):
        assert same(rectified_sigmas(num_steps, 3.0), stages[f"sched.shift3.sigmas_{num_steps}"])


def test_sampled_latents_agree_for_every_number_of_steps_and_guidance(case: FamilyCase) -> None:
    assert len(case.samples()) >= 4
    for name, num_steps, guidance in case.samples():
        latents = case.model.sample(
            case.image,
            num_inference_steps=num_steps,
            guidance_scale=guidance,
            latents=case.stages["sample.noise"],
        )
        assert close(latents, case.stages[name], LATENT_TOLERANCE), name


def test_shape_tokens_agree_block_by_block(case: FamilyCase) -> None:
    recorder, vae, stages = Recorder(), case.model.family.vae, case.stages
    entry = "post_quant" if case.name == "triposg" else "post_kl"
    recorder.watch(f"vae.{entry}", vae.post_kl)
    for number, block in enumerate(vae.blocks):
        recorder.watch(f"{case.names.token_blocks}{number}", block)
    latents = stages["vae.in_latents"]
    if case.name == "hunyuan3d_21":  # These fixtures keep them divided already.
        latents = latents * vae.scale_factor
    assert close(case.model.tokens(latents), case.tokens)
    assert_recorded(recorder, case)


def test_the_field_at_points_agrees_and_is_positive_inside(case: FamilyCase) -> None:
    points = case.stages[case.names.points].reshape(1, -1, 3)
    expected = case.names.field_sign * case.stages[case.names.field][..., 0]
    assert close(case.model.query(points, case.tokens), expected)


def test_features_and_embeddings_of_points_agree(case: FamilyCase) -> None:
    points = case.stages[case.names.points].reshape(1, -1, 3)[:, :64]
    features = fourier_features(points, 8)
    of_features, of_queries = (
        ("geo.fourier", "geo.query_embed")
        if case.name == "hunyuan3d_21"
        else ("field.fourier_64", "field.query_embed_64")
    )
    assert close(features, case.stages[of_features].reshape(features.shape))
    queries = case.model.family.vae.geometry.query_proj(features)
    assert close(queries, case.stages[of_queries].reshape(queries.shape))


def test_the_dense_grid_agrees(case: FamilyCase) -> None:
    half, cells = case.model.family.frame.half_extent, case.names.cells
    axis = torch.linspace(-half, half, cells + 1).to(DEVICE)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(1, -1, 3)
    expected = case.names.field_sign * case.stages[case.names.grid].flatten()
    assert close(case.model.query(points, case.tokens)[0], expected)


@pytest.mark.parametrize("resolution", [32, 70])
def test_sparse_equals_dense(case: FamilyCase, resolution: int) -> None:
    model, tokens = case.model, case.tokens
    box = Box.from_bounds(model.family.frame.half_extent)

    def ask(points: Tensor) -> Tensor:
        return model.query(points.to(DEVICE)[None], tokens)[0]

    options = DecodeOptions(max_points_per_call=CALL)
    found = decode_field(ask, box, resolution, iso=0.0, device=DEVICE, options=options)
    dense = dense_field(FieldQuery(ask, CALL), box, resolution)
    assert len(found.cells) > 0
    assert_same_cells(found, dense)
    assert_same_surface(found, dense)


def test_the_mesh_of_a_picture_is_closed_and_lies_in_the_family_s_box(case: FamilyCase) -> None:
    model = case.model
    latents = model.sample(case.image, num_inference_steps=5, latents=case.stages["sample.noise"])
    mesh, report = model.decode(model.tokens(latents), resolution=24)
    assert abs(mesh.vertices).max() <= model.family.frame.half_extent
    assert report.num_queries > 0
    # Random weights fill the corners of their boxes, which is what the check is there to tell.
    assert any("corners" in warning for warning in report.warnings)


def watch_if(recorder: Recorder, stages: dict[str, Tensor], name: str, module: nn.Module | None) -> None:
    if name in stages and module is not None:
        recorder.watch(name, module)


def assert_recorded(recorder: Recorder, case: FamilyCase) -> None:
    for name, output in recorder.outputs.items():
        tensor = output[0] if isinstance(output, tuple) else output
        assert close(tensor, case.stages[name]), name
