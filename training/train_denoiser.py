"""Stage 3: denoiser, conditioner and decoder together. `python -m training.train_denoiser --minutes 45`.

Flow matching to the encoder's latents, plus the error of the field that the one-step estimate decodes to, plus the
conditioner's regression of stage 2, which keeps its tokens readable. Each picture serves two noise draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.sampling import euler, flow_times, guide
from training.data import FOLDER, Data, load
from training.held_out import WatchSet, by_family
from training.networks import LATENT_CHANNELS, NUM_LATENTS, LatentHeads, new_conditioner, new_dit
from training.pace import Trainer, averaged_weights, set_up
from training.shapes import FAMILY_NAMES
from training.train_conditioner import PATHS, heads_loss, random_pixels
from training.train_vae import batch_of_points, decode, decoded_overlap, load_vae, training_latents

PATH = FOLDER / "denoiser.pt"
BATCH, DRAWS, POINTS = 24, 2, 128
RATES = {"dit": 2e-3, "conditioner": 5e-4, "heads": 5e-4, "vae": 5e-4}
FIELD_WEIGHT, HEADS_WEIGHT = 1.0, 0.1
CONDITION_DROPOUT = 0.1
WATCH_EVERY_STEPS = 400
# The hardest families are drawn more often still than they are stored.
EXTRA_DRAWS = {"chair": 2.0, "table": 2.0, "mug": 1.5}
NUM_STEPS, GUIDANCE = 10, 5.0

# A network, or what torch.compile makes of it.
Network = Callable[..., Tensor]


@dataclass(frozen=True)
class LatentTargets:
    """The training shapes' latents [n, N, C], scaled to unit size, and the factor that scaled them."""

    latents: Tensor
    scale_factor: float

    @classmethod
    @torch.no_grad()
    def make(cls, data: Data) -> LatentTargets:
        """The latents of every training shape."""
        latents = training_latents(data)
        scale_factor = float(1 / latents.std())
        return cls(latents * scale_factor, scale_factor)


def random_times(count: int, generator: torch.Generator) -> Tensor:
    """Times [count] in 0..1: three fifths uniform, two fifths crowded towards the noise."""
    uniform = torch.rand(count, generator=generator)
    is_early = torch.rand(count, generator=generator) < 0.4
    return torch.where(is_early, uniform**2.5, uniform)


@torch.no_grad()
def sample(dit: Network, context: Tensor, generator: torch.Generator, guidance: float = GUIDANCE) -> Tensor:
    """Latents [batch, N, C] by the product's own sampler."""
    pair = torch.cat([context, torch.zeros_like(context)])

    def velocity(latents: Tensor, time: float) -> Tensor:
        times = torch.full((len(pair),), time)
        conditional, unconditional = dit(latents.repeat(2, 1, 1), times, pair).chunk(2)
        return guide(conditional, unconditional, guidance)

    start = torch.randn(len(context), NUM_LATENTS, LATENT_CHANNELS, generator=generator)
    return euler(start, flow_times(NUM_STEPS), velocity)


@torch.no_grad()
def sampled_overlap(
    networks: dict[str, nn.Module], watch: WatchSet, scale_factor: float, guidance: float
) -> Tensor:
    """IoU [n] of picture to shape on the watch set, fixed noise."""
    context = networks["conditioner"](watch.pixels)
    latents = sample(networks["dit"], context, torch.Generator().manual_seed(0), guidance)
    return decoded_overlap(networks["vae"], latents / scale_factor, watch)  # type: ignore[arg-type]


class DenoiserLoss:
    """The joint loss of a random batch."""

    def __init__(
        self,
        data: Data,
        targets: LatentTargets,
        generator: torch.Generator,
        condition_dropout: float = CONDITION_DROPOUT,
    ) -> None:
        self.data, self.targets, self.generator = data, targets, generator
        self.condition_dropout = condition_dropout
        self.decode = torch.compile(decode, dynamic=False)
        draws = torch.tensor([EXTRA_DRAWS.get(name, 1.0) for name in FAMILY_NAMES])
        self.weights = draws[data.family]

    def __call__(self, dit: Network, conditioner: Network, heads: LatentHeads, vae: ShapeVAE) -> Tensor:
        """Flow, field and regression losses, weighted."""
        index = self.draw()
        latents = self.targets.latents[index]
        context = conditioner(random_pixels(self.data.image[index], self.generator))
        regression = heads_loss(heads, context, self.data.family[index], latents.flatten(1))
        flow, estimate = self._flow(dit, context.repeat(DRAWS, 1, 1), latents.repeat(DRAWS, 1, 1))
        field = self.field_error(vae, estimate[:BATCH], index)
        return flow + FIELD_WEIGHT * field + HEADS_WEIGHT * regression

    def draw(self) -> Tensor:
        """Random indices [BATCH] of training shapes."""
        return torch.multinomial(self.weights, BATCH, replacement=True, generator=self.generator)

    def _flow(self, dit: Network, context: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The flow-matching loss, and the one-step estimates of the latents."""
        time = random_times(len(latents), self.generator)
        noise = torch.randn(latents.shape, generator=self.generator)
        is_kept = torch.rand(len(latents), 1, 1, generator=self.generator) >= self.condition_dropout
        at = time[:, None, None]
        noisy = (1 - at) * noise + at * latents
        velocity = dit(noisy, time, context * is_kept)
        return functional.mse_loss(velocity, latents - noise), noisy + (1 - at) * velocity

    def field_error(self, vae: ShapeVAE, estimate: Tensor, index: Tensor) -> Tensor:
        """Squared error of the field that estimated latents decode to."""
        points, field = batch_of_points(self.data, index, self.generator, POINTS)
        return functional.mse_loss(self.decode(vae, points, estimate / self.targets.scale_factor), field)


def starting_networks() -> dict[str, nn.Module]:
    """A fresh denoiser beside the finished networks of stages 1 and 2."""
    _, vae = load_vae()
    weights = averaged_weights(PATHS["latents"])
    conditioner = new_conditioner()
    heads = LatentHeads(conditioner.config.width, len(FAMILY_NAMES), NUM_LATENTS * LATENT_CHANNELS)
    conditioner.load_state_dict(weights["conditioner"])
    heads.load_state_dict(weights["heads"])
    return {"dit": new_dit(), "conditioner": conditioner, "heads": heads, "vae": vae}


def averaged_stages(paths: Sequence[Path]) -> dict[str, nn.Module]:
    """The mean of the averaged networks of several finished stages that began at the same weights."""
    networks, stages = starting_networks(), [averaged_weights(path) for path in paths]
    for name, network in networks.items():
        first = stages[0][name]
        network.load_state_dict(
            {key: sum(stage[name][key] for stage in stages) / len(stages) for key in first}
        )
    return networks


def watch_report(trainer: Trainer, watch: WatchSet, scale_factor: float) -> str:
    """IoU of the averaged networks with the product's steps and guidance, and by family."""
    averages = {name: average.network for name, average in trainer.averages.items()}
    overlap = sampled_overlap(averages, watch, scale_factor, GUIDANCE)
    means = f"IoU {overlap.mean():.3f}, median {overlap.median():.3f}"
    return f"{means}: {by_family(overlap, watch.family)}"


def main() -> None:
    """Trains until the minutes are used up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    generator = set_up(options.seed)
    data, watch = load(("image", "grid", "points", "distances")), WatchSet.make(per_family=3)
    networks = starting_networks()
    targets = LatentTargets.make(data)
    loss_of = DenoiserLoss(data, targets, generator)
    trainer = Trainer(networks, RATES, options.minutes, PATH)
    print("resumed" if trainer.resume() else "fresh", flush=True)
    dit, conditioner = (torch.compile(networks[name], dynamic=False) for name in ("dit", "conditioner"))
    for step in trainer.steps():
        loss = loss_of(dit, conditioner, networks["heads"], networks["vae"])  # type: ignore[arg-type]
        trainer.descend(loss)
        if step % WATCH_EVERY_STEPS == 0:
            text = watch_report(trainer, watch, targets.scale_factor)
            print(f"{trainer.elapsed_s:5.0f} s, step {step}: loss {loss:.4f}, {text}", flush=True)


if __name__ == "__main__":
    main()
