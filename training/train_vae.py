"""Stage 1: the ShapeVAE. `python -m training.train_vae --minutes 25` -> training/data/vae.pt.

The encoder sees the coarse distance grid, the decoder must give the field at points near the surface. In two of
five batches the decoder lacks a quarter of the latents, so that it forgives a sampler's doubles.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hy3dgen.shape_vae import ShapeVAE
from training.data import FOLDER, Data, load
from training.held_out import WatchSet, by_family, intersection_over_union
from training.networks import NUM_LATENTS, GridBasis, GridEncoder, new_vae, target_field
from training.pace import Trainer, averaged_weights, set_up

PATH = FOLDER / "vae.pt"
BASIS_PATH = FOLDER / "basis.pt"
BATCH, POINTS = 48, 256
RATE = 2e-3
KL_WEIGHT = 1e-3
NUM_WITHHELD = NUM_LATENTS // 4
WATCH_EVERY_STEPS = 200


def basis_of(data: Data) -> GridBasis:
    """The basis of the training grids; made by whoever comes first, then read from its file."""
    basis = GridBasis(data.grid.shape[1] if data.grid.ndim == 2 else 4096)
    if BASIS_PATH.exists():
        basis.load_state_dict(torch.load(BASIS_PATH, weights_only=True))
    else:
        basis.fit(data.grid[::3].float())
        torch.save(basis.state_dict(), BASIS_PATH)
    return basis


@dataclass
class VaeLoss:
    """The loss of a batch of shapes."""

    data: Data
    coordinates: Tensor
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.decode = torch.compile(decode, dynamic=False)

    def __call__(self, encoder: GridEncoder, vae: ShapeVAE) -> Tensor:
        """Squared error of the field plus the weighted divergence of the latents, for a random batch."""
        index = torch.randint(len(self.data), (BATCH,), generator=self.generator)
        mean, log_variance = encoder(self.coordinates[index])
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


def batch_of_points(data: Data, index: Tensor, generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
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
def reconstruction_overlap(basis: GridBasis, encoder: GridEncoder, vae: ShapeVAE, watch: WatchSet) -> Tensor:
    """IoU [n] of encoded and decoded shapes with the truth."""
    return decoded_overlap(vae, encoder(basis(watch.grids))[0], watch)


def load_vae() -> tuple[GridEncoder, ShapeVAE]:
    """Encoder and decoder of the finished stage, averaged weights."""
    weights = averaged_weights(PATH)
    encoder, vae = GridEncoder(), new_vae()
    encoder.load_state_dict(weights["encoder"])
    vae.load_state_dict(weights["vae"])
    return encoder.eval(), vae.eval()


def main() -> None:
    """Trains until the minutes are used up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    generator = set_up(options.seed)
    data, watch = load(("grid", "points", "distances")), WatchSet.make()
    basis = basis_of(data)
    loss_of = VaeLoss(data, torch.cat([basis(part) for part in data.grid.split(4096)]), generator)
    encoder, vae = GridEncoder(), new_vae()
    trainer = Trainer({"encoder": encoder, "vae": vae}, {"encoder": RATE, "vae": RATE}, options.minutes, PATH)
    print("resumed" if trainer.resume() else "fresh", flush=True)
    for step in trainer.steps():
        loss = loss_of(encoder, vae)
        trainer.descend(loss)
        if step % WATCH_EVERY_STEPS == 0:
            averages = [trainer.averages[name].network for name in ("encoder", "vae")]
            overlap = reconstruction_overlap(basis, averages[0], averages[1], watch)  # type: ignore[arg-type]
            text = f"loss {loss:.4f}, IoU {overlap.mean():.3f}, {by_family(overlap, watch.family)}"
            print(f"{trainer.elapsed_s:5.0f} s, step {step}: {text}", flush=True)
    overlap = reconstruction_overlap(basis, *load_vae(), watch)
    print(f"reconstruction IoU {overlap.mean():.3f}: {by_family(overlap, watch.family)}")


if __name__ == "__main__":
    main()
