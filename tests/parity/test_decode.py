"""Shape tokens, logits and the mesh equal the reference's, up to its vertex scaling."""

from __future__ import annotations

import numpy as np
import torch
from parity.parity_case import DEVICE, Case, Recorder, close
from scipy.spatial import cKDTree
from torch import Tensor

from hy3dgen.networks.vecset_decoder import fourier_features


def grid_points(resolution: int) -> torch.Tensor:
    axis = torch.linspace(-1.01, 1.01, resolution + 1).to(DEVICE)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(1, -1, 3)


def test_shape_tokens_agree_block_by_block(plain: Case) -> None:
    recorder, vae = Recorder(), plain.vae
    recorder.watch("vae.post_kl", vae.post_kl)
    for index, block in enumerate(vae.blocks):
        recorder.watch(f"vae.resblock_{index}", block)
    assert close(vae(plain.stages["vae.in_latents"]), plain.stages["vae.out"])
    for name, output in recorder.outputs.items():
        assert isinstance(output, Tensor)
        assert close(output, plain.stages[name]), name


def test_fourier_features_and_query_embedding_agree(plain: Case) -> None:
    points = plain.stages["geo.points"][:64]
    features = fourier_features(points[None], 8)
    assert close(features[0], plain.stages["geo.fourier"])
    assert close(plain.vae.geometry.query_proj(features)[0], plain.stages["geo.query_embed"])


def test_logits_at_points_agree(case: Case) -> None:
    logits = case.vae.query_geometry(case.stages["geo.points"][None], case.stages["vae.out"])
    assert close(logits, case.stages["geo.logits"][..., 0])


def test_logits_of_the_dense_grid_agree(plain: Case, turbo: Case) -> None:
    for case, resolution in ((plain, 32), (turbo, 24)):
        logits = case.vae.query_geometry(grid_points(resolution), case.stages["vae.out"])
        expected = case.stages[f"grid.logits_{resolution}"]
        assert close(logits.reshape(expected.shape), expected)


def to_reference_scale(vertices: np.ndarray, resolution: int) -> np.ndarray:
    """The reference divides by R+1 where R cells were asked: its mesh is small and off-centre."""
    return (vertices + 1.01) * (resolution / (resolution + 1)) - 1.01


def test_mesh_vertices_agree_up_to_the_reference_scaling(plain: Case, turbo: Case) -> None:
    for case, resolution, level in ((plain, 32, -1 / 512), (turbo, 24, 0.0)):
        (mesh,) = case.vae.latents2mesh(case.stages["vae.out"], octree_resolution=resolution, mc_level=level)
        ours = to_reference_scale(mesh.vertices, resolution)
        theirs = case.stages["mc.vertices_world"].cpu().numpy()
        # scikit-image adds inner vertices in ambiguous cells; every vertex of ours is one of theirs.
        assert cKDTree(theirs).query(ours)[0].max() < 1e-4
        assert abs(len(ours) - len(theirs)) < 0.05 * len(theirs)


def test_the_whole_line_from_the_picture_agrees(plain: Case) -> None:
    pipeline, vae = plain.pipeline, plain.vae
    latents = pipeline(plain.image, num_inference_steps=5, latents=plain.stages["sample.noise"])
    (mesh,) = vae.latents2mesh(vae(latents / vae.scale_factor), octree_resolution=32)
    theirs = plain.stages["e2e.vertices"].cpu().numpy()
    distances = cKDTree(theirs).query(to_reference_scale(mesh.vertices, 32))[0]
    assert np.quantile(distances, 0.99) < 1e-4
