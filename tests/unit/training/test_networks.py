"""The tiny model's own parts: what it is trained on, how it is written, how a run keeps its budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("numba")

from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline
from training.data import GRID_CLAMP, GRID_HALF_SIDE, GRID_SIDE, IMAGE_PX, make_item
from training.evaluate import chamfer_distance, truth_mesh
from training.export import header_config, write_model
from training.held_out import REPORT_SEED, WATCH_SEED, examples, intersection_over_union
from training.networks import (
    LATENT_CHANNELS,
    NUM_LATENTS,
    TRUNCATION,
    GridBasis,
    LatentHeads,
    LocalSamples,
    new_conditioner,
    new_dit,
    new_vae,
    target_field,
)
from training.pace import Trainer, averaged_weights
from training.shapes import FAMILY_NAMES, grid_points, random_shape
from training.solids import ELLIPSOID, Primitive, assemble
from training.train_conditioner import random_pixels
from training.train_denoiser import random_times


def test_the_written_file_loads_and_answers_like_the_trained_networks(tmp_path: Path) -> None:
    networks: dict[str, nn.Module] = {"dit": new_dit(), "vae": new_vae(), "conditioner": new_conditioner()}
    path = tmp_path / "tiny.safetensors"
    write_model(networks, 0.8, path)
    pipeline, vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(path, device="cpu")
    pixels = torch.rand(1, 3, IMAGE_PX, IMAGE_PX) * 2 - 1
    with torch.no_grad():
        expected = networks["conditioner"].eval()(pixels)
        assert torch.allclose(pipeline.conditioner(pixels), expected, atol=2e-2)
    assert vae.scale_factor == 0.8
    assert pipeline.config.settings.num_latents == NUM_LATENTS
    assert pipeline.config.settings.model_id == header_config(0.8)["model_id"]
    assert path.stat().st_size < 10e6


def test_the_field_is_positive_inside_zero_on_the_surface_and_saturates() -> None:
    distances = torch.tensor([-1.0, -TRUNCATION / 2, 0.0, 1.0])
    assert target_field(distances).tolist() == [1.0, 0.5, 0.0, -1.0]


def test_local_samples_are_the_distances_around_each_anchor() -> None:
    grid = torch.from_numpy(grid_points(GRID_SIDE, GRID_HALF_SIDE))
    samples = LocalSamples()
    samples.anchors.copy_(torch.rand(NUM_LATENTS, 3) - 0.5)
    for axis in range(3):
        linear = grid[None, :, axis]
        middle = samples(linear).mean(-1)[0] * GRID_CLAMP
        assert torch.allclose(middle, samples.anchors[:, axis], atol=1e-5)


def test_the_basis_keeps_what_varies() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(600, 5, generator=generator)
    grids = hidden @ torch.randn(5, 500, generator=generator) + 3.0
    basis = GridBasis(500)
    basis.fit(grids)
    coordinates = basis(grids)
    assert coordinates[:, 5:].abs().max() < 0.1 * coordinates[:, :5].abs().max()
    assert coordinates.mean(0).abs().max() < 1e-3


def test_each_latent_is_read_from_its_own_pair_of_patches() -> None:
    heads = LatentHeads(8, num_families=3, num_values=NUM_LATENTS * LATENT_CHANNELS)
    tokens = torch.randn(1, 65, 8)
    changed = tokens.clone()
    changed[:, 1 + 2 * 5] += 1.0
    difference = (heads(changed)[2] - heads(tokens)[2]).unflatten(1, (NUM_LATENTS, -1)).abs().sum(-1)[0]
    assert difference.nonzero().flatten().tolist() == [5]


def test_a_fresh_denoiser_stands_still() -> None:
    velocity = new_dit()(torch.randn(1, NUM_LATENTS, LATENT_CHANNELS), torch.rand(1), torch.randn(1, 65, 128))
    assert not velocity.any()


def test_recoloured_pictures_keep_their_white_ground() -> None:
    images = torch.full((4, 6, 6, 3), 255, dtype=torch.uint8)
    images[:, 2:4, 2:4] = 90
    pixels = random_pixels(images, torch.Generator().manual_seed(0))
    assert pixels[:, :, 0].eq(1).all()
    assert pixels.min() >= -1
    assert pixels[:, :, 2, 2].std() > 0


def test_times_lie_between_noise_and_shape_and_crowd_towards_noise() -> None:
    times = random_times(4000, torch.Generator().manual_seed(0))
    assert 0 <= times.min() < times.max() <= 1
    assert times.mean() < 0.45


def test_an_item_holds_a_picture_and_consistent_distances() -> None:
    item = make_item(np.random.default_rng(0), "torus")
    assert item["image"].shape == (IMAGE_PX, IMAGE_PX, 3)
    assert item["image"][0, 0].tolist() == [255, 255, 255]
    assert item["points"].shape == (*item["distances"].shape, 3)
    assert FAMILY_NAMES[item["family"]] == "torus"


def test_held_out_shapes_are_seeded_and_the_two_sets_differ() -> None:
    first, again, other = examples(1, REPORT_SEED), examples(2, REPORT_SEED), examples(1, WATCH_SEED)
    assert [e.shape.family for e in first] == list(FAMILY_NAMES)
    assert np.array_equal(first[3].shape.rows, again[6].shape.rows)
    assert not np.array_equal(first[3].shape.rows, other[3].shape.rows)


def test_overlap_is_one_for_equal_fields_and_a_third_for_half_shifted_ones() -> None:
    field = torch.tensor([[True, True, False, False]])
    assert intersection_over_union(field, field).item() == 1
    assert intersection_over_union(field, field.roll(1, -1)).item() == pytest.approx(1 / 3)


def test_chamfer_distance_of_two_spheres_is_about_the_difference_of_their_radii() -> None:
    sphere = truth_mesh(assemble("sphere", [Primitive(ELLIPSOID, (1.0, 1.0, 1.0))]))
    smaller = type(sphere)(sphere.vertices * np.float32(0.9), sphere.faces)
    assert sphere.is_closed
    assert sphere.volume > 0
    assert chamfer_distance(sphere, smaller) == pytest.approx(0.09, abs=0.01)


def test_truth_meshes_of_thin_shapes_are_closed() -> None:
    mesh = truth_mesh(random_shape(np.random.default_rng(1), "chair"))
    assert mesh.is_closed
    assert mesh.volume > 0


def test_a_stopped_run_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    def run(minutes: float) -> Trainer:
        torch.manual_seed(0)
        network = nn.Linear(4, 4)
        trainer = Trainer({"n": network}, {"n": 1e-2}, minutes, tmp_path / "state.pt")
        trainer.resume()
        for _ in trainer.steps():
            trainer.descend(network(torch.ones(1, 4)).square().sum())
        return trainer

    first = run(0.002)
    second = run(0.004)
    assert second.step > first.step > 0
    assert second.elapsed_s >= 0.24
    assert set(averaged_weights(tmp_path / "state.pt")["n"]) == {"weight", "bias"}
