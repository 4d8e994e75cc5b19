"""Further training: it begins at the shipped weights, and a mirrored batch is the mirrored shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline
from training import data as usual_data
from training import train_further
from training.data import GRID_CLAMP, GRID_HALF_SIDE, GRID_SIDE, IMAGE_PX
from training.evaluate import MODEL, load_encoder
from training.shapes import grid_points, random_shape, sdf
from training.solids import Shape
from training.train_further import Pictures, mirrored_grids, random_batch, shipped_networks
from training.wide_data import NUM_PICTURES, make_item


def coarse_grid(shape: Shape, *, is_mirrored: bool = False) -> torch.Tensor:
    points = grid_points(GRID_SIDE, GRID_HALF_SIDE) * ((-1, 1, 1) if is_mirrored else (1, 1, 1))
    return torch.from_numpy(sdf(shape, points).clip(-GRID_CLAMP, GRID_CLAMP)).float()[None]


def test_it_begins_at_the_networks_of_the_file() -> None:
    networks, scale_factor = shipped_networks()
    pipeline, vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(MODEL, device="cpu")
    pixels = torch.rand(1, 3, IMAGE_PX, IMAGE_PX) * 2 - 1
    with torch.no_grad():
        assert torch.equal(networks["conditioner"].eval()(pixels), pipeline.conditioner(pixels))
    assert scale_factor == vae.scale_factor
    assert all(p.requires_grad for n in networks.values() for p in n.parameters())


def test_a_mirrored_grid_is_the_grid_of_the_mirrored_shape() -> None:
    mug = random_shape(np.random.default_rng(0), "mug")
    mirrored = mirrored_grids(coarse_grid(mug))
    assert torch.allclose(mirrored, coarse_grid(mug, is_mirrored=True), atol=1e-5)
    assert not torch.allclose(mirrored, coarse_grid(mug), atol=1e-2)


def write(path: Path, items: list[dict[str, Any]]) -> None:
    arrays: dict[str, Any] = {name: np.stack([item[name] for item in items]) for name in items[0]}
    np.savez(path, **arrays)


def written_pictures(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Pictures:
    """One usual table and two wide mugs, written and read again."""
    monkeypatch.setattr(train_further, "FOLDER", folder)
    monkeypatch.setattr(train_further, "chunk_path", lambda index: folder / f"wide_{index}.npz")
    write(folder / "chunk_000.npz", [usual_data.make_item(np.random.default_rng(5), "table")])
    items = [make_item(np.random.default_rng(seed), "mug") for seed in range(2)]
    assert items[0]["image"].shape == (NUM_PICTURES, IMAGE_PX, IMAGE_PX, 3)
    write(folder / "wide_0.npz", items)
    return Pictures.load(load_encoder(), shipped_networks()[1])


def test_each_picture_knows_its_shape_and_usual_shapes_get_their_share(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = written_pictures(monkeypatch, tmp_path)
    assert data.shape.tolist() == [0, *[1] * NUM_PICTURES, *[2] * NUM_PICTURES]
    assert len(data.image) == len(data.shape)
    monkeypatch.setattr(train_further, "BATCH", 4000)
    drawn = data.draw(torch.Generator().manual_seed(0))
    assert 0.35 < (drawn == 0).float().mean() < 0.45
    assert set(drawn.tolist()) == set(range(len(data.shape)))


def test_a_batch_decodes_to_its_field_mirrored_or_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = written_pictures(monkeypatch, tmp_path)
    networks, scale_factor = shipped_networks()
    vae = networks["vae"].eval()
    for seed in range(4):
        batch = random_batch(data, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            found = vae.query_geometry(batch.points, vae(batch.latents / scale_factor))  # type: ignore[operator]
        is_sure = batch.field.abs() > 0.5
        assert ((found > 0) == (batch.field > 0))[is_sure].float().mean() > 0.95
