"""Stage 2: the picture encoder alone. `python -m training.train_conditioner --target grid --minutes 25`.

Learning to see through the denoiser's loss is slow, so the conditioner learns it by plain regression first: the
family, and the shape as numbers. `--target grid` needs no VAE and can run beside stage 1; `--target latents`
goes on from there with the latents the denoiser will have to make.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hy3dgen.networks.image_encoder import Conditioner
from training.data import FOLDER, Data, load
from training.held_out import WatchSet, by_family
from training.networks import (
    LATENT_CHANNELS,
    NUM_COMPONENTS,
    NUM_LATENTS,
    GridBasis,
    LatentHeads,
    new_conditioner,
)
from training.pace import Trainer, averaged_weights, set_up
from training.shapes import FAMILY_NAMES
from training.train_vae import basis_of, decoded_overlap, load_vae, training_latents

PATHS = {target: FOLDER / f"conditioner_{target}.pt" for target in ("grid", "latents")}
BATCH = 64
RATE = 1e-3
FAMILY_WEIGHT = 0.1
WATCH_EVERY_STEPS = 100


def random_pixels(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures uint8 [n, S, S, 3] as pixels [n, 3, S, S] in -1..1, mostly with other colours; white stays white."""
    ink = 255 - images.permute(0, 3, 1, 2).float()
    gain = torch.empty(len(images), 3, 1, 1).uniform_(0.55, 1.35, generator=generator)
    ink = (ink * gain).clamp_(max=255)[:, torch.randperm(3, generator=generator)]
    return 1 - ink / 127.5


def heads_loss(heads: LatentHeads, tokens: Tensor, family: Tensor, values: Tensor) -> Tensor:
    """Squared error of both readings of the values [batch, num_values], plus the weighted family loss."""
    logits, pooled, paired = heads(tokens)
    error = functional.mse_loss(pooled, values) + functional.mse_loss(paired, values)
    return error + FAMILY_WEIGHT * functional.cross_entropy(logits, family)


@dataclass
class Targets:
    """The values that pictures should reveal: for the training data and for the watch set."""

    train: Tensor
    watch: Tensor

    @classmethod
    @torch.no_grad()
    def make(cls, kind: str, basis: GridBasis, data: Data, watch: WatchSet) -> Targets:
        """Grid coordinates, or latents of unit size, flattened to [n, num_values]."""
        if kind == "grid":
            return cls(torch.cat([basis(part) for part in data.grid.split(4096)]), basis(watch.grids))
        latents = training_latents(data).flatten(1)
        held_out = load_vae()[0].encode(watch.grids).flatten(1)
        return cls(latents / latents.std(), held_out / latents.std())


@torch.no_grad()
def report(conditioner: nn.Module, heads: nn.Module, watch: WatchSet, values: Tensor) -> str:
    """Share of explained variance of both readings, and family accuracy, on the watch set."""
    logits, pooled, paired = heads(conditioner(watch.pixels))
    variance = (values - values.mean(0)).square().mean()
    explained = [1 - float((reading - values).square().mean() / variance) for reading in (pooled, paired)]
    accuracy = float((logits.argmax(-1) == watch.family).float().mean())
    return f"R2 pooled {explained[0]:.3f}, paired {explained[1]:.3f}, family {accuracy:.3f}"


@torch.no_grad()
def regression_overlap(conditioner: nn.Module, heads: nn.Module, watch: WatchSet, scale: Tensor) -> str:
    """IoU of the latents read straight off the pictures, by family."""
    readings = heads(conditioner(watch.pixels))
    latents = (readings[1] + readings[2]).div(2).unflatten(-1, (NUM_LATENTS, LATENT_CHANNELS)) * scale
    overlap = decoded_overlap(load_vae()[1], latents, watch)
    return f"IoU of the regression {overlap.mean():.3f}: {by_family(overlap, watch.family)}"


def load_conditioner(target: str) -> Conditioner:
    """The conditioner of a finished stage, averaged weights."""
    conditioner = new_conditioner()
    conditioner.load_state_dict(averaged_weights(PATHS[target])["conditioner"])
    return conditioner


def main() -> None:
    """Trains until the minutes are used up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=sorted(PATHS), default="grid")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    generator = set_up(options.seed)
    data, watch = load(("image", "grid")), WatchSet.make()
    targets = Targets.make(options.target, basis_of(data), data, watch)
    conditioner = new_conditioner() if options.target == "grid" else load_conditioner("grid")
    num_values = NUM_COMPONENTS if options.target == "grid" else NUM_LATENTS * LATENT_CHANNELS
    heads = LatentHeads(conditioner.config.width, len(FAMILY_NAMES), num_values)
    trainer = Trainer(
        {"conditioner": conditioner, "heads": heads},
        {"conditioner": options.rate, "heads": options.rate},
        options.minutes,
        PATHS[options.target],
    )
    encode = torch.compile(conditioner, dynamic=False)
    print("resumed" if trainer.resume() else "fresh", flush=True)
    for step in trainer.steps():
        index = torch.randint(len(data), (BATCH,), generator=generator)
        tokens = encode(random_pixels(data.image[index], generator))
        loss = heads_loss(heads, tokens, data.family[index], targets.train[index])
        trainer.descend(loss)
        if step % WATCH_EVERY_STEPS == 0:
            averages = [trainer.averages[name].network for name in ("conditioner", "heads")]
            text = report(averages[0], averages[1], watch, targets.watch)
            print(f"{trainer.elapsed_s:5.0f} s, step {step}: loss {loss:.4f}, {text}", flush=True)


if __name__ == "__main__":
    main()
