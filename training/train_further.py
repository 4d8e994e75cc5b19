"""Stage 6: further training from the shipped weights. `python -m training.train_further --minutes 60`.

Denoiser, conditioner and decoder go on from models/tiny, on the pictures of `data` and of `wide_data`; the encoder
stays, so a shape's latents stay what they were. Half of the batches are mirrored. The decoder also learns from the
exact latents, or it would get used to the estimates of the denoiser. Products in bfloat16, sums and weights in float32.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline
from training.data import FOLDER, GRID_SIDE
from training.data import NUM_CHUNKS as NUM_USUAL_CHUNKS
from training.evaluate import MODEL, load_encoder
from training.held_out import WatchSet, by_family
from training.networks import (
    LATENT_CHANNELS,
    NUM_LATENTS,
    GridEncoder,
    LatentHeads,
    new_conditioner,
    new_dit,
    new_vae,
    target_field,
)
from training.pace import Trainer, set_up
from training.shapes import FAMILY_NAMES
from training.train_conditioner import heads_loss, random_pixels
from training.train_denoiser import Network, random_times, sampled_overlap
from training.train_vae import decode
from training.wide_data import NUM_CHUNKS, chunk_path

PATH = FOLDER / "further.pt"
BATCH, POINTS = 48, 128
RATES = {"dit": 6e-4, "conditioner": 5e-4, "heads": 1e-3, "vae": 1.5e-4}
FIELD_WEIGHT, EXACT_WEIGHT, HEADS_WEIGHT = 1.0, 0.5, 0.1
NUM_EXACT = BATCH // 2
CONDITION_DROPOUT = 0.1
# What share of a batch is of usual proportions, by the first renderer.
USUAL_SHARE = 0.4
WATCH_EVERY_STEPS, WATCH_GUIDANCE = 500, (2.0,)


@dataclass(frozen=True)
class Pictures:
    """Pictures uint8 [p, S, S, 3] and whose they are [p]: those of usual shapes first, `num_usual` of them.

    Of the shapes: points and distances float16, family int64 [n], scaled latents float32 [2, n, N, C]; the second
    latents are those of the mirrored shapes.
    """

    image: Tensor
    shape: Tensor
    num_usual: int
    points: Tensor
    distances: Tensor
    family: Tensor
    latents: Tensor

    @classmethod
    @torch.no_grad()
    def load(cls, encoder: GridEncoder, scale_factor: float) -> Pictures:
        """Every chunk that exists, with the latents of its grids."""
        usual = [path for i in range(NUM_USUAL_CHUNKS) if (path := FOLDER / f"chunk_{i:03d}.npz").exists()]
        wide = [path for i in range(NUM_CHUNKS) if (path := chunk_path(i)).exists()]
        images = [torch.from_numpy(np.load(path)["image"]) for path in usual + wide]
        views = [image.shape[1] if image.ndim == 5 else 1 for image in images]
        count = torch.tensor([v for image, v in zip(images, views, strict=True) for _ in range(len(image))])
        grids = _joined("grid", usual + wide)
        latents = torch.stack([encoder.encode(grids), encoder.encode(mirrored_grids(grids))])
        return cls(
            image=torch.cat([image.flatten(0, -4) for image in images]),
            shape=torch.arange(len(count)).repeat_interleave(count),
            num_usual=sum(len(image) for image in images[: len(usual)]),
            points=_joined("points", usual + wide),
            distances=_joined("distances", usual + wide),
            family=_joined("family", usual + wide),
            latents=latents * scale_factor,
        )

    def draw(self, generator: torch.Generator) -> Tensor:
        """Random indices [BATCH] of pictures, a USUAL_SHARE of them of usual shapes."""
        is_usual = torch.rand(BATCH, generator=generator) < USUAL_SHARE
        place = torch.rand(BATCH, generator=generator, dtype=torch.float64)
        usual = place * self.num_usual
        wide = self.num_usual + place * (len(self.image) - self.num_usual)
        return torch.where(is_usual, usual, wide).long()


def _joined(name: str, chunks: list[Path]) -> Tensor:
    return torch.cat([torch.from_numpy(np.load(path)[name]) for path in chunks])


def mirrored_grids(grids: Tensor) -> Tensor:
    """Coarse grids [n, cells] of the shapes mirrored left to right; x is the slowest axis."""
    return grids.view(-1, GRID_SIDE, GRID_SIDE, GRID_SIDE).flip(1).flatten(1)


def shipped_networks(model: Path = MODEL) -> tuple[dict[str, nn.Module], float]:
    """The networks of a written file in float32, untrained heads beside them, and the file's scale factor."""
    pipeline, loaded = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(model, device="cpu")
    conditioner, dit, vae = new_conditioner(), new_dit(), new_vae()
    dit.load_state_dict(pipeline.dit.state_dict())
    conditioner.load_state_dict(pipeline.conditioner.state_dict())
    vae.load_state_dict(loaded.state_dict())
    heads = LatentHeads(conditioner.config.width, len(FAMILY_NAMES), NUM_LATENTS * LATENT_CHANNELS)
    for parameter in heads.parameters():
        # A random head would drag the finished conditioner along.
        nn.init.zeros_(parameter)
    with safe_open(model, "pt") as file:
        scale_factor = float(json.loads(file.metadata()["config"])["scale_factor"])
    return {"dit": dit, "conditioner": conditioner, "heads": heads, "vae": vae}, scale_factor


@dataclass(frozen=True)
class Batch:
    """Pixels [B, 3, S, S], scaled latents [B, N, C], family [B], points [B, P, 3] and the field [B, P] there."""

    pixels: Tensor
    latents: Tensor
    family: Tensor
    points: Tensor
    field: Tensor


def random_batch(data: Pictures, generator: torch.Generator) -> Batch:
    """BATCH pictures with their shapes, all of them mirrored in half of the cases."""
    picture = data.draw(generator)
    index = data.shape[picture]
    is_mirrored = bool(torch.rand((), generator=generator) < 0.5)
    start = int(torch.randint(data.points.shape[1] - POINTS + 1, (), generator=generator))
    points = data.points[index, start : start + POINTS].float()
    images = data.image[picture]
    if is_mirrored:
        points, images = points * torch.tensor([-1.0, 1.0, 1.0]), images.flip(2)
    return Batch(
        pixels=random_pixels(images, generator),
        latents=data.latents[int(is_mirrored), index],
        family=data.family[index],
        points=points,
        field=target_field(data.distances[index, start : start + POINTS].float()),
    )


class FurtherLoss:
    """The joint loss of a random batch."""

    def __init__(self, data: Pictures, scale_factor: float, generator: torch.Generator) -> None:
        self.data, self.scale_factor, self.generator = data, scale_factor, generator
        self.decode = torch.compile(decode, dynamic=False)

    def __call__(self, dit: Network, conditioner: Network, heads: LatentHeads, vae: ShapeVAE) -> Tensor:
        """Flow, field and regression losses, weighted."""
        batch = random_batch(self.data, self.generator)
        context = conditioner(batch.pixels).float()
        regression = heads_loss(heads, context, batch.family, batch.latents.flatten(1))
        flow, estimate = self._flow(dit, context, batch.latents)
        field = self._field_error(vae, batch, estimate)
        exact = self._field_error(vae, batch, batch.latents, NUM_EXACT)
        return flow + FIELD_WEIGHT * field + EXACT_WEIGHT * exact + HEADS_WEIGHT * regression

    def _flow(self, dit: Network, context: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The flow-matching loss, and the one-step estimates of the latents."""
        time = random_times(len(latents), self.generator)
        noise = torch.randn(latents.shape, generator=self.generator)
        is_kept = torch.rand(len(latents), 1, 1, generator=self.generator) >= CONDITION_DROPOUT
        at = time[:, None, None]
        noisy = (1 - at) * noise + at * latents
        velocity = dit(noisy, time, context * is_kept).float()
        return functional.mse_loss(velocity, latents - noise), noisy + (1 - at) * velocity

    def _field_error(self, vae: ShapeVAE, batch: Batch, latents: Tensor, count: int = BATCH) -> Tensor:
        """Squared error of the field that the first `count` latents decode to."""
        found = self.decode(vae, batch.points[:count], latents[:count] / self.scale_factor)
        return functional.mse_loss(found.float(), batch.field[:count])


def watch_report(trainer: Trainer, watch: WatchSet, scale_factor: float) -> str:
    """IoU of the averaged networks on the watch set at several guidance scales, and by family at the first."""
    averages = {name: average.network for name, average in trainer.averages.items()}
    overlaps = [sampled_overlap(averages, watch, scale_factor, scale) for scale in WATCH_GUIDANCE]
    means = ", ".join(
        f"g{scale:g} {one.mean():.3f}" for scale, one in zip(WATCH_GUIDANCE, overlaps, strict=True)
    )
    return f"IoU {means}: {by_family(overlaps[0], watch.family)}"


def main() -> None:
    """Trains until the minutes are used up; goes on where it was stopped, with the chunks there are by then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=6)
    options = parser.parse_args()
    networks, scale_factor = shipped_networks()
    trainer = Trainer(networks, RATES, options.minutes, PATH)
    is_resumed = trainer.resume()
    generator = set_up(options.seed + trainer.step)
    data, watch = Pictures.load(load_encoder(), scale_factor), WatchSet.make(per_family=2)
    count = f"{len(data.image)} pictures of {len(data.family)} shapes"
    print(f"{'resumed' if is_resumed else 'fresh'} at step {trainer.step}, {count}", flush=True)
    loss_of = FurtherLoss(data, scale_factor, generator)
    dit, conditioner = (torch.compile(networks[name], dynamic=False) for name in ("dit", "conditioner"))
    for step in trainer.steps():
        if step % WATCH_EVERY_STEPS == 0:
            text = watch_report(trainer, watch, scale_factor)
            print(f"{trainer.elapsed_s:5.0f} s, step {step}: {text}", flush=True)
        # At these widths the fused attention's backward pass takes two fifths of a step; plain products a tenth.
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            loss = loss_of(dit, conditioner, networks["heads"], networks["vae"])  # type: ignore[arg-type]
        trainer.descend(loss)
        if step % 100 == 0:
            print(f"{trainer.elapsed_s:5.0f} s, step {step}: loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    main()
