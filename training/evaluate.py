"""What the shipped model reaches on held-out shapes: `python -m training.evaluate`.

Makes its own shapes (other seeds than training's), renders them at 384 px, and runs the product's pipeline as a
caller would: 10 steps; guidance 5, the default of version 1. Prints overlap, Chamfer distance and whether every mesh
is closed; `--grid` writes a picture of inputs and meshes; `--quick` takes one shape a family.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from hy3dgen.field.geometry import Mesh
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline
from training import mesh_pictures
from training.data import GRID_CLAMP, GRID_HALF_SIDE, GRID_SIDE
from training.held_out import FIELD_HALF_SIDE, FIELD_SIDE, REPORT_SEED, Example, examples
from training.networks import GridEncoder
from training.shapes import FAMILY_NAMES, Shape, grid_points, sdf

MODEL = Path(__file__).parents[1] / "models" / "tiny" / "tiny.safetensors"
ENCODER = MODEL.with_name("encoder.safetensors")
GRID_PICTURE = MODEL.with_name("grid.png")
PICTURE_PX, OCTREE_RESOLUTION = 384, 64
NUM_STEPS, GUIDANCE = 10, 5.0
TRUTH_SIDE, NUM_SURFACE_POINTS = 96, 10_000
TILE_PX, TILES_PER_FAMILY, TILE_COLUMNS = 112, 2, 3
TARGETS = {
    "mean IoU": (0.80, ">="),
    "median IoU": (0.85, ">="),
    "weakest family": (0.55, ">="),
    "reconstruction IoU": (0.90, ">="),
    "Chamfer": (0.040, "<="),
    "closed share": (1.0, ">="),
    "file MB": (10.0, "<="),
}


@dataclass(frozen=True)
class Result:
    """What one held-out shape came out as."""

    family: str
    overlap: float
    reconstruction: float
    chamfer: float
    is_sound: bool
    seconds: float
    tiles: NDArray[np.uint8] | None


def truth_mesh(shape: Shape) -> Mesh:
    """The shape's own surface as a fine mesh."""
    axis = np.linspace(-1, 1, TRUTH_SIDE)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    field = -sdf(shape, points).reshape((TRUTH_SIDE,) * 3)
    vertices, faces, _, _ = marching_cubes(field, 0.0)
    return Mesh((vertices * (axis[1] - axis[0]) - 1).astype(np.float32), faces[:, ::-1].astype(np.int32))


def surface_sample(mesh: Mesh, rng: np.random.Generator) -> NDArray[np.float64]:
    """Points spread evenly by area over a mesh."""
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[rng.choice(len(areas), NUM_SURFACE_POINTS, p=areas / areas.sum())]
    weights = rng.dirichlet((1, 1, 1), NUM_SURFACE_POINTS)
    return np.einsum("nk,nkd->nd", weights, chosen)


def chamfer_distance(found: Mesh, truth: Mesh) -> float:
    """Mean of the two mean distances between evenly sampled surfaces, in model units (cube half side 1)."""
    rng = np.random.default_rng(0)
    a, b = surface_sample(found, rng), surface_sample(truth, rng)
    return float((cKDTree(b).query(a)[0].mean() + cKDTree(a).query(b)[0].mean()) / 2)


class Judge:
    """The loaded model, and how one example is put through it."""

    def __init__(self, model: Path, *, has_tiles: bool) -> None:
        torch.set_num_threads(1)
        self.pipeline, self.vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(model, device="cpu")
        self.has_tiles = has_tiles
        self.points = torch.from_numpy(grid_points(FIELD_SIDE, FIELD_HALF_SIDE))
        self.encoder = load_encoder()

    @torch.no_grad()
    def judge(self, example: Example, number: int) -> Result:
        """The example's result; its noise follows from its number."""
        picture = Image.fromarray(example.picture(PICTURE_PX))
        started = time.perf_counter()
        tokens = self.tokens(picture, number, GUIDANCE)
        mesh = self.vae.latents2mesh(tokens, octree_resolution=OCTREE_RESOLUTION)[0]
        seconds = time.perf_counter() - started
        truth = truth_mesh(example.shape)
        return Result(
            family=example.shape.family,
            overlap=self.overlap(example.shape, tokens),
            reconstruction=self._reconstruction(example.shape),
            chamfer=chamfer_distance(mesh, truth),
            is_sound=mesh.is_closed and mesh.volume > 0,
            seconds=seconds,
            tiles=_tiles(example, picture, mesh, truth) if self.has_tiles else None,
        )

    @torch.no_grad()
    def tokens(self, picture: Image.Image, number: int, guidance: float) -> torch.Tensor:
        """The decoder's tokens [1, N, width] of the shape that the picture gives; the noise follows from the number."""
        latents = self.pipeline(
            picture,
            num_inference_steps=NUM_STEPS,
            guidance_scale=guidance,
            generator=torch.Generator().manual_seed(number),
        )
        return self.vae(latents / self.vae.scale_factor)

    def overlap(self, shape: Shape, tokens: torch.Tensor) -> float:
        """IoU of what the tokens decode to with the true shape, on the grid."""
        found = self.vae.query_geometry(self.points[None], tokens)[0].numpy() > 0
        truth = sdf(shape, self.points.numpy()) < 0
        return float((found & truth).sum() / (found | truth).sum())

    def _reconstruction(self, shape: Shape) -> float:
        grid = sdf(shape, grid_points(GRID_SIDE, GRID_HALF_SIDE)).clip(-GRID_CLAMP, GRID_CLAMP)
        return self.overlap(shape, self.vae(self.encoder.encode(torch.from_numpy(grid)[None].float())))


def load_encoder() -> GridEncoder:
    """The encoder beside the shipped file.

    Raises FileNotFoundError if it is not there.
    """
    encoder = GridEncoder(GRID_SIDE**3)
    encoder.load_state_dict({name: tensor.float() for name, tensor in load_file(ENCODER).items()})
    return encoder.eval()


def _tiles(example: Example, picture: Image.Image, mesh: Mesh, truth: Mesh) -> NDArray[np.uint8]:
    """Input, mesh, truth, mesh from another side, beside each other."""
    view = replace(example.view, fit=1.6)
    aside = replace(view, azimuth_deg=view.azimuth_deg + 65.0, elevation_deg=25.0)
    white = Image.new("RGBA", picture.size, "white")
    shown = (
        Image.alpha_composite(white, picture)
        .convert("RGB")
        .resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)
    )
    meshes = [(mesh, view), (truth, view), (mesh, aside)]
    drawn = [mesh_pictures.picture(m.vertices, m.faces, v, TILE_PX) for m, v in meshes]
    return np.concatenate([np.asarray(shown), *drawn], 1)


_judge: Judge | None = None


def _start(model: Path, has_tiles: bool) -> None:
    global _judge
    _judge = Judge(model, has_tiles=has_tiles)


def _judge_one(job: tuple[int, Example]) -> Result:
    assert _judge is not None
    return _judge.judge(job[1], job[0])


def results_of(model: Path, chosen: list[Example], *, has_tiles: bool, workers: int) -> list[Result]:
    """A result per example, in order."""
    with ProcessPoolExecutor(workers, initializer=_start, initargs=(model, has_tiles)) as pool:
        return list(pool.map(_judge_one, enumerate(chosen)))


def summary(results: list[Result], model: Path) -> dict[str, float]:
    """The numbers that have targets, and a few more."""
    overlap = np.array([r.overlap for r in results])
    return {
        "mean IoU": float(overlap.mean()),
        "median IoU": float(np.median(overlap)),
        "weakest family": min(family_means(results).values()),
        "reconstruction IoU": float(np.mean([r.reconstruction for r in results])),
        "Chamfer": float(np.mean([r.chamfer for r in results])),
        "closed share": float(np.mean([r.is_sound for r in results])),
        "file MB": model.stat().st_size / 1e6,
        "share above 0.5": float((overlap > 0.5).mean()),
        "median seconds to mesh": float(np.median([r.seconds for r in results])),
    }


def family_means(results: Iterable[Result]) -> dict[str, float]:
    """Mean IoU by family."""
    found: dict[str, list[float]] = {}
    for result in results:
        found.setdefault(result.family, []).append(result.overlap)
    return {name: float(np.mean(found[name])) for name in FAMILY_NAMES if name in found}


def print_report(results: list[Result], numbers: dict[str, float]) -> None:
    """Each number with its target, then each family."""
    print(
        f"{len(results)} held-out shapes, {NUM_STEPS} steps, guidance {GUIDANCE:g}, octree {OCTREE_RESOLUTION}"
    )
    for name, value in numbers.items():
        target, side = TARGETS.get(name, (None, ""))
        is_met = target is None or (value >= target if side == ">=" else value <= target)
        verdict = "" if target is None else f"(target {side} {target:g}: {'met' if is_met else 'missed'})"
        print(f"  {name:24s} {value:6.3f} {verdict}")
    for family, mean in sorted(family_means(results).items(), key=lambda pair: pair[1]):
        print(f"  {family:24s} {mean:6.3f}")


def save_grid(results: list[Result], path: Path) -> None:
    """Picture rows: input, mesh, truth, mesh from another side; a few of each family."""
    rows: list[NDArray[np.uint8]] = []
    for family in FAMILY_NAMES:
        mine = [r.tiles for r in results if r.family == family and r.tiles is not None]
        rows += mine[:TILES_PER_FAMILY]
    per_column = -(-len(rows) // TILE_COLUMNS)
    rows += [np.full_like(rows[0], 255)] * (per_column * TILE_COLUMNS - len(rows))
    columns = [np.concatenate(rows[i : i + per_column], 0) for i in range(0, len(rows), per_column)]
    Image.fromarray(np.concatenate(columns, 1)).save(path, optimize=True)


def main() -> None:
    """Prints the report; with `--grid`, writes the pictures too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--per-family", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="one shape a family, no picture")
    parser.add_argument(
        "--grid", type=Path, nargs="?", const=GRID_PICTURE, help="write the picture grid here"
    )
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    chosen = examples(1 if options.quick else options.per_family, REPORT_SEED)
    results = results_of(options.model, chosen, has_tiles=options.grid is not None, workers=options.workers)
    print_report(results, summary(results, options.model))
    if options.grid is not None:
        save_grid(results, options.grid)
        print(f"pictures: {options.grid}")


if __name__ == "__main__":
    main()
