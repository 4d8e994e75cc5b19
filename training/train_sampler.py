"""Stage 4: training along the sampler's own path. `python -m training.train_sampler --loss branches --minutes 8`.

Guidance pushes the sampler off the straight lines of stage 3. Here the real sampler (10 steps, guidance 5) runs
without gradients, and the states it visits are trained. `--loss branches`: the network with the picture and the
network without it each learn where the shape is. `--loss guided`: their guided estimate learns it, through both.
Every third step is one of stage 3, so that other numbers of steps and other scales go on working.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.sampling import euler, flow_times, guide
from training.data import FOLDER, load
from training.held_out import WatchSet
from training.networks import LATENT_CHANNELS, NUM_LATENTS
from training.pace import Trainer, averaged_weights, set_up
from training.train_conditioner import random_pixels
from training.train_denoiser import (
    GUIDANCE,
    NUM_STEPS,
    DenoiserLoss,
    LatentTargets,
    Network,
    starting_networks,
    watch_report,
)
from training.train_denoiser import PATH as DENOISER_PATH

PATHS = {kind: FOLDER / f"sampler_{kind}.pt" for kind in ("guided", "branches")}
RATES = {
    "guided": {"dit": 6e-4, "conditioner": 2.5e-4, "heads": 2.5e-4, "vae": 2.5e-4},
    "branches": {"dit": 4e-4, "conditioner": 1e-4, "heads": 1e-4, "vae": 1e-4},
}
BRANCHES_WEIGHT, GUIDED_WEIGHT, EARLY_SHARE = 0.5, 0.3, 0.2
# As fractions of the batch: the network without a picture needs more than stage 3 gave it.
CONDITION_DROPOUT = {"guided": 0.1, "branches": 0.3}
JOINT_EVERY_STEPS = 3
WATCH_EVERY_STEPS = 90


@dataclass(frozen=True)
class Visit:
    """States of one batch of pictures at one step of the sampler."""

    index: Tensor
    time: float
    latents: Tensor


def visits(dit: Network, context: Tensor, index: Tensor, generator: torch.Generator) -> list[Visit]:
    """The states that the sampler visits for a batch of pictures, from noise to the last step."""
    pair, found = torch.cat([context, torch.zeros_like(context)]), []

    def velocity(latents: Tensor, time: float) -> Tensor:
        found.append(Visit(index, time, latents))
        # Detached rather than under no_grad, which would have the network compiled a second time.
        return _guided_velocity(dit, pair, latents, time).detach()

    euler(
        torch.randn(len(index), NUM_LATENTS, LATENT_CHANNELS, generator=generator),
        flow_times(NUM_STEPS),
        velocity,
    )
    return found


def _guided_velocity(dit: Network, pair: Tensor, latents: Tensor, time: float) -> Tensor:
    times = torch.full((len(pair),), time)
    conditional, unconditional = dit(latents.repeat(2, 1, 1), times, pair).chunk(2)
    return guide(conditional, unconditional, GUIDANCE)


class SamplerLoss:
    """The loss at visited states; runs the sampler when none are left."""

    def __init__(self, joint: DenoiserLoss, kind: str) -> None:
        self.is_guided = kind == "guided"
        self.joint, self.data, self.generator = joint, joint.data, joint.generator
        self.waiting: list[Visit] = []

    def __call__(self, dit: Network, conditioner: Network, vae: ShapeVAE) -> Tensor:
        """Latent and field error of one-step estimates at the next visited states."""
        if not self.waiting:
            self.waiting = self._explore(dit, conditioner)
        visit = self.waiting.pop()
        context = conditioner(random_pixels(self.data.image[visit.index], self.generator))
        pair = torch.cat([context, torch.zeros_like(context)])
        return (self._guided if self.is_guided else self._branches)(dit, vae, pair, visit)

    def _branches(self, dit: Network, vae: ShapeVAE, pair: Tensor, visit: Visit) -> Tensor:
        left = 1 - visit.time
        states = visit.latents.repeat(2, 1, 1)
        estimates = states + left * dit(states, torch.full((len(pair),), visit.time), pair)
        field = self.joint.field_error(vae, estimates[: len(visit.index)], visit.index)
        error = functional.mse_loss(estimates, self.joint.targets.latents[visit.index].repeat(2, 1, 1))
        return field + BRANCHES_WEIGHT * error / left

    def _guided(self, dit: Network, vae: ShapeVAE, pair: Tensor, visit: Visit) -> Tensor:
        velocity = _guided_velocity(dit, pair, visit.latents, visit.time)
        estimate = visit.latents + (1 - visit.time) * velocity
        field = self.joint.field_error(vae, estimate, visit.index)
        error = functional.mse_loss(estimate, self.joint.targets.latents[visit.index])
        # Early guided estimates overshoot on purpose: what they should be is asked for late, above all.
        return (EARLY_SHARE + (1 - EARLY_SHARE) * visit.time) * field + GUIDED_WEIGHT * visit.time * error

    def _explore(self, dit: Network, conditioner: Network) -> list[Visit]:
        index = self.joint.draw()
        context = conditioner(random_pixels(self.data.image[index], self.generator))
        found = visits(dit, context, index, self.generator)
        order = torch.randperm(len(found), generator=self.generator).tolist()
        return [found[i] for i in order]


def main() -> None:
    """Trains until the minutes are used up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loss", choices=sorted(PATHS), default="branches")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args()
    generator = set_up(options.seed)
    data, watch = load(("image", "grid", "points", "distances")), WatchSet.make(per_family=3)
    networks = starting_networks()
    for name, weights in averaged_weights(DENOISER_PATH).items():
        networks[name].load_state_dict(weights)
    targets = LatentTargets.make(data)
    joint_loss = DenoiserLoss(data, targets, generator, CONDITION_DROPOUT[options.loss])
    sampler_loss = SamplerLoss(joint_loss, options.loss)
    trainer = Trainer(networks, RATES[options.loss], options.minutes, PATHS[options.loss], decay=0.99)
    print("resumed" if trainer.resume() else "fresh", flush=True)
    dit, conditioner = (torch.compile(networks[name], dynamic=False) for name in ("dit", "conditioner"))
    for step in trainer.steps():
        if step % JOINT_EVERY_STEPS == 0:
            loss = joint_loss(dit, conditioner, networks["heads"], networks["vae"])  # type: ignore[arg-type]
        else:
            loss = sampler_loss(dit, conditioner, networks["vae"])  # type: ignore[arg-type]
        trainer.descend(loss)
        if step % WATCH_EVERY_STEPS == 0:
            text = watch_report(trainer, watch, targets.scale_factor)
            print(f"{trainer.elapsed_s:5.0f} s, step {step}: loss {loss:.4f}, {text}", flush=True)


if __name__ == "__main__":
    main()
