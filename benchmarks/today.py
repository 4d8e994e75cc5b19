"""The pattern that users run today: eager, the guidance pair as one batch, every call whole, every point asked.

On our own modules: what those do better inside a call is not counted in our favour.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hy3dgen.families.hunyuan3d_2 import FRAME
from hy3dgen.families.variants import GUIDANCE_SCALE
from hy3dgen.networks.stream_dit import DiT
from hy3dgen.networks.vecset_decoder import GeometryDecoder
from hy3dgen.sampling import times_for
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline

POINTS_PER_CALL = 8000


def velocity(dit: DiT, latents: Tensor, time: float, context: Tensor) -> Tensor:
    """One step's network call: the pair in one batch, or one call where guidance is an input."""
    if dit.config.has_guidance:
        scale = torch.full((1,), GUIDANCE_SCALE, device=latents.device)
        return dit(latents, torch.full((1,), time, device=latents.device), context, scale)
    pair = torch.cat([context, torch.zeros_like(context)])
    times = torch.full((2,), time, device=latents.device)
    conditional, unconditional = dit(latents.repeat(2, 1, 1), times, pair).chunk(2)
    return unconditional + GUIDANCE_SCALE * (conditional - unconditional)


@torch.no_grad()
def denoise(
    pipeline: Hunyuan3DDiTFlowMatchingPipeline, context: Tensor, latents: Tensor, steps: int
) -> Tensor:
    """As many network calls as steps; the last one moves nothing."""
    settings = pipeline.config.settings
    times = times_for(settings.schedule, steps, settings.consistency_timesteps).tolist()
    for now, after in pairwise(times):
        latents = latents + (after - now) * velocity(pipeline.dit, latents, now, context)
    return latents


@torch.no_grad()
def dense_logits(decoder: GeometryDecoder, tokens: Tensor, resolution: int) -> NDArray[np.float32]:
    """Every point of the grid, 8000 a call, keys and values anew in each; coordinates in the tokens' numbers."""
    axis = torch.from_numpy(
        np.linspace(-FRAME.half_extent, FRAME.half_extent, resolution + 1, dtype=np.float32)
    )
    points = torch.cartesian_prod(axis, axis, axis).to(tokens.device, tokens.dtype)
    logits = [decoder(part[None], *decoder.keys_values(tokens))[0] for part in points.split(POINTS_PER_CALL)]
    return torch.cat(logits).view((resolution + 1,) * 3).float().cpu().numpy()


def surface(logits: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vertices in model units and outward faces, by scikit-image; scaled by the cells, to be comparable with ours."""
    from skimage.measure import marching_cubes

    vertices, faces, _, _ = marching_cubes(logits, FRAME.iso)
    cells = logits.shape[0] - 1
    return vertices / cells * 2 * FRAME.half_extent - FRAME.half_extent, faces[:, ::-1]


def write(vertices: NDArray[np.float32], faces: NDArray[np.int32], path: Path) -> None:
    """An STL file, by trimesh."""
    import trimesh

    trimesh.Trimesh(vertices, faces).export(path)
