"""Stage 1: the ShapeVAE. `python -m training.train_vae --minutes 25` -> training/data/vae.pt.

The encoder sees the coarse distance grid, the decoder must give the field at points near the surface. In two of
five batches the decoder lacks a quarter of the latents, so that it forgives a sampler's doubles.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor
from torch.nn import functional

from hy3dgen.networks.vecset_decoder import ShapeVAE
from training.data import FOLDER, GRID_SIDE, Data, load
from training.held_out import WatchSet, by_family, intersection_over_union
from training.networks import NUM_LATENTS, GridBasis, GridEncoder, new_vae, target_field
from training.pace import Trainer, averaged_weights, set_up

PATH = FOLDER / "vae.pt"
BASIS_PATH = FOLDER / "basis.pt"
LATENTS_PATH = FOLDER / "latents.pt"
BATCH, POINTS = 48, 256
RATE = 2e-3
KL_WEIGHT = 1e-3
NUM_WITHHELD = NUM_LATENTS // 4
WATCH_EVERY_STEPS = 200


def basis_of(data: Data) -> GridBasis:
    """The basis of the training grids; made by whoever comes first, then read from its file."""
    basis = GridBasis(GRID_SIDE**3)
    if BASIS_PATH.exists():
        basis.load_state_dict(torch.load(BASIS_PATH, weights_only=True))
    else:
        basis.fit(data.grid[::3].float())
        torch.save(basis.state_dict(), BASIS_PATH)
    return basis


def spread_anchors(data: Data, seed: int) -> Tensor:
    """Anchors [N, 3]: the means of NUM_LATENTS clusters of points near the training surfaces."""
    points, distances = data.points[::40].float().flatten(0, 1), data.distances[::40].flatten()
    near = points[distances.abs() < 0.05][::20].numpy()
    means, _ = kmeans2(near, NUM_LATENTS, minit="++", seed=seed)
    return torch.from_numpy(means)


def new_encoder(data: Data, seed: int) -> GridEncoder:
    """An encoder with fresh weights, the basis and the anchors."""
    encoder = GridEncoder(GRID_SIDE**3)
    encoder.basis.load_state_dict(basis_of(data).state_dict())
    encoder.samples.anchors.copy_(spread_anchors(data, seed))
    return encoder


@dataclass
class VaeLoss:
    """The loss of a batch of shapes."""

    data: Data
    coordinates: Tensor
    local: Tensor
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.decode = torch.compile(decode, dynamic=False)

    def __call__(self, encoder: GridEncoder, vae: ShapeVAE) -> Tensor:
        """Squared error of the field plus the weighted divergence of the latents, for a random batch."""
        index = torch.randint(len(self.data), (BATCH,), generator=self.generator)
        mean, log_variance = encoder(self.coordinates[index], self.local[index].float())
        noise = torch.randn(mean.shape, generator=self.generator)
        latents = self._withhold(mean + noise * (0.5 * log_variance).exp())
        points, field = batch_of_points(self.data, index, self.generator, POINTS)
        error = functional.mse_loss(self.decode(vae, points, latents), field)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return error + KL_WEIGHT * divergence

    def _withhold(self, latents: Tensor) -> Tensor:
        if torch.rand((), generator=self.generator) < 0.6:
            return latents
        return latents[:, torch.randperm(NUM_LATENTS, generator=self.generator)[NUM_WITHHELD:]]


def decode(vae: ShapeVAE, points: Tensor, latents: Tensor) -> Tensor:
    """The field at points, from latents that are not scaled."""
    return vae.query_geometry(points, vae(latents))


def batch_of_points(
    data: Data, index: Tensor, generator: torch.Generator, count: int
) -> tuple[Tensor, Tensor]:
    """Points [batch, count, 3] and the target field there: a random run of each shape's stored points."""
    start = int(torch.randint(data.points.shape[1] - count + 1, (), generator=generator))
    run = slice(start, start + count)
    return data.points[index, run].float(), target_field(data.distances[index, run].float())


@torch.no_grad()
def decoded_overlap(vae: ShapeVAE, latents: Tensor, watch: WatchSet) -> Tensor:
    """IoU [n] of decoded latents (not scaled) with the watch set's truth."""
    fields = [vae.query_geometry(watch.points[None], vae(one[None])) for one in latents]
    return intersection_over_union(torch.cat(fields) > 0, watch.inside)


@torch.no_grad()
def reconstruction_overlap(encoder: GridEncoder, vae: ShapeVAE, watch: WatchSet) -> Tensor:
    """IoU [n] of encoded and decoded shapes with the truth."""
    return decoded_overlap(vae, encoder.encode(watch.grids), watch)


def load_vae() -> tuple[GridEncoder, ShapeVAE]:
    """Encoder and decoder of the finished stage, averaged weights."""
    weights = averaged_weights(PATH)
    encoder, vae = GridEncoder(GRID_SIDE**3), new_vae()
    encoder.load_state_dict(weights["encoder"])
    vae.load_state_dict(weights["vae"])
    return encoder.eval(), vae.eval()


@torch.no_grad()
def training_latents(data: Data) -> Tensor:
    """Latents [n, N, C] of every training shape by the finished encoder, not scaled; kept in a file."""
    if LATENTS_PATH.exists() and LATENTS_PATH.stat().st_mtime > PATH.stat().st_mtime:
        latents: Tensor = torch.load(LATENTS_PATH, weights_only=True)
        return latents
    latents = load_vae()[0].encode(data.grid)
    torch.save(latents, LATENTS_PATH)
    return latents


def main() -> None:
    """Trains until the minutes are used up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    generator = set_up(options.seed)
    data, watch = load(("grid", "points", "distances")), WatchSet.make()
    encoder, vae = new_encoder(data, options.seed), new_vae()
    parts = data.grid.split(2048)
    coordinates, local = (
        [encoder.basis(part) for part in parts],
        [encoder.samples(part).half() for part in parts],
    )
    loss_of = VaeLoss(data, torch.cat(coordinates), torch.cat(local), generator)
    trainer = Trainer({"encoder": encoder, "vae": vae}, {"encoder": RATE, "vae": RATE}, options.minutes, PATH)
    print("resumed" if trainer.resume() else "fresh", flush=True)
    for step in trainer.steps():
        loss = loss_of(encoder, vae)
        trainer.descend(loss)
        if step % WATCH_EVERY_STEPS == 0:
            averages = [trainer.averages[name].network for name in ("encoder", "vae")]
            overlap = reconstruction_overlap(averages[0], averages[1], watch)  # type: ignore[arg-type]
            text = f"loss {loss:.4f}, IoU {overlap.mean():.3f}, {by_family(overlap, watch.family)}"
            print(f"{trainer.elapsed_s:5.0f} s, step {step}: {text}", flush=True)
    overlap = reconstruction_overlap(*load_vae(), watch)
    print(f"reconstruction IoU {overlap.mean():.3f}: {by_family(overlap, watch.family)}")


if __name__ == "__main__":
    main()
