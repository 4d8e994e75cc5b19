"""The small matting network: `python -m training.matting --minutes 60` -> models/tiny/matting.onnx.

Trained on composites that are drawn anew for every batch. Seeded by step, so a run that was stopped goes on where
its last saved state was. A longer `--minutes` later takes up a finished run again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from training.composites import KINDS, Composite, load_foregrounds, training_composite
from training.held_out_composites import WATCH_SEED, held_out_composites
from training.matting_network import INPUT_PX, NUM_CELLS, WORKING_PX, ForRembg, MattingNetwork
from training.pace import Trainer, averaged_weights, set_up

STATE_PATH = Path(__file__).parent / "data" / "matting.pt"
ONNX_PATH = Path(__file__).parents[1] / "models" / "tiny" / "matting.onnx"

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SEED, BATCH, RATE = 5, 16, 2.5e-3
COARSE_WEIGHT = 0.3
WATCH_EVERY_S = 150.0
NUM_NORM_BATCHES = 40


def normalised(pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures [n, height, width, 3] as rembg hands them over: divided by their own maximum, [n, 3, height, width]."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    pixels = pixels / pixels.amax((1, 2, 3), keepdim=True).clamp(min=1e-6)
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]


def random_batch(step: int, foregrounds: NDArray[np.uint8], count: int = BATCH) -> tuple[Tensor, Tensor]:
    """The composites of one step: pixels [count, 3, 160, 160] and opacity [count, 1, 160, 160]."""
    rng = np.random.default_rng([SEED, step])
    made = [training_composite(rng, foregrounds, WORKING_PX) for _ in range(count)]
    alpha = torch.from_numpy(np.stack([one.alpha for one in made]))[:, None]
    pixels = normalised(np.stack([one.picture for one in made]))
    return pixels.contiguous(memory_format=torch.channels_last), alpha


def matting_loss(logits: Tensor, coarse: Tensor, alpha: Tensor) -> Tensor:
    """Cross entropy of the pixels and of the cells, and one minus the mean soft IoU of the pictures."""
    found = logits.sigmoid()
    both = (found * alpha).sum((1, 2, 3))
    either = (found + alpha - found * alpha).sum((1, 2, 3))
    overlap = ((both + 1) / (either + 1)).mean()
    cells = functional.avg_pool2d(alpha, WORKING_PX // NUM_CELLS)
    fine_loss = functional.binary_cross_entropy_with_logits(logits, alpha)
    coarse_loss = functional.binary_cross_entropy_with_logits(coarse, cells)
    return fine_loss + COARSE_WEIGHT * coarse_loss + 1 - overlap


@torch.no_grad()
def settle_norms(
    network: nn.Module, foregrounds: NDArray[np.uint8], num_batches: int = NUM_NORM_BATCHES
) -> None:
    """Measures the norms' statistics anew with these weights: averaged weights have none of their own."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    for i in range(num_batches):
        network(random_batch(1_000_000 + i, foregrounds)[0])
    network.eval()


def _copy_norms(source: nn.Module, target: nn.Module) -> None:
    buffers = dict(source.named_buffers())
    for name, buffer in target.named_buffers():
        buffer.copy_(buffers[name])


class Watch:
    """Held-out composites at hand, and how well a network does on them."""

    def __init__(self, count: int = 36) -> None:
        self.sets = {
            kind: [_as_rembg_sees(one) for one in held_out_composites(WATCH_SEED, count, INPUT_PX, kind)]
            for kind in KINDS
        }

    @torch.no_grad()
    def report(self, network: MattingNetwork) -> str:
        """Mean IoU on every kind of composite."""
        deployed = ForRembg(network)
        means = {
            name: np.mean([_overlap(deployed(pixels)[0, 0], truth) for pixels, truth in pairs])
            for name, pairs in self.sets.items()
        }
        return ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())


def _as_rembg_sees(composite: Composite) -> tuple[Tensor, Tensor]:
    picture = Image.fromarray(composite.picture).resize((INPUT_PX, INPUT_PX), Image.Resampling.LANCZOS)
    alpha = cv2.resize(composite.alpha, (INPUT_PX, INPUT_PX), interpolation=cv2.INTER_AREA)
    return normalised(np.asarray(picture)[None]), torch.from_numpy(alpha)


def _overlap(opacity: Tensor, truth: Tensor) -> float:
    found, true = opacity > 0.5, truth > 0.5
    return float((found & true).sum() / (found | true).sum().clamp(min=1))


def train(minutes: float, *, foregrounds: NDArray[np.uint8], watch: Watch, is_compiled: bool) -> None:
    """Trains until the minutes are used up, or goes on with a run that was stopped."""
    network = MattingNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainer = Trainer({"matting": network}, {"matting": RATE}, minutes, STATE_PATH, decay=0.998)
    average = trainer.averages["matting"].network
    forward = torch.compile(network, dynamic=False) if is_compiled else network
    print("resumed" if trainer.resume() else "fresh", flush=True)
    watched = time.monotonic()
    for step in trainer.steps():
        pixels, alpha = random_batch(step, foregrounds)
        with torch.autocast("cpu", torch.bfloat16):
            logits, coarse = forward(pixels)
        loss = matting_loss(logits.float(), coarse.float(), alpha)
        trainer.descend(loss)
        if time.monotonic() - watched > WATCH_EVERY_S:
            _copy_norms(network, average)
            text = watch.report(average)  # type: ignore[arg-type]
            print(f"{trainer.elapsed_s:5.0f} s, step {step}: loss {loss:.3f}, IoU {text}", flush=True)
            watched = time.monotonic()
    _copy_norms(network, average)
    trainer.save()


def trained_network(foregrounds: NDArray[np.uint8]) -> MattingNetwork:
    """The averaged network of the run, its norms settled."""
    network = MattingNetwork()
    network.load_state_dict(averaged_weights(STATE_PATH)["matting"])
    settle_norms(network, foregrounds)
    return network


def export(network: MattingNetwork, path: Path) -> None:
    """Writes the file for rembg's `u2net_custom`."""
    pixels = torch.zeros(1, 3, INPUT_PX, INPUT_PX)
    torch.onnx.export(
        ForRembg(network).eval(), (pixels,), str(path), dynamo=False, opset_version=17,
        input_names=["pixels"], output_names=["opacity"], do_constant_folding=False,
    )  # fmt: skip


def main() -> None:
    """Trains, reports on held-out composites and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--compiled", action="store_true", help="let torch.compile speed up the network")
    options = parser.parse_args()
    set_up(SEED)
    cv2.setNumThreads(1)
    foregrounds, watch = load_foregrounds(), Watch()
    train(options.minutes, foregrounds=foregrounds, watch=watch, is_compiled=options.compiled)
    network = trained_network(foregrounds)
    print(f"averaged, norms settled: IoU {watch.report(network)}")
    export(network, ONNX_PATH)
    print(f"{ONNX_PATH}: {ONNX_PATH.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
